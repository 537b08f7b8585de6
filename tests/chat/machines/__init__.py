"""Stateful models: long scripts against naive twins."""
