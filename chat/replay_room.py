"""Plays one transcript in one room, lines in order over as many connections as nicknames, then checks it."""

from typing import Final, cast

import trio

from chat.client import Client, open_client
from chat.client_errors import ClientError, RequestRefused
from chat.client_state import Envelope
from chat.errors import ChatError
from chat.outbound import Delivery, Outgoing
from chat.replay_check import Said, compare
from chat.replay_person import REQUEST_TIMEOUT_S, Person, Wiring
from chat.replay_plan import Line, Transcript

STEP_TIMEOUT_S: Final = 120.0
"""For one line: longer than a restart of the server takes."""

CATCH_UP_S: Final = 30.0
"""For the last message to reach everybody."""

PAGE: Final = 100


class ReplayError(ChatError):
    """A replay cannot go on; the words name the file's line."""


class RoomPlayer:
    """One file in one room.

    Args:
        room: its name; what it holds already stays, and is not looked at.

    Attributes:
        finished_at_s: trio's clock at the last `ok`.
        differences: what is not as it should be, in words.
    """

    def __init__(self, transcript: Transcript, room: str, wiring: Wiring) -> None:
        self.finished_at_s = 0.0
        self.differences: list[str] = []
        self._transcript = transcript
        self._source = transcript.source
        self._room = room
        self._wiring = wiring
        self._present: dict[str, Person] = {}
        self._going: dict[str, Person] = {}
        self._tokens: dict[str, str] = {}
        self._said: list[tuple[Line, Person, Outgoing]] = []

    async def run(self) -> None:
        """Play and check; trouble that ends it is among the `differences`."""
        wiring = self._wiring
        try:
            async with open_client(
                wiring.url,
                guest="replay",
                encoding=wiring.encoding,
                rng=wiring.rng,
                client_name="parley-replay",
                options=wiring.options(),
                on_update=_ignore,
                dial=wiring.dial,
                decode=wiring.decode,
                poller=wiring.poller,
            ) as auditor:
                # Its room where it is new: an owner cannot leave, and the players do.
                await auditor.join(self._room, create=True, limit=1)
                position = auditor.position(self._room)
                after = 0 if position is None else position[1]
                await self._play(auditor)
                self.differences += compare(
                    self._source, self._as_said(), after, await _read_history(auditor, self._room, after)
                )
        except ChatError as exc:
            self.differences.append(f"{self._source}: it could not go on: {exc}")

    async def _play(self, auditor: Client) -> None:
        failure: ChatError | None = None
        async with trio.open_nursery() as nursery:
            try:
                await self._play_lines(nursery)
                await self._await_stored()
                await self._await_seen(auditor)
            except ChatError as exc:
                failure = exc
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _play_lines(self, nursery: trio.Nursery) -> None:
        began_s = trio.current_time()
        speed = self._wiring.speed
        for line in self._transcript.lines:
            if speed is not None:
                await trio.sleep_until(began_s + line.due_s / speed)
            with trio.move_on_after(STEP_TIMEOUT_S) as patience:
                await self._play_line(line, nursery)
            if patience.cancelled_caught:
                raise ReplayError(f"line {line.number}: nothing happened for {STEP_TIMEOUT_S:g} s")

    async def _play_line(self, line: Line, nursery: trio.Nursery) -> None:
        match line.kind:
            case "join":
                await self._come(line.nick, line, nursery)
            case "part":
                self._go(line.nick)
            case "nick":
                self._go(line.nick)
                await self._come(line.text, line, nursery)
            case "message" | "action":
                person = await self._come(line.nick, line, nursery)
                if line.body is not None:
                    await self._say(person, line, line.body)

    async def _come(self, nick: str, line: Line, nursery: trio.Nursery) -> Person:
        person = self._present.get(nick)
        if person is not None:
            return person
        leaving = self._going.pop(nick, None)
        if leaving is not None:
            await leaving.gone.wait()
        name = self._transcript.names[nick]
        person = Person(name, self._room, self._wiring, token=self._tokens.get(nick))
        nursery.start_soon(person.run)
        await person.here.wait()
        if person.error is not None:
            raise ReplayError(f"line {line.number}: {name} cannot come: {person.error}")
        if person.token is not None:
            # Who comes back is the same person.
            self._tokens[nick] = person.token
        self._present[nick] = person
        return person

    def _go(self, nick: str) -> None:
        person = self._present.pop(nick, None)
        if person is not None:
            person.leave()
            self._going[nick] = person

    async def _say(self, person: Person, line: Line, body: str) -> None:
        try:
            outgoing = await person.say(body)
        except ClientError as exc:
            raise ReplayError(f"line {line.number}: {person.name} cannot speak: {exc}") from exc
        if outgoing.state in {Delivery.REFUSED, Delivery.ABANDONED}:
            raise ReplayError(f"line {line.number}: {person.name} was refused: {outgoing.refused}")
        self._said.append((line, person, outgoing))
        self._wiring.advance()

    async def _await_stored(self) -> None:
        with trio.move_on_after(STEP_TIMEOUT_S):
            for person in (*self._present.values(), *self._going.values()):
                await person.wait_stored()
        self.finished_at_s = trio.current_time()
        unstored = [line for line, _, outgoing in self._said if outgoing.state is not Delivery.STORED]
        if unstored:
            raise ReplayError(
                f"{len(unstored)} messages were not stored, the first of line {unstored[0].number}"
            )

    async def _await_seen(self, auditor: Client) -> None:
        """Everybody who is still there has seen the last message."""
        answer = await auditor.room(self._room)
        head = cast("int", answer["head"])
        behind: list[Person] = list(self._present.values())
        with trio.move_on_after(CATCH_UP_S):
            while behind := [person for person in behind if person.seen < head]:  # noqa: ASYNC110  once
                await trio.sleep(0.05)
        for person in behind:
            self.differences.append(f"{self._source}: {person.name} saw up to #{person.seen} of #{head}")
        for person in (*self._present.values(), *self._going.values()):
            self.differences += [f"{self._source}: {words}" for words in person.missed]

    def _as_said(self) -> list[Said]:
        """What the file has to say, by its own words: what the players did is no witness of it."""
        played = {line.number: (person, outgoing) for line, person, outgoing in self._said}
        names = self._transcript.names
        said: list[Said] = []
        for line in self._transcript.lines:
            if line.body is None:
                continue
            who = played.get(line.number)
            by, cid = ("", "") if who is None else (who[0].user_id, who[1].cid)
            said.append(Said(line.number, by, names[line.nick], cid, line.body))
        return said


async def _read_history(client: Client, room: str, after: int) -> list[Envelope]:
    """Every stored event after a seq, page by page.

    Raises:
        ClientError: a page was refused for good, or refused for longer than a minute.
    """
    events: list[Envelope] = []
    give_up_s = trio.current_time() + REQUEST_TIMEOUT_S
    while True:
        try:
            page = await client.history(room, after=after, limit=PAGE)
        except RequestRefused as refused:
            if not refused.temporary or trio.current_time() > give_up_s:
                raise
            await trio.sleep(refused.retry_after_s or 1.0)
            continue
        items = cast("list[Envelope]", page["items"])
        if not items:
            return events
        events += items
        after = cast("int", items[-1]["seq"])


def _ignore(update: object) -> None:
    """The auditor reads the history, not the events."""
    del update
