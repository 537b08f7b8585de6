"""Finds people and rooms by what was typed, and says what may have been meant."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from chat.client_errors import RequestRefused
from chat.client_state import Envelope
from chat.names import name_key
from scripts.admin.connection import Connection
from scripts.admin.exits import Problem
from scripts.admin.nearest import did_you_mean

LOOKED_AT: Final = 1000
"""Names of a list that are compared with an unknown one."""

_ID: Final = re.compile(r"[ug]_[a-z2-7]{1,64}")


class Found(NamedTuple):
    """A user."""

    user_id: str
    name: str


async def find_user(connection: Connection, typed: str, room: str | None = None) -> Found:
    """The user of an id or a name; of those who are in the room, guests as well.

    Raises:
        Problem: nobody is called so, with the nearest names.
        ClientError: the server does not say.
    """
    if _ID.fullmatch(typed):
        return await _by_id(connection, typed, room)
    wanted = name_key(typed)
    users = await _users(connection, typed, room, limit=1)
    members = [] if room is None else await members_of(connection, room)
    for item in (*users, *members):
        if name_key(str(item["name"])) == wanted:
            return Found(str(item["user"]), str(item["name"]))
    alike = await _users(connection, typed[:1], room, limit=LOOKED_AT)
    names = [str(item["name"]) for item in (*alike, *members)]
    raise Problem("not_found", f"nobody is called {typed}{did_you_mean(typed, names)}")


async def _users(connection: Connection, query: str, room: str | None, *, limit: int) -> Sequence[Envelope]:
    try:
        return (await connection.listed("users", query=query, limit=limit))[0]
    except RequestRefused as refused:
        # A room's own moderator knows the people of the room, which is enough there.
        if refused.code != "forbidden" or room is None:
            raise
        return ()


async def _by_id(connection: Connection, user_id: str, room: str | None) -> Found:
    try:
        return Found(user_id, str((await connection.ask("user", user=user_id))["name"]))
    except RequestRefused as refused:
        if refused.code not in {"not_found", "forbidden"} or (room is None and refused.code == "forbidden"):
            raise
        if room is None:
            raise Problem("not_found", refused.message) from None
    # A guest who has gone, or nobody whom we may ask about: the room knows the name.
    names = [str(item["name"]) for item in await members_of(connection, room) if item["user"] == user_id]
    return Found(user_id, names[0] if names else user_id)


async def members_of(connection: Connection, room: str) -> Sequence[Envelope]:
    """A room's members, the first of them.

    Raises:
        Problem: there is no such room, with the nearest names.
    """
    try:
        members, _ = await connection.listed("members", room=room, limit=LOOKED_AT)
    except RequestRefused as refused:
        raise await explain_room(connection, room, refused) from None
    return members


async def explain_room(connection: Connection, room: str, refused: RequestRefused) -> Exception:
    """What to tell of a refusal: of a room that is not there, which ones are called alike."""
    if refused.code != "room_not_found":
        return refused
    try:
        rooms, _ = await connection.listed("rooms", all=True, limit=LOOKED_AT)
    except RequestRefused:
        rooms, _ = await connection.listed("rooms", limit=LOOKED_AT)
    names = [str(item["room"]) for item in rooms]
    return Problem("room_not_found", f"there is no room {room}{did_you_mean(room, names)}")


async def ask_room(connection: Connection, t: str, room: str | None, **fields: object) -> Envelope:
    """The answer of a room; raises as `Connection.ask`, or says which rooms are called alike."""
    try:
        return await connection.ask(t, room=room, **fields)
    except RequestRefused as refused:
        if room is None:
            raise
        raise await explain_room(connection, room, refused) from None
