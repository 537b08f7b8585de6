"""Where the token comes from, and who else can read it."""

from pathlib import Path

import pytest

from chat.cli_options import UsageMistake
from scripts.admin.options import ServerOptions, seconds, token_path, write_token

pytestmark = pytest.mark.usefixtures("process_as_before")


def test_a_token_is_kept_where_only_its_owner_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the user's configuration; a later one replaces it, and nothing else is left there."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for token in ("pt_1", "pt_2"):
        write_token(token_path(), token)

    path = tmp_path / "parley" / "token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["token"]
    assert ServerOptions().token() == "pt_2"


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    """It says what to type."""
    path = tmp_path / "token"
    write_token(path, "pt_1")
    path.chmod(0o640)
    with pytest.raises(UsageMistake, match="chmod 600"):
        ServerOptions(token_file=path).token()


def test_no_token_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, an empty one, and none that can be read; the variable comes first."""
    path = tmp_path / "token"
    monkeypatch.setenv("PARLEY_TOKEN_FILE", str(path))
    with pytest.raises(UsageMistake, match="parley admin login"):
        ServerOptions().token()
    write_token(path, "")
    with pytest.raises(UsageMistake, match="is empty"):
        ServerOptions().token()
    with pytest.raises(UsageMistake, match="cannot be read"):
        ServerOptions(token_file=tmp_path).token()
    monkeypatch.setenv("PARLEY_TOKEN", "pt_3")
    assert ServerOptions().token() == "pt_3"


def test_a_token_that_cannot_be_kept_leaves_nothing(tmp_path: Path) -> None:
    """The draft goes as well."""
    (tmp_path / "token").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_token(tmp_path / "token", "pt_1")
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


def test_a_duration_that_is_none_names_its_option() -> None:
    """None stays None."""
    assert (seconds(None, "--for"), seconds("2m", "--for")) == (None, 120.0)
    with pytest.raises(UsageMistake, match=r"--for: '10x'"):
        seconds("10x", "--for")
