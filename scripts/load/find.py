"""Looks for the number of users that a server holds: one run after the other against the same server."""

from typing import Final

import msgspec
import trio

from scripts.load.capacity import CapacitySearch, Goals, limit_of
from scripts.load.coordinator import Coordinator, RunSettings, Say
from scripts.load.errors import LoadError
from scripts.load.observer import Observer
from scripts.load.record import RunRecord
from scripts.load.scenario import USERS_MAX, Scenario
from scripts.load.sockets import TooFewFiles

RAMP_MAX_S: Final = 3600.0
CALM_S: Final = 3.0
"""Between two runs: the server closes what the last one left."""


async def find_capacity(
    scenario: Scenario,
    settings: RunSettings,
    goals: Goals,
    *,
    observer: Observer,
    say: Say,
    interrupt: trio.Event,
) -> tuple[CapacitySearch, RunRecord | None]:
    """Search, from the scenario's number of users on, each user doing as much in every run.

    Returns:
        What was found, and the record of the largest run that held all goals.

    Raises:
        LoadError: the first run could not be made.
    """
    search = CapacitySearch(scenario.users, USERS_MAX)
    best: RunRecord | None = None
    users = search.users
    while users is not None and not interrupt.is_set():
        # They come as fast as in the first run: how many a second it lets in is another question.
        ramp_s = min(scenario.ramp_s * users / scenario.users, RAMP_MAX_S)
        step = msgspec.structs.replace(scenario, users=users, ramp_s=ramp_s)
        try:
            record = await Coordinator(step, settings, observer=observer, say=say, interrupt=interrupt).run()
        except LoadError as error:
            # The last run may have been too much for it: what held before still counts.
            if best is None:
                raise
            what = f"{users:,} users cannot be tried" if isinstance(error, TooFewFiles) else "the search ends"
            say(f"{what}: {error}")
            break
        if interrupt.is_set():
            break
        limit = limit_of(record, goals)
        search.tried(users, limit)
        if limit is None:
            best = record
        say(f"{users:,} users: {'all goals held' if limit is None else limit.words}")
        users = search.users
        if users is not None:
            with trio.move_on_after(CALM_S):
                await interrupt.wait()
    return search, best
