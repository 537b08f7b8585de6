"""`parley admin import`: a room's log out of a file, on the database alone."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final, Literal, TextIO

from cyclopts import Parameter

from chat.cli_options import UsageMistake, configure
from chat.direct_rooms import RESERVED
from chat.names import name_key
from chat.offline import open_database_of
from chat.open_store import describe_database, wall_clock_ms
from chat.terminal_text import room_name_problem
from scripts.admin.audit import open_progress
from scripts.admin.entries import BadEvent, Entries
from scripts.admin.exits import EXIT_OK, Problem
from scripts.admin.options import OfflineOptions
from scripts.admin.output import Output
from scripts.admin.rooms import RoomArgument
from scripts.admin.run import run_command
from storage import Conflict, LogEntry, NewRoom, PostgresStore, RoomId, Store, Stored, migrate

BATCH: Final = 500
"""Events a transaction."""


def import_room(
    file: Annotated[Path, Parameter(help="JSON lines, as `export` writes them.")],
    room: RoomArgument,
    /,
    *,
    owner: Annotated[str, Parameter(help="The registered user who will own the room.")],
    kind: Annotated[Literal["public", "private"], Parameter(help="Who may see it.")] = "private",
    topic: Annotated[str, Parameter(help="What it was about at first.")] = "",
    dry_run: Annotated[bool, Parameter(negative=(), help="Read the file, and change nothing.")] = False,
    offline: Annotated[
        bool, Parameter(negative=(), help="On the database alone, which is the only way there is.")
    ] = False,
    options: OfflineOptions | None = None,
) -> int:
    """Make a room with the log that is in a file; called again it goes on behind what is stored.

    Who was invited is a member again, sanctions hold, and the audit is made anew; who joined a public room by
    himself joins again. The server may be running.
    """
    if not offline:
        raise UsageMistake(
            "a log is imported into the database: say --offline, and where with --database-url"
        )
    problem = room_name_problem(room)
    if room.startswith(RESERVED):
        problem = f"names that begin with {' or '.join(RESERVED)} are taken"
    if problem is not None:
        raise UsageMistake(problem)
    wanted = options or OfflineOptions()
    config = wanted.load().config
    configure(config)
    out = Output(as_json=wanted.json)

    async def work() -> int:
        # All of it first: a file with a mistake in its middle leaves no half of a room.
        total = check_file(file)
        told: dict[str, object] = {"room": room, "file": str(file), "to": total, "dry_run": dry_run}
        if dry_run:
            out.value({**told, "events": total}, f"would import {total} events into {room}")
            return EXIT_OK
        async with open_database_of(config, make=False) as database:
            await migrate(database)
            store = PostgresStore(database)
            await _make(store, room, owner=owner, kind=kind, topic=topic)
            with open_progress() as progress:
                task = progress.add_task(room, total=None)
                written = await import_events(
                    store,
                    file,
                    room,
                    lambda seq: progress.update(task, description=f"{room}: to #{seq} of #{total}"),
                )
        words = f"imported {written} events into {room}, up to #{total}, in the {describe_database(config)}"
        out.value({**told, "events": written}, words)
        return EXIT_OK

    return run_command(out, work)


def check_file(file: Path) -> int:
    """Read every event; how many there are.

    Raises:
        Problem: one is none, or one is missing.
    """
    entries = Entries(RoomId(0), 1)
    with closing(file.open(encoding="utf-8")) as stream:
        for _ in _events(stream, entries):
            pass
    return entries.seq


async def import_events(store: Store, file: Path, room: str, on_batch: Callable[[int], None]) -> int:
    """Write the events that a room has not; how many those were.

    Raises:
        Problem: the room has another log, or somebody writes into it.
        StorageError: the store cannot take them; whole batches were written.
    """
    activation = await store.activate(room, tail_events=1, at_ms=wall_clock_ms())
    if activation is None:
        raise Problem("room_not_found", f"there is no room {room}")
    entries = Entries(activation.room.room_id, activation.epoch)
    head = activation.tail[-1] if activation.tail else None
    written = 0
    batch: list[LogEntry] = []
    with closing(file.open(encoding="utf-8")) as stream:
        for entry in _events(stream, entries):
            if entry.seq == activation.head_seq and head is not None:
                _require_same(head, entry, room)
            if entry.seq <= activation.head_seq:
                continue
            batch.append(entry)
            if len(batch) == BATCH:
                written += await _write(store, batch, room)
                on_batch(batch[-1].seq)
                batch = []
    if entries.seq < activation.head_seq:
        raise Problem("conflict", f"{room} has {activation.head_seq} events, the file {entries.seq}")
    if batch:
        written += await _write(store, batch, room)
    return written


async def _write(store: Store, batch: list[LogEntry], room: str) -> int:
    receipts = await store.append(batch)
    for entry, receipt in zip(batch, receipts, strict=True):
        if not isinstance(receipt, Stored):
            what = type(receipt).__name__.lower()
            raise Problem("conflict", f"#{entry.seq} of {room} was not stored ({what}): is it in use?")
    return len(batch)


async def _make(
    store: Store, room: str, *, owner: str, kind: Literal["public", "private"], topic: str
) -> None:
    user = await store.find_user(owner, name_key(owner))
    if user is None:
        raise Problem("not_found", f"nobody is called {owner}: `parley user create` makes an account")
    wanted = NewRoom(
        name=room,
        kind=kind,
        topic=topic,
        strict=False,
        slow_s=0.0,
        created_by=user.user_id,
        creator_name=user.name,
        created_at_ms=wall_clock_ms(),
    )
    try:
        await store.create_room(wanted)
    except Conflict:
        # Begun before, or another room: its log says which.
        return


def _events(stream: TextIO, entries: Entries) -> Iterator[LogEntry]:
    number = 0
    try:
        for line in stream:
            number += 1
            yield entries.take(line)
    except (BadEvent, UnicodeDecodeError) as error:
        raise Problem("bad_file", f"line {number}: {error}") from error


def _require_same(stored: LogEntry, entry: LogEntry, room: str) -> None:
    if (stored.at_ms, stored.by, stored.kind, stored.cid) != (entry.at_ms, entry.by, entry.kind, entry.cid):
        raise Problem("conflict", f"{room} has another log: choose a name that is free")
