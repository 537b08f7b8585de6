"""Fixtures for the tests of the actor runtime."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs


@pytest.fixture(scope="package", autouse=True)
def quiet_log() -> Iterator[None]:
    """Keep the log from rendering each intended crash, which takes longer than the tests."""
    with capture_logs():
        yield
