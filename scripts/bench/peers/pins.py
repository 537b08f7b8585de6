"""PURE: the versions in npm's lock file, in pip's requirements and in what apt would install."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_APT: Final = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", re.MULTILINE)


def locked_versions(lock: Mapping[str, Any]) -> Mapping[str, str]:
    """Of every package in a lock file (version 3), by its place below `node_modules`.

    A copy that a package has to itself is called as its path is: `engine.io/ws`.
    """
    return {
        place.removeprefix("node_modules/").replace("/node_modules/", "/"): package["version"]
        for place, package in lock["packages"].items()
        if place
    }


def required_versions(requirements: str) -> Mapping[str, str]:
    """Of every `name==version`."""
    lines = [line.partition("#")[0].strip() for line in requirements.splitlines()]
    return {name: version for name, _, version in (line.partition("==") for line in lines if line)}


def simulated_versions(simulation: str) -> Mapping[str, str]:
    """Of every package that `apt-get install --simulate` would install."""
    return dict(_APT.findall(simulation))


def wanted_packages(simulations: Sequence[str], families: Sequence[str]) -> Mapping[str, str]:
    """What to fetch to run some packages without installing them.

    Args:
        simulations: the first with this system's packages taken into account, the second with none of them.
        families: names, or their beginnings, of what is fetched even where the system has it.
    """
    missing, whole = map(simulated_versions, simulations)
    return {
        **missing,
        **{name: version for name, version in whole.items() if name.startswith(tuple(families))},
    }
