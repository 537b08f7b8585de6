"""Finding Postgres' programs, and making them reachable for the user who runs them."""

import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from storage.binaries import choose_identity, find_binaries
from storage.child import Child, Identity, run_to_end
from storage.errors import EmbeddedError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users to run things as")


@pytest.fixture
def public_directory() -> Generator[Path]:
    """A directory that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


async def test_the_wheels_newest_postgres_is_found_unless_an_older_one_is_wanted() -> None:
    """By default the newest version; for existing data the version that made them."""
    newest = await find_binaries(None, major=None, identity=Identity())
    older = await find_binaries(None, major=16, identity=Identity())

    assert newest.major >= 18
    assert older.major == 16


async def test_a_version_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    """The person in charge learns what the data need and what there is."""
    with pytest.raises(EmbeddedError, match=r"made by Postgres 9, there is only 18"):
        await find_binaries(None, major=9, identity=Identity())


def test_an_ordinary_user_runs_postgres_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root there is nobody else to become, and asking for it is an error."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    assert choose_identity(Path("/absent"), run_as=None) == Identity()


@needs_root
def test_root_never_runs_postgres_as_root(tmp_path: Path) -> None:
    """Root picks an unprivileged user, refuses to run it as root, and names users that do not exist."""
    assert choose_identity(tmp_path / "absent", run_as=None).uid > 0
    for user in ("root", "no-such-user"):
        with pytest.raises(EmbeddedError, match="refuses to run as root"):
            choose_identity(tmp_path / "absent", run_as=user)


@needs_root
async def test_programs_out_of_the_users_reach_are_copied_once_and_run(
    tmp_path: Path, public_directory: Path
) -> None:
    """A repository in root's home works: what the server needs is put where its user may read it."""
    installed = (await find_binaries(None, major=None, identity=Identity())).bindir.parent
    hidden = tmp_path / "hidden" / installed.parent.name / installed.name
    shutil.copytree(installed, hidden)
    libraries = f"{installed.parent.name}.libs"
    shutil.copytree(installed.parent.parent / libraries, tmp_path / "hidden" / libraries)
    (tmp_path / "hidden").chmod(0o700)
    user = choose_identity(tmp_path / "absent", run_as=None)
    cache = public_directory / "cache"

    first = await find_binaries(hidden / "bin", major=None, identity=user, cache=cache)
    second = await find_binaries(hidden / "bin", major=None, identity=user, cache=cache)

    assert first == second
    assert first.bindir.is_relative_to(cache)
    assert len(list(cache.iterdir())) == 1
    home = public_directory / "home"
    home.mkdir()
    os.chown(home, user.uid, user.gid)
    child = Child(
        [str(first.bindir / "initdb"), "--pgdata=.", "--no-sync", "--auth=trust"],
        identity=user,
        directory=home,
        death_signal=signal.SIGKILL,
    )
    code, words = await run_to_end(child, timeout_s=60.0)
    assert code == 0, words
