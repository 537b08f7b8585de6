"""`parley admin export`: a room's log into a file, which can be continued."""

import json
import os
from pathlib import Path
from typing import Annotated, BinaryIO, Final

from cyclopts import Parameter

from chat.client_state import Envelope
from scripts.admin.audit import open_progress
from scripts.admin.connection import PAGE, Connection, with_server
from scripts.admin.exits import EXIT_OK, Problem
from scripts.admin.lookup import ask_room
from scripts.admin.options import ServerOptions
from scripts.admin.rooms import RoomArgument

_TAIL_BYTES: Final = 1024 * 1024
"""Longer than any line: an event is bounded by a frame."""


def export(
    room: RoomArgument,
    file: Annotated[Path, Parameter(help="JSON lines, an event each; one that is there is continued.")],
    /,
    *,
    options: ServerOptions | None = None,
) -> int:
    """Copy a room's log into a file; called again it goes on behind the last event that is there.

    Whole events are written, however it ends; an event that was begun only is cut off by the next call.
    """

    async def work(connection: Connection) -> int:
        with file.open("a+b") as stream:
            first = after = continue_after(stream, room)
            written = 0
            with open_progress() as progress:
                task = progress.add_task(f"{room}: from #{after + 1}", total=None)
                while True:
                    page = await ask_room(connection, "history", room, after=after, limit=PAGE)
                    items = _items(page)
                    if not items:
                        break
                    check_order(items, after)
                    stream.write("".join(f"{_line(item)}\n" for item in items).encode())
                    stream.flush()
                    after = int(str(items[-1]["seq"]))
                    written += len(items)
                    progress.update(task, description=f"{room}: {written} events, to #{after}")
                    if "next" not in page:
                        break
                os.fsync(stream.fileno())
        told = {"room": room, "file": str(file), "from": first + 1, "to": after, "events": written}
        connection.out.value(told, f"wrote {written} events of {room} to {file}, up to #{after}")
        return EXIT_OK

    return with_server(options, work)


def continue_after(stream: BinaryIO, room: str) -> int:
    """The seq of the last whole event in a file; what stands behind it is cut off.

    Raises:
        Problem: it is a file of something else.
    """
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - _TAIL_BYTES)
    stream.seek(start)
    tail = stream.read()
    whole = tail.rfind(b"\n") + 1
    if whole < len(tail):
        if start and not whole:
            raise Problem("bad_file", "the file has no lines: it is none of `parley admin export`")
        stream.truncate(start + whole)
        tail = tail[:whole]
    if not tail:
        return 0
    try:
        event = json.loads(tail.rstrip(b"\n").rpartition(b"\n")[2])
        found, seq = event["room"], event["seq"]
    except (ValueError, KeyError, TypeError):
        raise Problem(
            "bad_file", "the file's last line is no event: it is none of `parley admin export`"
        ) from None
    if found != room or not isinstance(seq, int):
        raise Problem("bad_file", f"the file has events of the room {found}, not of {room}")
    return seq


def check_order(items: list[Envelope], after: int) -> None:
    """Make sure that no event is missing.

    Raises:
        Problem: one is.
    """
    for wanted, item in enumerate(items, after + 1):
        if item["seq"] != wanted:
            raise Problem("gap", f"after #{wanted - 1} the server gave #{item['seq']}: an event is missing")


def _items(page: Envelope) -> list[Envelope]:
    items = page["items"]
    return items if isinstance(items, list) else []


def _line(item: Envelope) -> str:
    return json.dumps({name: value for name, value in item.items() if name != "t"}, ensure_ascii=False)
