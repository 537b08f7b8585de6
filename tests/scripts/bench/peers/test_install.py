"""Installing, as far as it goes without anything to install from."""

import sys
from pathlib import Path

import pytest

from scripts.bench.peers.install import install_debian, install_npm, run_bounded
from scripts.bench.process import BenchError


@pytest.mark.slow
async def test_a_program_that_ends_well_is_read(tmp_path: Path) -> None:
    """In the directory that it was given."""
    code = "import os; print(os.getcwd())"
    assert (await run_bounded([sys.executable, "-c", code], tmp_path)).strip() == str(tmp_path)


@pytest.mark.slow
async def test_a_program_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    """They are the reason that stands in the table."""
    with pytest.raises(BenchError, match=r"failed \(1\): no network"):
        await run_bounded([sys.executable, "-c", "raise SystemExit('no network')"], tmp_path)


@pytest.mark.slow
async def test_a_program_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    """A registry that hangs does not stop the bench."""
    with pytest.raises(BenchError, match=r"did not end in 0 s"):
        await run_bounded([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, limit_s=0.2)


async def test_a_machine_without_the_package_manager_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    for install, name in ((install_npm, "node"), (install_debian, "apt-get")):
        with pytest.raises(BenchError, match=f"there is no {name} on this machine"):
            await install(tmp_path)
    assert _is_empty(tmp_path)


def _is_empty(directory: Path) -> bool:
    return not list(directory.iterdir())
