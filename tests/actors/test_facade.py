"""The package's face and its place: what it exports, and what it may stand on."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import actors

SOURCES = sorted(Path(actors.__file__).parent.glob("*.py"))


def imported(source: Path) -> set[str]:
    """Name the modules that a file imports, with their dots."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_all_names_what_the_facade_imports() -> None:
    """Neither more nor less, in order, each with a docstring unless it is an alias."""
    public = {name for name in vars(actors) if name[0].isupper() or name == "open_system"}
    assert set(actors.__all__) == public
    assert actors.__all__ == sorted(actors.__all__)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_runtime_stands_on_the_standard_library_trio_and_structlog_only(source: Path) -> None:
    """It knows nothing of chat and storage."""
    allowed = sys.stdlib_module_names | {"actors", "trio", "structlog"}
    assert {name.split(".")[0] for name in imported(source)} <= allowed


def test_restart_decisions_have_no_clock_no_chance_and_no_tasks() -> None:
    """The file is PURE."""
    (source,) = [path for path in SOURCES if path.stem == "restart"]
    assert not imported(source) & {"trio", "time", "random", "structlog", "uuid"}
