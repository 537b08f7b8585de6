"""How many connections this machine lets a process have, and what to do about it."""

import resource
from typing import Final

from chat.descriptors import allow_files
from scripts.load.errors import LoadError

SPARE_FILES: Final = 100
"""Besides the users' connections: pipes, epolls, what Python has open."""


class TooFewFiles(LoadError):
    """The limit on open files is too low for so many users; the message says how to raise it."""


def check_files(users: int, processes: int) -> None:
    """Raise this process's limit, which its children inherit, to what each worker needs.

    Raises:
        TooFewFiles: the hard limit is lower.
    """
    needed = -(-users // processes) + SPARE_FILES
    allowed = allow_files(needed)
    if allowed >= needed:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = -(-users // max(1, allowed - SPARE_FILES))
    raise TooFewFiles(
        f"{users:,} users in {processes} process{'es' if processes > 1 else ''} need {needed:,} open files"
        f" each, and {allowed:,} are allowed (hard limit {hard:,}): use --processes {enough}, or raise the"
        f" limit: `ulimit -Hn {needed}; ulimit -n {needed}` as root, `nofile` in /etc/security/limits.conf,"
        f" or LimitNOFILE={needed} in a systemd unit"
    )
