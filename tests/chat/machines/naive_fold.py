"""What messages and state have become, folded from events by somebody who has read docs/protocol.md 4."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import cast

from chat.folding import fold_event
from chat.json_value import decode_value
from chat.room_news import as_event
from storage import MemoryStore
from storage.model import RoomId
from tests.chat.peers_double import Wires


@dataclass
class Message:
    """One message as a client shows it."""

    body: object
    version: int = 1
    edited: object = None
    deleted: bool = False
    mentions: object = None
    here: object = None
    counts: dict[str, int] = field(default_factory=dict[str, int])
    mine: set[str] = field(default_factory=set[str])
    thread_count: int = 0
    thread_last: object = None
    pinned: object = None


@dataclass
class Present:
    """A room as one user sees it.

    Attributes:
        user_id: whose reactions are `mine`.
        state: by key, value and version.
        settings: topic, slow and so on, as the room begins with.
        roles: of the members, as the room begins with.
    """

    user_id: str
    messages: dict[int, Message] = field(default_factory=dict[int, Message])
    state: dict[str, tuple[object, object]] = field(default_factory=dict[str, tuple[object, object]])
    settings: dict[str, object] = field(
        default_factory=lambda: {
            "topic": "",
            "slow": 0.0,
            "locked": False,
            "archived": False,
            "retention": 0,
        }
    )
    roles: dict[str, object] = field(
        default_factory=lambda: {"u_ann": "owner", "u_bob": "member", "u_cat": "member"}
    )

    def after(self, events: Iterable[Mapping[str, object]]) -> "Present":
        """The present after some more events, in order."""
        present = deepcopy(self)
        for event in events:
            present.take(event)
        return present

    def take(self, event: Mapping[str, object]) -> None:
        """Apply one event."""
        kind, seq = event["kind"], cast("int", event["seq"])
        if kind == "message":
            self.messages[seq] = Message(
                event["body"], mentions=event.get("mentions"), here=event.get("here")
            )
            root = self.messages.get(cast("int", event.get("thread", 0)))
            if root is not None:
                root.thread_count += 1
                root.thread_last = seq
        elif kind == "state":
            key = cast("str", event["key"])
            if event["value"] is None:
                del self.state[key]
            else:
                self.state[key] = (event["value"], event["version"])
        elif kind == "room":
            self.settings |= {name: value for name, value in event.items() if name in self.settings}
        elif kind in {"member", "role", "sanction"}:
            self._govern(cast("str", event["user"]), event)
        elif kind == "purge":
            for of in cast("list[int]", event["seqs"]):
                if not self.messages[of].deleted:
                    self._change(self.messages[of], {**event, "kind": "delete"})
        elif kind in {"edit", "delete", "react", "pin"}:
            self._change(self.messages[cast("int", event["of"])], event)

    def _govern(self, user: str, event: Mapping[str, object]) -> None:
        if event["kind"] == "sanction":
            if event["action"] == "ban":
                self.roles.pop(user, None)
        elif event["role"] is None:
            del self.roles[user]
        else:
            assert (user in self.roles) is (event["kind"] == "role"), f"who is no member, or is one: {event}"
            self.roles[user] = event["role"]

    def _change(self, message: Message, event: Mapping[str, object]) -> None:
        assert not message.deleted, f"after the message was deleted: {event}"
        match event["kind"]:
            case "edit":
                assert event["version"] == message.version + 1
                message.body, message.edited = event["body"], event["at"]
                message.version += 1
                message.mentions, message.here = event.get("mentions"), event.get("here")
            case "delete":
                message.deleted = True
                message.body = message.pinned = None
                message.mentions = message.here = None
                message.counts.clear()
                message.mine.clear()
            case "pin":
                message.pinned = None if event.get("remove") else event["seq"]
            case _:
                self._react(message, event)

    def _react(self, message: Message, event: Mapping[str, object]) -> None:
        emoji = cast("str", event["emoji"])
        removes = bool(event.get("remove"))
        message.counts[emoji] = message.counts.get(emoji, 0) + (-1 if removes else 1)
        if not message.counts[emoji]:
            del message.counts[emoji]
        if event["by"] == self.user_id:
            assert (emoji in message.mine) is removes, f"twice: {event}"
            (message.mine.remove if removes else message.mine.add)(emoji)

    def pins(self) -> list[int]:
        """Pinned messages, the latest pin first."""
        pinned = [(message.pinned, seq) for seq, message in self.messages.items() if message.pinned]
        return [seq for _, seq in sorted(pinned, reverse=True)]

    def shown(self) -> object:
        """All of it, in a form that is compared; what an edited and then deleted message was is not shown."""
        messages = [
            (
                seq,
                message.body,
                message.version,
                None if message.deleted else message.edited,
                message.deleted,
                message.mentions,
                message.here,
                list(message.counts.items()),
                sorted(message.mine),
                message.thread_count,
                message.thread_last,
                message.pinned,
            )
            for seq, message in sorted(self.messages.items())
        ]
        governed = (sorted(self.settings.items()), sorted(self.roles.items()))
        return messages, sorted(self.state.items()), self.pins(), governed


async def read_present(store: MemoryStore, room_id: RoomId, user_id: str) -> tuple[int, Present]:
    """What a server shows of a room, from what is stored; and as of which seq."""
    while True:
        page = await store.history(room_id, fold_for=user_id, limit=100_000)
        state = await store.read_state(room_id, key=None, after=None, limit=1000)
        pins = await store.list_pins(room_id, user_id=user_id, before=None, limit=1000)
        row = await store.find_room("tea")
        members = await store.list_members(room_id, after=None, limit=1000)
        end = (await store.history(room_id, limit=1)).durable_seq
        if page.durable_seq == state.durable_seq == pins.durable_seq == end:
            # Each is of one moment; together they are when nothing was written in between.
            break
    assert row is not None
    present = Present(user_id)
    present.settings = {
        "topic": row.topic,
        "slow": row.slow_s,
        "locked": row.locked,
        "archived": row.archived,
        "retention": row.retention_s or 0,
    }
    present.roles = {member.user_id: member.role for member in members}
    for entry in page.items:
        if entry.kind == "message":
            event = fold_event(as_event("tea", entry), page.folded[entry.seq])
            present.messages[entry.seq] = _message(event)
    present.state = {row.key: (decode_value(row.value or ""), row.version) for row in state.rows}
    assert [entry.seq for entry, _ in pins.pins] == present.pins()
    return page.durable_seq, present


def _message(event: Mapping[str, object]) -> Message:
    reactions = cast("Sequence[Wires]", event.get("reactions", ()))
    return Message(
        event["body"],
        version=cast("int", event["version"]),
        edited=event.get("edited"),
        deleted=bool(event.get("deleted", False)),
        mentions=event.get("mentions"),
        here=event.get("here"),
        counts={cast("str", one["emoji"]): cast("int", one["count"]) for one in reactions},
        mine={cast("str", one["emoji"]) for one in reactions if one.get("mine")},
        thread_count=cast("int", event.get("thread_count", 0)),
        thread_last=event.get("thread_last"),
        pinned=event.get("pinned"),
    )
