"""The whole server in memory, on a virtual clock."""
