"""The machine that figures were measured on, as they are kept with it."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path


def cpu_model() -> str:
    """What the processor calls itself; its architecture where it does not say."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        info = ""
    names = (line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name"))
    return next(names, platform.machine())


def describe_software(packages: Sequence[str]) -> Mapping[str, str]:
    """Versions: the kernel's, Python's, and these packages'."""
    return {
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
    }
