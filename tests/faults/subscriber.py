"""A subscriber that is a process of its own, so that a test can stop it: run as a program.

    python -m tests.faults.subscriber URL ROOM...

Prints `READY` when it follows every room, and at the end, when it has seen `THE_END` in every room, one JSON
object: for each room what it shows, and the close codes of the connections that it lost.
"""

import json
import sys
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

import trio

from chat.client import open_client
from chat.client_feed import Disconnected, Ended, Update
from tests.faults.client_log import ClientLog
from tests.faults.load import OPTIONS

READY: Final = "ready"
THE_END: Final = "the end"


class Verdict(NamedTuple):
    """What a subscriber has to tell at its end.

    Attributes:
        rooms: by room and seq (as text), what it shows: author, cid and body, or None.
        wrong: what it should never have been told.
        ends: close codes.
    """

    rooms: dict[str, dict[str, list[str] | None]]
    wrong: list[str]
    ends: list[int]


async def follow(url: str, rooms: Sequence[str]) -> Verdict:
    """Follow the rooms until each of them has ended."""
    logs = {room: ClientLog(room) for room in rooms}
    ended: set[str] = set()
    done = trio.Event()
    ends: list[int] = []

    def on_update(update: Update) -> None:
        room = getattr(update, "room", None)
        if isinstance(update, Disconnected):
            ends.append(update.code)
        elif isinstance(update, Ended):
            raise update.error
        elif isinstance(room, str):
            log = logs[room]
            log(update)
            if log.events and log.events[log.head].body == THE_END:
                ended.add(room)
            if len(ended) == len(logs):
                done.set()

    async with open_client(
        url,
        guest="sleeper",
        rng=Random(1),  # noqa: S311  jitter
        options=OPTIONS,
        on_update=on_update,
    ) as client:
        for room in rooms:
            await client.subscribe(room, limit=1)
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        await done.wait()
    return Verdict(
        {
            room: {str(seq): None if event is None else list(event) for seq, event in log.shown().items()}
            for room, log in logs.items()
        },
        [words for log in logs.values() for words in log.wrong],
        ends,
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(trio.run(follow, sys.argv[1], sys.argv[2:])._asdict()) + "\n")
