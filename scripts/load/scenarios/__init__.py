"""The scenarios that come with the load tester, as TOML files."""
