"""Fixtures for tests of commands that run in this process."""

from tests.chat.conftest import logging_as_before, process_as_before

__all__ = ["logging_as_before", "process_as_before"]
