"""PURE: who asks for something else than messages: changes of presence, typing, edits, welcomes."""

from collections.abc import Iterator

from scripts.bench.budgets import PRESENCE_WATCHERS, Workload
from scripts.bench.dialects import (
    CID,
    PARLEY,
    UPGRADED,
    message_body,
    parley_connection,
    request_frame,
    request_to_send,
)
from scripts.bench.script import Connection, SendFrame, Step

_STEP_ID = 3
_WATCH_PAGE = 100


def presence_users(
    workload: Workload, encoding: str, *, greeting: bytes, prefix: str
) -> Iterator[Connection]:
    """Members who each go away once; the last of them watch the room."""
    away = request_to_send(encoding, "presence", status="away")
    watch = Step(
        sent=request_frame(
            encoding, {"t": "watch", "id": _STEP_ID, "room": f"{prefix}-0", "limit": _WATCH_PAGE}
        ),
        mark=b"counts",
    )
    for index in range(workload.connections):
        watches = index >= workload.connections - PRESENCE_WATCHERS
        yield _member(encoding, greeting, prefix, index, 0, [watch] if watches else [], away)


def typing_users(workload: Workload, encoding: str, *, greeting: bytes, prefix: str) -> Iterator[Connection]:
    """Members who type."""
    typing = request_to_send(encoding, "typing", room=f"{prefix}-0")
    for index in range(workload.connections):
        yield _member(encoding, greeting, prefix, index, 0, [], typing)


def editors(
    workload: Workload, encoding: str, *, greeting: bytes, prefix: str, edits: bool
) -> Iterator[Connection]:
    """Members who have said something, one after the other; they go on with messages, or edit that one."""
    for index in range(workload.connections):
        room = index % workload.rooms
        name = f"{prefix}-{room}"
        said = request_frame(
            encoding, {"t": "send", "id": _STEP_ID, "room": name, "cid": "first", "body": "." * 85}
        )
        if edits:
            seq = index // workload.rooms + 1
            frame = request_to_send(encoding, "edit", room=name, seq=seq, cid=CID, body=message_body())
        else:
            frame = request_to_send(encoding, "send", room=name, cid=CID, body=message_body())
        step = Step(sent=said, mark=_small_ok(encoding))
        yield _member(encoding, greeting, prefix, index, room, [step], frame)


def comers(encoding: str, *, greeting: bytes, tokens: list[str], connections: int) -> Iterator[Connection]:
    """Users who come in, each with several sessions; the last step is the welcome."""
    for index in range(connections):
        hello = request_frame(encoding, {"t": "hello", "id": _STEP_ID, "token": tokens[index % len(tokens)]})
        yield Connection(
            room=0,
            steps=(Step(sent=greeting, mark=UPGRADED), Step(sent=hello, mark=b"welcome")),
            send=request_to_send(encoding, "ping"),
        )


def _member(
    encoding: str,
    greeting: bytes,
    prefix: str,
    index: int,
    room: int,
    more: list[Step],
    send: SendFrame,
) -> Connection:
    plain = parley_connection(encoding, greeting=greeting, index=index, room=room, prefix=prefix)
    return Connection(room=room, steps=(*plain.steps, *more), send=send)


def _small_ok(encoding: str) -> bytes:
    """The beginning of the answer to a step, whose id is a small number."""
    mark = PARLEY[encoding].ok_mark
    if encoding == "json":
        return mark + f"{_STEP_ID},".encode()
    # The mark of sends ends with the first byte of an id of four more.
    return mark[:-1] + bytes((_STEP_ID,))
