"""Tests of `scripts.bench`."""
