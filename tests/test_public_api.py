"""What the packages offer: the facades say it twice, and both times the same."""

import ast
import importlib
import inspect
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
FACADES: Final = ("actors", "storage", "chat.transport")


def reexported(facade: str) -> list[str]:
    """What a facade imports under its own name: `from x import y as y`."""
    tree = ast.parse((ROOT / facade.replace(".", "/") / "__init__.py").read_text())
    return [
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
        if alias.asname == alias.name
    ]


@pytest.mark.parametrize("facade", FACADES)
def test_a_facade_lists_what_it_offers(facade: str) -> None:
    """`__all__` is sorted as ruff sorts it, without doubles, and names exactly what is re-exported."""
    listed: list[str] = importlib.import_module(facade).__all__

    assert sorted(listed) == sorted(reexported(facade))
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("facade", FACADES)
def test_what_is_offered_has_a_contract(facade: str) -> None:
    """Every class and function of a facade has a docstring of its own."""
    module = importlib.import_module(facade)
    silent = [
        name
        for name in module.__all__
        if (inspect.isclass(thing := getattr(module, name)) or inspect.isfunction(thing))
        and not (thing.__doc__ or "").strip()
    ]

    assert not silent


@pytest.mark.parametrize("package", ["actors", "storage", "chat", "chat.transport"])
def test_a_package_says_what_it_is_for(package: str) -> None:
    """Each package opens with what it is, and is typed."""
    module = importlib.import_module(package)

    assert module.__doc__
    assert (ROOT / package.split(".", maxsplit=1)[0] / "py.typed").is_file()


def test_the_command_is_installed() -> None:
    """`parley` is the command line's `main`."""
    (command,) = entry_points(group="console_scripts", name="parley")

    assert command.value == "chat.cli:main"
    assert callable(command.load())
