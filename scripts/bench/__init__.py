"""`make bench`: the budget table, measured (docs/design.md 5 and 6). A benchmark: no figure fails it.

    python -m scripts.bench [NAME...] [--quick] [--json FILE]

The server runs on one core; the measuring client (`client.c`, compiled on the spot) and Postgres on another.
"""
