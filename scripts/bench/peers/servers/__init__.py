"""The peers' own servers, one file each, run by the peers' own interpreters and never imported."""
