"""Tests of `scripts.admin`."""
