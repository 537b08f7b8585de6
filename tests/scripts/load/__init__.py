"""Tests of `scripts.load`."""
