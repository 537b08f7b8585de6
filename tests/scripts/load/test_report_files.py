"""Records shown again from their files."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from scripts.load.files import RECORD_MAX_BYTES, is_same_file, main_compare, main_report
from scripts.load.record import dump_record
from tests.scripts.load.pages import Page
from tests.scripts.load.records import make_record


def console() -> Console:
    """A terminal that a test reads."""
    return Console(file=io.StringIO(), width=80)


def read(shown: Console) -> str:
    """What was printed on it."""
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's file."""
    path = tmp_path / "run.json"
    path.write_bytes(dump_record(make_record()))
    return path


def test_a_report_is_written_beside_the_record(run: Path) -> None:
    """With the summary on the terminal."""
    out = console()

    assert main_report(run, console=out) == 0
    assert "VALID" in read(out)
    assert "evening" in Page((run.parent / "run.html").read_bytes().decode()).text


def test_a_report_is_written_where_it_is_wanted(run: Path, tmp_path: Path) -> None:
    """And only there."""
    assert main_report(run, html=tmp_path / "other.html", console=console()) == 0
    assert (tmp_path / "other.html").exists()
    assert not (tmp_path / "run.html").exists()


def test_a_comparison_prints_and_writes_only_what_is_asked_for(run: Path, tmp_path: Path) -> None:
    """A page takes `html`."""
    out = console()

    assert main_compare(run, run, console=out) == 0
    assert "SAME" in read(out)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert main_compare(run, run, html=tmp_path / "both.html", console=console()) == 0
    assert "before and after" in Page((tmp_path / "both.html").read_bytes().decode()).text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read"),
        (b"", "no record of a load run"),
        (b"{}", "no record of a load run"),
        (b"\xff\xfe", "no record of a load run"),
        (dump_record(make_record()).replace(b'"format": 1', b'"format": 2'), "has format 2"),
    ],
)
def test_a_file_that_is_no_record_is_told(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    """By name and why, on standard error, without a traceback; nothing is written."""
    path = tmp_path / "other.json"
    if content is not None:
        path.write_bytes(content)

    assert main_report(path) == 2
    assert main_compare(run, path, html=tmp_path / "page.html") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert [words in line and "other.json" in line for line in told.err.splitlines()] == [True, True]
    assert not list(tmp_path.glob("*.html"))


def test_a_directory_is_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The system's words are told."""
    assert main_report(tmp_path) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_a_huge_file_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A disk image given by mistake does not take all memory."""
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(RECORD_MAX_BYTES + 1)

    assert main_report(path) == 2
    assert "larger than" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The directory is missing."""
    assert main_report(run, html=run.parent / "missing" / "a.html") == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_record_is_not_written_over(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page would take the place of what it was made of."""
    before = run.read_bytes()

    assert main_report(run, html=run) == 2
    assert main_compare(run, run, html=run.parent / "." / "run.json") == 2
    assert "is the record itself" in capsys.readouterr().err
    assert run.read_bytes() == before


def test_a_page_is_the_record_by_whatever_path(run: Path) -> None:
    """Whether there is a file or not; links that lead nowhere are no file's."""
    link, circle = run.with_name("link"), run.with_name("circle")
    link.symlink_to(run)
    circle.symlink_to(circle)

    assert is_same_file(link, run)
    assert is_same_file(run.parent / "missing", run.parent / "." / "missing")
    assert is_same_file(run.parent / "sub" / ".." / "missing", run.parent / "missing")
    assert not is_same_file(circle, run)
    assert not is_same_file(run.with_suffix(".html"), run)
