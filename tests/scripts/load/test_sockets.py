"""File descriptors."""

import resource
import subprocess
import sys

from scripts.load.sockets import SPARE_FILES, check_files

PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))
from scripts.load.sockets import check_files
from scripts.load.errors import LoadError
try:
    check_files(int(sys.argv[1]), int(sys.argv[2]))
except LoadError as error:
    print(error)
else:
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def _limited(users: int, processes: int) -> str:
    """What is said where 256 files are allowed at most."""
    command = [sys.executable, "-c", PROGRAM, str(users), str(processes)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_the_limit_is_raised_to_what_is_needed() -> None:
    """As far as the hard one lets it."""
    assert int(_limited(100, 1)) == 100 + SPARE_FILES


def test_too_few_files_are_told_with_what_to_do() -> None:
    """How many are needed, in how many processes they would do, and how to raise the limit."""
    told = _limited(1000, 2)
    for words in ("1,000 users in 2 processes need 600 open files each", "--processes 7", "ulimit -n 600"):
        assert words in told
    assert int(_limited(1000, 7)) <= 256


def test_a_limit_that_is_enough_is_left_alone() -> None:
    """It is never lowered."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    check_files(10, 1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(before[0], 10 + SPARE_FILES)
