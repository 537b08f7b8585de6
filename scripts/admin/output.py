"""What a command prints: JSON for scripts, tables and sentences for people."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chat.terminal_text import printable


class Output:
    """One command's result.

    With `as_json` exactly one JSON value goes to standard output, or one a line where the command follows
    something; without, it is laid out for people.

    Args:
        as_json: whether a script reads it.
        stream: standard output.
    """

    def __init__(self, *, as_json: bool, stream: TextIO | None = None) -> None:
        self.as_json = as_json
        self._stream = stream or sys.stdout
        self.console = Console(file=self._stream, highlight=False)

    def value(self, value: object, words: str) -> None:
        """A result that is one thing, and a sentence that says it."""
        if self.as_json:
            self.line(value)
        else:
            self.console.print(Text(words), soft_wrap=True)

    def line(self, value: object) -> None:
        """One JSON value on a line of its own, at once."""
        print(json.dumps(value, ensure_ascii=False), file=self._stream, flush=True)

    def text(self, line: str) -> None:
        """One line for people, at once."""
        print(line, file=self._stream, flush=True)

    def words(self, line: str) -> None:
        """As `text`, for what others may have written."""
        self.text(printable(line))

    def listing(
        self, items: Sequence[Mapping[str, object]], columns: Sequence[str], empty: str, *, more: bool = False
    ) -> None:
        """Items of a list, in columns of these fields.

        Args:
            items: what is listed.
            columns: the fields; times are those called `at`, `created`, `expires`, `until`, `revoked`.
            empty: what to say of an empty list.
            more: whether there are more.
        """
        if self.as_json:
            self.line({"items": list(items), "more": more})
            return
        if not items:
            self.text(empty)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold", no_wrap=column in {"audit", "user", "at"})
        for item in items:
            table.add_row(*(Text(cell(column, item.get(column))) for column in columns))
        self.console.print(table)
        if more:
            self.text("-- there are more: raise --limit")


def cell(column: str, value: object) -> str:
    """A field as people read it; nothing of it moves the cursor."""
    if value is None:
        return ""
    if column in {"at", "created", "expires", "until", "revoked"} and isinstance(value, int):
        return clock(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(str(value))


def clock(at_ms: int) -> str:
    """A time in UTC, to the second."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def say(line: str) -> None:
    """Tell a person something that is not the command's result."""
    print(printable(line), file=sys.stderr, flush=True)
