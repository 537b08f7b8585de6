"""The double and Postgres answer alike to anything: a random script is played on both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never
from uuid import uuid4

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import (
    Activation,
    AuditRow,
    BadData,
    Entry,
    HistoryPage,
    LogGap,
    MemoryStore,
    PointerMove,
    PostgresStore,
    Role,
    RoomId,
    Store,
    open_database,
)
from storage.audit_chain import chain_hash
from tests.postgres import PostgresServer
from tests.storage.rows import AT_MS, change, changed, event, make_room, message, take_over

ROOMS = (0, 1)
ROLES: list[Role | None] = ["member", "moderator", None, None]


@dataclass(frozen=True)
class Row:
    """A row relative to what its room's owner knows; `skew` makes a hole or repeats a seq."""

    room: int
    kind: str
    skew: int
    age: int  # how many epochs ago its owner lost the room
    key: str
    body: str
    role: Role | None


@dataclass(frozen=True)
class Append:
    """A batch."""

    rows: tuple[Row, ...]
    again: bool  # sent twice


@dataclass(frozen=True)
class Park:
    """A single row is put aside."""

    row: Row


@dataclass(frozen=True)
class TakeOver:
    """A room gets another owner."""

    room: int


@dataclass(frozen=True)
class Look:
    """A page of a room's log."""

    room: int
    where: str
    seq: int
    limit: int


@dataclass(frozen=True)
class Read:
    """The user has read a room so far."""

    room: int
    seq: int


Op: TypeAlias = Append | Park | TakeOver | Look | Read

CHANGES: Mapping[str, str] = {
    "edit": '{"of":1,"version":2,"mentions":["u_me","u_x"]}',
    "delete": '{"of":1}',
    "react": '{"of":2,"emoji":"x"}',
    "pin": '{"of":2}',
    "state": '{"key":"k","value":{"a":[1]},"version":1}',
    "purge": '{"seqs":[1,3]}',
}

GOVERNING: Mapping[str, tuple[str, str]] = {
    "invite": ("member", '{"user":"%s","name":"N","role":"member","action":"invite"}'),
    "kick": ("member", '{"user":"%s","name":"N","role":null,"action":"kick","reason":"why"}'),
    "promote": ("role", '{"user":"%s","name":"N","role":"moderator"}'),
    "ban": ("sanction", '{"user":"%s","name":"N","action":"ban","until":9,"reason":"why"}'),
    "unban": ("sanction", '{"user":"%s","name":"N","action":"unban"}'),
    "mute": ("sanction", '{"user":"%s","name":"N","action":"mute"}'),
    "update": ("room", '{"topic":"%s","slow":2.5,"locked":true}'),
    "archive": ("room", '{"archived":true,"retention":60,"reason":"%s"}'),
    "act": ("act", '{"action":"reset","user":"%s","name":"N"}'),
}
"""What governs a room, done by somebody else than the one user there is."""


MENTIONS: Mapping[str, str] = {
    "k": '{"here":true}',
    "l": '{"mentions":["u_me"]}',
    "m": '{"mentions":["u_me","u_x"]}',
    "n": '{"mentions":["u_me"],"here":true}',
}
"""Whom a message mentions, by its key; `u_me` is the script's user."""

ROW_OF = st.builds(
    Row,
    room=st.sampled_from(ROOMS),
    kind=st.sampled_from(["message"] * 4 + ["event", *["membership"] * 3, *CHANGES, *GOVERNING]),
    skew=st.sampled_from([0] * 18 + [1, -1]),
    age=st.sampled_from([0] * 9 + [1]),
    key=st.sampled_from("klmno"),
    body=st.sampled_from(["x"] * 8 + ["y", "\x00"]),
    role=st.sampled_from(ROLES),
)
OPS: st.SearchStrategy[Op] = st.one_of(
    st.builds(Append, st.lists(ROW_OF, min_size=1, max_size=6).map(tuple), st.booleans()),
    st.builds(Append, st.lists(ROW_OF, min_size=1, max_size=6).map(tuple), st.booleans()),
    st.builds(Park, ROW_OF),
    st.builds(TakeOver, st.sampled_from(ROOMS)),
    st.builds(Read, st.sampled_from(ROOMS), st.integers(0, 12)),
    st.builds(
        Look,
        st.sampled_from(ROOMS),
        st.sampled_from(["before", "after", "around"]),
        st.integers(1, 12),
        st.integers(1, 5),
    ),
)


