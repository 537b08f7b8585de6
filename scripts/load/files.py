"""`parley load report` and `parley load compare`: shows again what a run's JSON file holds.

Exit codes are those of `chat.cli`: 0 shown, 2 a file that cannot be used. What the run found is not this
command's result.
"""

import os
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

from scripts.load.compare import compare
from scripts.load.compare_views import render_comparison_html, render_terminal
from scripts.load.record import FormatError, RunRecord, parse_record
from scripts.load.report import render_html
from scripts.load.summary import render_summary

EXIT_OK: Final = 0
EXIT_USAGE: Final = 2
RECORD_MAX_BYTES: Final = 512 * 1024 * 1024
"""A day of seconds is 100 MB; what is larger is no record, and is not read into memory."""


class FileProblem(Exception):
    """A file cannot be used; the message names it and says why."""


def load_record(path: Path) -> RunRecord:
    """A run out of its JSON file.

    Raises:
        FileProblem: it is missing, unreadable, too large, or no record.
    """
    try:
        if path.stat().st_size > RECORD_MAX_BYTES:
            raise FileProblem(f"{path} is larger than {RECORD_MAX_BYTES:,} bytes: this is no record")
        return parse_record(path.read_bytes())
    except OSError as error:
        raise FileProblem(f"cannot read {path}: {error.strerror or error}") from error
    except FormatError as error:
        raise FileProblem(f"{path}: {error}") from error


def write_page(path: Path, page: str) -> None:
    """Write an HTML file, over what was there.

    Raises:
        FileProblem: it cannot be written.
    """
    try:
        # Byte for byte: the page's policy knows its scripts by their hashes.
        path.write_bytes(page.encode())
    except OSError as error:
        raise FileProblem(f"cannot write {path}: {error.strerror or error}") from error


def is_same_file(page: Path, record: Path) -> bool:
    """Whether a page would go over a record: two paths to one place, whether or not there is a file."""
    # Not `Path.resolve`, which raises RuntimeError where links go in a circle.
    return os.path.realpath(page) == os.path.realpath(record)


def main_report(run: Path, *, html: Path | None = None, console: Console | None = None) -> int:
    """Show a run again, and write its report.

    Args:
        run: the JSON file.
        html: the report; without it, beside the JSON file, with `.html` instead of its suffix.
        console: where the summary goes; None: standard output.
    """
    try:
        record = load_record(run)
        page = html or run.with_suffix(".html")
        _refuse_same(page, run)
        write_page(page, render_html(record))
    except FileProblem as problem:
        print(f"report: {problem}", file=sys.stderr)
        return EXIT_USAGE
    console = console or Console()
    console.print(render_summary(record))
    console.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)
    return EXIT_OK


def main_compare(
    before: Path, after: Path, *, html: Path | None = None, console: Console | None = None
) -> int:
    """Show two runs side by side.

    Args:
        before: the JSON file of the run to measure against.
        after: of the other.
        html: a page with the same and with plots; without it none is written.
        console: where the table goes; None: standard output.
    """
    try:
        comparison = compare(load_record(before), load_record(after))
        if html is not None:
            _refuse_same(html, before, after)
            write_page(html, render_comparison_html(comparison))
    except FileProblem as problem:
        print(f"compare: {problem}", file=sys.stderr)
        return EXIT_USAGE
    console = console or Console()
    console.print(render_terminal(comparison))
    if html is not None:
        console.print(f"comparison: {html}", markup=False, highlight=False, soft_wrap=True)
    return EXIT_OK


def _refuse_same(page: Path, *records: Path) -> None:
    if any(is_same_file(page, record) for record in records):
        raise FileProblem(f"{page} is the record itself: name another file for the page")
