"""Runs one command: its connection, its errors, its exit code."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from chat.cli_options import UsageMistake
from chat.client_errors import ClientError, ConnectFailed, ConnectionEnded, RequestRefused
from chat.errors import ChatError, CloseCode
from chat.terminal_text import printable
from scripts.admin.exits import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_UNAUTHORISED,
    EXIT_UNREACHABLE,
    Problem,
)
from scripts.admin.output import Output, say
from storage import StorageError, Unavailable

_EXPECTED: Final = (Problem, ChatError, StorageError, OSError)
_NOT_ALLOWED: Final = frozenset({"unauthenticated", "forbidden"})


def run_command(out: Output, work: Callable[[], Awaitable[int]]) -> int:
    """Run a command to its end; errors that people can do something about become lines, and exit codes.

    Raises:
        UsageMistake: for the command line's own `main` to tell.
        BaseExceptionGroup: a bug.
    """
    try:
        return trio.run(work)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except _EXPECTED as error:
        return _explain(out, error)
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        if any(isinstance(error, KeyboardInterrupt) for error in errors):
            return EXIT_INTERRUPTED
        first = next((error for error in errors if isinstance(error, _EXPECTED)), None)
        if first is None or not all(isinstance(error, _EXPECTED) for error in errors):
            raise
        return _explain(out, first)


def _explain(out: Output, error: Exception) -> int:
    if isinstance(error, UsageMistake):
        raise error
    problem = problem_of(error)
    if out.as_json:
        out.line({"error": {"code": problem.code, "message": str(problem)}})
    say(f"parley admin: {problem}")
    return problem.exit_code


def problem_of(error: Exception) -> Problem:
    """What went wrong, and what to do about it."""
    match error:
        case Problem():
            return error
        case RequestRefused(code="unauthenticated"):
            words = f"{error.message}: `parley admin login NAME` gets a new token"
            return Problem(error.code, words, EXIT_UNAUTHORISED)
        case RequestRefused():
            code = EXIT_UNAUTHORISED if error.code in _NOT_ALLOWED else EXIT_FAILED
            return Problem(error.code, error.message, code)
        case ConnectFailed():
            return Problem("unreachable", str(error), EXIT_UNREACHABLE)
        case ConnectionEnded(code=CloseCode.BAD_TOKEN):
            words = f"{error.reason}: `parley admin login NAME` gets a new token"
            return Problem("unauthenticated", words, EXIT_UNAUTHORISED)
        case ClientError():
            return Problem("unreachable", str(error), EXIT_UNREACHABLE)
        case Unavailable():
            return Problem("unavailable", str(error), EXIT_UNREACHABLE)
        case OSError():
            words = str(error) if error.strerror is None else error.strerror
            where = "" if error.filename is None else f"{error.filename}: "
            return Problem("system", printable(where + words))
        case _:
            return Problem("failed", str(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
