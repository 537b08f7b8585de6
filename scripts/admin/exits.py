"""How a command of `parley admin` ends, for scripts (docs/admin.md)."""

from typing import Final

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
"""Refused, or it failed."""
EXIT_USAGE: Final = 2
"""The command line makes no sense."""
EXIT_FOUND: Final = 3
"""What was looked at is not in order."""
EXIT_UNREACHABLE: Final = 4
"""The server, or the database, does not answer."""
EXIT_UNAUTHORISED: Final = 5
"""The token is not good, or its user may not do this."""
EXIT_INTERRUPTED: Final = 130


class Problem(Exception):
    """A command ends here.

    Attributes:
        code: what is wrong, one word for scripts.
        exit_code: see above.
    """

    def __init__(self, code: str, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code
        self.exit_code = exit_code