class Player:
    """Plays a script on one store and writes down every answer, in terms that both stores share."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.names = [f"{prefix}.{room}" for room in ROOMS]
        self.user = f"u_{prefix}"
        self.ids: list[RoomId] = []
        self.epochs = [0 for _ in ROOMS]
        self.heads = [0 for _ in ROOMS]
        self.answers: list[object] = []

    async def play(self, ops: Sequence[Op]) -> list[object]:
        """Play it all; the answers."""
        for room, name in enumerate(self.names):
            self.ids.append(await make_room(self.store, name))
            await self.take_over(room)
        for op in ops:
            try:
                await self.step(op)
            except (BadData, LogGap):
                # A batch that is wrong in two ways may be refused for either.
                self.answers.append("refused")
        for room, name in enumerate(self.names):
            await self.look(Look(room, "after", 0, 100))
            self.answers.append(await self.store.list_members(self.ids[room], after=None, limit=100))
            found = await self.store.find_cids(self.ids[room], self.user, list("klmno"))
            self.answers.append(dict(sorted(found.items())))
            row = await self.store.find_room(name)
            assert row is not None
            self.answers.append((row.topic, row.slow_s, row.locked, row.archived, row.retention_s))
            self.answers.append(await self.audit(room))
            folded = await self.store.fold_messages(self.ids[room], [1, 2, 3], user_id=self.user)
            self.answers.append(sorted(folded.messages.items()))
            self.answers.append(
                await self.store.list_reactions(self.ids[room], 2, emoji=None, after=None, limit=9)
            )
            pins = await self.store.list_pins(self.ids[room], user_id=self.user, before=None, limit=9)
            self.answers.append([entry.seq for entry, _ in pins.pins])
            self.answers.append(await self.store.read_state(self.ids[room], key=None, after=None, limit=9))
        self.answers.append(await self.store.memberships([self.user], after=None, limit=9))
        return self.answers

    async def audit(self, room: int) -> Sequence[AuditRow]:
        """What was done to others, once its hashes are found to be right: they cover the room's number."""
        rows = await self.store.read_audit(self.ids[room], after=0, limit=100)
        before = b""
        for row in rows:
            assert row.hash == chain_hash(before, row)
            before = row.hash
        listed = await self.store.list_audit(room_id=self.ids[room], before=None, limit=100)
        assert list(reversed(listed)) == list(rows)
        return [row._replace(room_id=RoomId(0), hash=b"") for row in rows]

    async def step(self, op: Op) -> None:
        """Play one step."""
        match op:
            case Append():
                batch = self.batch(op.rows)
                for _ in range(1 + op.again):
                    try:
                        self.answers.append(list(await self.store.append(batch)))
                    finally:
                        await self.learn()  # noqa: ASYNC102  memory or a bounded read
            case Park():
                (entry,) = self.batch([op.row])
                try:
                    self.answers.append(await self.store.park(entry, "no"))
                finally:
                    await self.learn()  # noqa: ASYNC102  memory or a bounded read
            case TakeOver():
                await self.take_over(op.room)
            case Look():
                await self.look(op)
            case Read():
                room_id = self.ids[op.room]
                pointers = await self.store.move_pointers([PointerMove(room_id, self.user, op.seq)])
                self.answers.append(list(pointers.values()))
            case _:
                assert_never(op)

    def batch(self, rows: Sequence[Row]) -> list[Entry]:
        """Rows as their rooms' owners would order them, but for what is wrong with them."""
        heads = self.heads.copy()
        batch: list[Entry] = []
        for row in rows:
            room_id, epoch = self.ids[row.room], self.epochs[row.room] - row.age
            if row.kind == "membership":
                head = heads[row.room]
                # Memberships are told apart by their times: some come twice.
                at_ms = AT_MS + head // 2
                batch.append(change(room_id, self.user, row.role, epoch=epoch, at_ms=at_ms, read_seq=head))
                continue
            seq = max(1, heads[row.room] + 1 + row.skew)
            heads[row.room] = seq
            if row.kind in CHANGES:
                batch.append(
                    changed(
                        room_id,
                        seq,
                        row.kind,
                        self.mine(CHANGES[row.kind]),
                        body=row.body if row.kind == "edit" else None,
                        by=self.user,
                        cid=row.key,
                        epoch=epoch,
                    )
                )
            elif row.kind in GOVERNING:
                kind, data = GOVERNING[row.kind]
                batch.append(
                    changed(room_id, seq, kind, data % self.user, by=f"{self.user}.mod", epoch=epoch)
                )
            elif row.kind == "event":
                batch.append(event(room_id, seq, epoch=epoch))
            else:
                by = self.user if row.key in "kl" else "u_x"
                said = self.mine(MENTIONS.get(row.key, "")) or None
                batch.append(message(room_id, seq, epoch=epoch, by=by, cid=row.key, body=row.body, data=said))
        return batch

    def mine(self, data: str) -> str:
        """An event's data with the user's own id."""
        return data.replace("u_me", self.user)

    async def learn(self) -> None:
        """Owners learn their rooms' heads from the log."""
        for room, room_id in enumerate(self.ids):
            self.heads[room] = (await self.store.history(room_id, limit=1)).durable_seq

    async def take_over(self, room: int) -> None:
        """Take a room over and write down all that was read."""
        taken = await take_over(self.store, self.names[room], tail_events=3)
        self.epochs[room], self.heads[room] = taken.epoch, taken.head_seq
        self.answers.append(self.plain(taken))

    async def look(self, op: Look) -> None:
        """Read a page and write it down."""
        page = await self.store.history(
            self.ids[op.room],
            before=op.seq if op.where == "before" else None,
            after=op.seq if op.where == "after" else None,
            around=op.seq if op.where == "around" else None,
            limit=op.limit,
        )
        self.answers.append(self.plain(page))

    def plain(self, answer: Activation | HistoryPage) -> object:
        """An answer without the numbers that only one database knows."""
        if isinstance(answer, Activation):
            entries = answer.tail
            rest = (answer.epoch, answer.head_seq, answer.head_n, answer.head_at_ms)
            lists = (list(answer.epochs), list(answer.members), list(answer.sanctions))
        else:
            entries = answer.items
            rest = (answer.more_before, answer.more_after, answer.epoch, answer.durable_seq)
            lists = ([], [], [])
        return [entry._replace(room_id=RoomId(0)) for entry in entries], rest, lists


@pytest.mark.slow
def test_both_stores_answer_alike(postgres_server: PostgresServer) -> None:
    """Receipts, refusals, pages, activations and members are the same on both, whatever is asked."""

    async def compare(dsn: str, ops: Sequence[Op]) -> None:
        # The examples share a database; each has rooms and a user of its own.
        prefix = uuid4().hex
        async with open_database(dsn) as database:
            real = await Player(PostgresStore(database), prefix).play(ops)
        assert await Player(MemoryStore(), prefix).play(ops) == real

    async def main() -> None:
        async with postgres_server.fresh(migrated=True) as dsn:
            await trio.to_thread.run_sync(in_thread, dsn)

    def in_thread(dsn: str) -> None:
        @given(ops=st.lists(OPS, max_size=12))
        @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
        def compare_all(ops: list[Op]) -> None:
            trio.run(compare, dsn, ops)

        compare_all()

    trio.run(main)
