"""Passwords as people type them: never an argument, which everybody on the machine could see."""

import sys
from getpass import getpass

from chat.cli_options import UsageMistake


def read_secret(prompt: str) -> str:
    """A password, typed unseen; or the first line of standard input, where that is no terminal.

    Raises:
        UsageMistake: there is none, or it is no UTF-8.
    """
    secret = getpass(prompt) if sys.stdin.isatty() else _read_line()
    if not secret:
        raise UsageMistake("no password was given")
    return secret


def read_new_secret(prompt: str) -> str:
    """As `read_secret`, for one that is to be remembered: typed twice where it is not seen.

    Raises:
        UsageMistake: there is none, or the second is another one.
    """
    secret = read_secret(prompt)
    if sys.stdin.isatty() and getpass("The same again: ") != secret:
        raise UsageMistake("those were two passwords")
    return secret


def _read_line() -> str:
    # The bytes: what is read of the text could not be set up any more by who reads the rest of it.
    line = sys.stdin.buffer.readline().rstrip(b"\r\n")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise UsageMistake("the password is no UTF-8") from error
