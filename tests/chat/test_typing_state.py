"""Typing as rules: who is told, when, for how long, and against a naive twin."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.typing_state import TypingLimits, TypingShown, TypingState, Typist


class Desk:
    """A typing state with a clock and a settable number of subscribers."""

    def __init__(self, watchers: int = 10) -> None:
        """Begin at second 0."""
        self.state = TypingState(TypingLimits())
        self.watchers = watchers
        self.now = 0.0

    def start(self, session_id: int, user: str, room: str = "lobby") -> None:
        """A device types."""
        typist = Typist(f"u_{user}", user.upper())
        self.state.start(room, session_id, typist, watchers=self.watchers, now=self.now)

    def stop(self, session_id: int, user: str, room: str = "lobby") -> None:
        """A device says that it stopped."""
        self.state.stop(room, session_id, f"u_{user}", now=self.now)

    def later(self, seconds: float) -> list[tuple[str, int]]:
        """What is told within that time: the initials of those named, and how many type."""
        return [("".join(one.name for one in shown.users), shown.total) for shown in self._pass(seconds)]

    def _pass(self, seconds: float) -> list[TypingShown]:
        end = self.now + seconds
        told: list[TypingShown] = []
        while (due := self.state.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            told.extend(self.state.advance(now=self.now, watchers_of=lambda _: self.watchers))
        self.now = end
        return told


def test_typing_is_told_within_half_a_second() -> None:
    """A room hears of a typist after one interval, once."""
    desk = Desk()
    desk.start(1, "a")

    assert desk.later(0.49) == []
    assert desk.later(0.5) == [("A", 1)]
    assert desk.later(3.0) == []


def test_many_typists_in_an_interval_are_one_message() -> None:
    """The first five are named in the order they began, the rest is counted."""
    desk = Desk()
    for session_id, user in enumerate("gfedcba"):
        desk.start(session_id, user)

    assert desk.later(1.0) == [("GFEDC", 7)]


def test_a_renewal_moves_nobody_and_tells_nothing() -> None:
    """Who goes on typing keeps the place, and nobody hears it again."""
    desk = Desk()
    desk.start(1, "a")
    desk.start(2, "b")
    assert desk.later(3.0) == [("AB", 2)]
    desk.start(1, "a")
    assert desk.later(3.0) == []

    assert desk.later(1.0) == [("A", 1)]


def test_typing_ends_by_itself() -> None:
    """Who says no more for six seconds has stopped."""
    desk = Desk()
    desk.start(1, "a")
    desk.later(5.0)

    assert desk.later(2.0) == [("", 0)]
    assert desk.state.next_deadline() is None
    assert not desk.state.is_active("lobby")


def test_typing_ends_when_said() -> None:
    """`stop` is told within an interval, and so are the next in the row."""
    desk = Desk()
    for session_id, user in enumerate("abcdef"):
        desk.start(session_id, user)
    desk.later(1.0)
    desk.stop(0, "a")

    assert desk.later(1.0) == [("BCDEF", 5)]


def test_typing_ends_with_the_message() -> None:
    """Sending ends the typing of all of the user's devices in that room, and of no other room."""
    desk = Desk()
    desk.start(1, "a")
    desk.start(2, "a")
    desk.start(1, "a", "attic")
    desk.later(1.0)
    desk.state.sent("lobby", "u_a", now=desk.now)
    desk.state.sent("cellar", "u_a", now=desk.now)

    assert desk.later(1.0) == [("", 0)]
    assert desk.state.is_active("attic")


def test_a_word_typed_and_sent_at_once_is_never_shown() -> None:
    """Who begins and sends within an interval causes no message at all."""
    desk = Desk()
    desk.start(1, "a")
    desk.state.sent("lobby", "u_a", now=desk.now)

    assert desk.later(10.0) == []
    assert not desk.state.is_active("lobby")


def test_a_lost_device_types_nowhere_while_the_other_goes_on() -> None:
    """The end of a session ends its typing in every room; another device's goes on."""
    desk = Desk()
    desk.start(1, "a")
    desk.start(2, "a")
    desk.start(1, "a", "attic")
    desk.later(1.0)
    desk.state.end_session(1, "u_a", now=desk.now)
    desk.state.end_session(9, "u_nobody", now=desk.now)

    assert desk.later(1.0) == [("", 0)]
    assert desk.state.is_active("lobby")
    assert not desk.state.is_active("attic")


def test_who_becomes_invisible_types_nowhere() -> None:
    """Silencing a user ends the typing of all devices in all rooms."""
    desk = Desk()
    desk.start(1, "a")
    desk.start(2, "a", "attic")
    desk.later(1.0)
    desk.state.silence("u_a", now=desk.now)

    assert desk.later(1.0) == [("", 0), ("", 0)]


def test_a_room_with_too_many_watchers_shows_no_typing() -> None:
    """Above a hundred subscribers nothing is kept or told; at a hundred it is."""
    desk = Desk(watchers=101)
    desk.start(1, "a")
    assert desk.state.next_deadline() is None
    desk.watchers = 100
    desk.start(1, "a")

    assert desk.later(1.0) == [("A", 1)]


@pytest.mark.parametrize("user", ["a", "b"])
def test_a_room_that_grows_too_large_is_told_once_that_nobody_types(user: str) -> None:
    """When the subscribers become too many while somebody is shown, the names go, and stay away."""
    desk = Desk()
    desk.start(1, "a")
    assert desk.later(1.0) == [("A", 1)]
    desk.watchers = 101
    desk.start(2, user)

    assert desk.later(1.0) == [("", 0)]
    assert desk.later(60.0) == []
    assert not desk.state.is_active("lobby")


