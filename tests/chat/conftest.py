"""Fixtures for tests that change the process they run in; such a module asks for them."""

import logging
import os
from collections.abc import Generator

import pytest
import structlog

from chat.config_sources import ENV_PREFIX


@pytest.fixture
def logging_as_before() -> Generator[None]:
    """Leave structlog and the standard library's logging as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def process_as_before(logging_as_before: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without our variables; leave logging as it was."""
    del logging_as_before
    for name in list(os.environ):
        if name.startswith(ENV_PREFIX):
            monkeypatch.delenv(name)
