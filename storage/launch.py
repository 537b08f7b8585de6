"""Become another program that does not outlive its starter. Run as a script, never imported by the server.

    python -I -S launch.py PARENT_PID DEATH_SIGNAL UID GID DIRECTORY PROGRAM [ARGUMENT...]

Enters DIRECTORY, becomes UID and GID unless they are -1, asks the kernel to send DEATH_SIGNAL when the
*thread* that started us ends, and becomes PROGRAM, with the same process id. It is a program of its own
because a `preexec_fn` runs between fork and exec of a process with threads, where any lock may be held.

Source: prctl(2). The order matters: the kernel forgets the death signal when the effective user changes,
and it says nothing when the parent was gone before we asked.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_GONE = 113
"""Exit status when the starter was dead before the signal was armed."""
_FAILED = 114
"""Exit status when a step failed; the reason is on standard error."""


def main(arguments: list[str]) -> int:
    """Replace this process; returns only on failure."""
    parent_pid, death_signal, uid, gid = map(int, arguments[:4])
    directory, program = arguments[4:6]
    try:
        os.chdir(directory)
        if uid != -1:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        os.umask(0o077)
        _die_with_starter(death_signal)
        if os.getppid() != parent_pid:
            return _GONE
        os.execv(program, arguments[5:])  # noqa: S606  no shell is wanted
    except OSError as error:
        sys.stderr.write(f"cannot start {program}: {error}\n")
        return _FAILED


def _die_with_starter(death_signal: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