def test_a_stop_of_who_does_not_type_changes_nothing() -> None:
    """`stop` for an unknown room, user or device is nothing, so nothing is due after it."""
    desk = Desk()
    desk.stop(1, "a")
    desk.start(1, "a")
    desk.later(1.0)
    desk.stop(2, "a")
    desk.stop(1, "b")

    assert desk.later(1.0) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: TypingLimits(interval_s=0.0),
        lambda: TypingLimits(interval_s=6.0),
        lambda: TypingLimits(watchers_max=-1),
    ],
)
def test_limits_that_make_no_sense_are_refused(make: Callable[[], TypingLimits]) -> None:
    """An interval outside of its range, or a negative number of watchers, is a mistake at the start."""
    with pytest.raises(ValueError, match="must be"):
        make()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["start", "start", "start", "stop", "sent", "end", "silence"]),
        st.sampled_from(["lobby", "attic"]),
        st.integers(0, 15),
        st.sampled_from([0.0, 0.0, 0.1, 0.5, 2.0, 6.0]),
    ),
    max_size=80,
)


@dataclass(slots=True)
class NaiveTyping:
    """Every device's typing in a list; who is typing is read off it each time."""

    # Room, session, user, until.
    entries: list[tuple[str, int, str, float]] = field(default_factory=list[tuple[str, int, str, float]])
    order: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def start(self, room: str, session_id: int, user: str, until: float) -> None:
        """Add a device, or renew it."""
        self.entries = [entry for entry in self.entries if entry[:2] != (room, session_id)]
        self.entries.append((room, session_id, user, until))
        if (room, user) not in self.order:
            self.order.append((room, user))

    def keep(self, wanted: Callable[[tuple[str, int, str, float]], bool]) -> None:
        """Drop the other devices, and the users that have none left."""
        self.entries = [entry for entry in self.entries if wanted(entry)]
        typing = {(room, user) for room, _, user, _ in self.entries}
        self.order = [place for place in self.order if place in typing]

    def shown(self, room: str) -> tuple[Sequence[str], int]:
        """Who is to be named, and how many there are."""
        users = [user for where, user in self.order if where == room]
        return users[:5], len(users)


NOBODY: tuple[Sequence[str], int] = ([], 0)


class Twins:
    """The state and its naive twin, through the same steps."""

    def __init__(self) -> None:
        """Begin at second 0, with nobody typing."""
        self.state = TypingState(TypingLimits())
        self.naive = NaiveTyping()
        self.now = 0.0
        self.told: dict[str, tuple[Sequence[str], int]] = {"lobby": NOBODY, "attic": NOBODY}
        self.told_at = {"lobby": -1.0, "attic": -1.0}
        self.truth = self.told.copy()
        self.changed_at = dict(self.told_at)

    def step(self, step: str, room: str, session_id: int) -> None:
        """Do one thing to both."""
        user = f"u_{session_id % 8}"
        naive, state, now = self.naive, self.state, self.now
        match step:
            case "start":
                naive.start(room, session_id, user, now + 6.0)
                state.start(room, session_id, Typist(user, "N"), watchers=1, now=now)
            case "stop":
                naive.keep(lambda entry: entry[:2] != (room, session_id))
                state.stop(room, session_id, user, now=now)
            case "sent":
                naive.keep(lambda entry: (entry[0], entry[2]) != (room, user))
                state.sent(room, user, now=now)
            case "end":
                naive.keep(lambda entry: entry[1] != session_id)
                state.end_session(session_id, user, now=now)
            case _:
                naive.keep(lambda entry: entry[2] != user)
                state.silence(user, now=now)
        self.look()

    def wait(self, seconds: float) -> None:
        """Let time pass; what is told must be true, new, and half a second after what was told before."""
        end = self.now + seconds
        while (due := self.state.next_deadline()) is not None and due <= end:
            self.now = due
            self.naive.keep(lambda entry: entry[3] > self.now)
            self.look()
            for room, users, total in self.state.advance(now=due, watchers_of=lambda _: 1):
                shown = ([one.user_id for one in users], total)
                assert shown == self.naive.shown(room)
                assert shown != self.told[room]
                assert due - self.told_at[room] > 0.499
                self.told[room], self.told_at[room] = shown, due
        self.now = end
        for room, known in self.told.items():
            # What has stood for longer than an interval is known.
            assert known == self.naive.shown(room) or end - self.changed_at[room] < 0.501

    def look(self) -> None:
        """Note when the truth changed."""
        for room, truth in self.truth.items():
            if self.naive.shown(room) != truth:
                self.truth[room] = self.naive.shown(room)
                self.changed_at[room] = self.now


@settings(deadline=None)
@given(STEPS)
def test_typing_agrees_with_its_naive_twin(steps: Sequence[tuple[str, str, int, float]]) -> None:
    """Through any steps rooms are told the truth, soon, seldom and only when it is new."""
    twins = Twins()
    for step, room, session_id, pause in steps:
        twins.step(step, room, session_id)
        twins.wait(pause)
    twins.wait(7.0)

    assert twins.told == {"lobby": ([], 0), "attic": ([], 0)}
    assert twins.state.next_deadline() is None
