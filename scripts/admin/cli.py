"""`parley admin`, also `python -m scripts.admin`: the command line of moderators and operators.

Exit codes: 0 done; 1 refused, or it failed; 2 the command line is wrong; 3 what was looked at is not in order
(`audit verify`, `health`); 4 the server, or the database, does not answer; 5 not authorised; 130 interrupted.
"""

from collections.abc import Sequence
from typing import Final, Literal, cast

from cyclopts import App, CycloptsError

from chat.cli_options import UsageMistake
from chat.config_sources import ConfigError
from scripts.admin.audit import audit_app
from scripts.admin.automod import automod_app
from scripts.admin.drain import drain
from scripts.admin.exits import EXIT_OK, EXIT_USAGE
from scripts.admin.export import export
from scripts.admin.first import completion_of, init, login
from scripts.admin.health import health
from scripts.admin.import_room import import_room
from scripts.admin.moderation import add_commands
from scripts.admin.output import say
from scripts.admin.purging import purge
from scripts.admin.reports import reports_app
from scripts.admin.retention import retention_app
from scripts.admin.rooms import rooms_app
from scripts.admin.tail import tail
from scripts.admin.top import top
from scripts.admin.users import users_app

app: Final = App(
    name="admin",
    help="Moderate and look after a server. Come with PARLEY_TOKEN, or `parley admin login NAME` first.",
    version_flags=(),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(init)
app.command(login)
app.command(users_app)
app.command(rooms_app)
add_commands(app, users_app, rooms_app)
app.command(purge)
app.command(retention_app)
app.command(reports_app)
app.command(automod_app)
app.command(audit_app)
app.command(tail)
app.command(top)
app.command(health)
app.command(export)
app.command(import_room, name="import")
app.command(drain)


def _completion(shell: str) -> str:
    from chat.cli import app as parley  # noqa: PLC0415  all of `parley` is imported for this command alone

    return parley.generate_completion(shell=cast("Literal['bash', 'zsh', 'fish']", shell))


app.command(completion_of(_completion), name="completion")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command by itself, without `parley`; its exit code."""
    try:
        result: object = app(argv, exit_on_error=False, print_error=False)
    except (CycloptsError, UsageMistake) as error:
        say(f"parley admin: {str(error).replace(chr(10), ' ')}")
        return EXIT_USAGE
    except ConfigError as error:
        for mistake in error.mistakes:
            say(f"parley admin: {mistake}")
        return EXIT_USAGE
    return result if isinstance(result, int) else EXIT_OK
