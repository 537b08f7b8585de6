"""The machine that a run was made on: names and versions that figures depend on."""

import os
from collections.abc import Mapping
from typing import Final

from scripts.machine import cpu_model, describe_software

_PACKAGES: Final = ("parley", "trio", "msgpack", "msgspec", "asyncpg")


def describe_machine() -> Mapping[str, str]:
    """What to keep beside figures."""
    return {
        "cpu": cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        **describe_software(_PACKAGES),
    }
