"""The machine that a run was made on: names and versions that figures depend on."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("parley", "trio", "msgpack", "msgspec", "asyncpg")


def describe_machine() -> Mapping[str, str]:
    """What to keep beside figures."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        info = ""
    names = (line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name"))
    return {
        "cpu": next(names, platform.machine()),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }
