"""Presence as rules: what sessions add up to, what watchers hear, how often, and what is never told."""

from collections.abc import Sequence
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chat.errors import ErrorCode, Refused
from chat.presence_limits import PresenceLimits, diff_interval_s
from chat.presence_pages import Delta
from chat.presence_rosters import READING_MAX
from chat.presence_state import PresenceState, Snapshot
from chat.protocol import Status
from tests.chat.presence_model import Believer, NaivePresence, Row, Unreadable, seen

GRACE_S = 15.0
STATUSES: Sequence[Status] = ("online", "away", "dnd", "invisible")
EVERYBODY = tuple(f"u_{letter}" for letter in "abcdefg")


class Node:
    """A presence state with a clock of its own, and sessions named by number."""

    def __init__(self, limits: PresenceLimits | None = None) -> None:
        """Begin at second 100."""
        self.state = PresenceState(limits or PresenceLimits(grace_s=GRACE_S))
        self.now = 100.0

    @property
    def at_ms(self) -> int:
        """The wall clock that goes with `now`."""
        return int(self.now * 1000)

    def open(self, session_id: int, user: str, status: Status = "online", text: str | None = None) -> None:
        """Open a session of a user named by one letter."""
        self.state.open(session_id, f"u_{user}", user.upper(), status, text, now=self.now, at_ms=self.at_ms)

    def close(self, session_id: int, *, clean: bool = True) -> None:
        """End a session."""
        self.state.close(session_id, clean=clean, now=self.now, at_ms=self.at_ms)

    def say(self, session_id: int, status: Status, text: str | None = None) -> None:
        """Set a session's status."""
        self.state.say(session_id, status, text, now=self.now, at_ms=self.at_ms)

    def watch(
        self, session_id: int, members: str, *, cursor: str | None = None, limit: int = 50, epoch: int = 1
    ) -> Snapshot:
        """Watch the room "lobby", whose members are named by letters."""
        roster = [Row(f"u_{user}", user.upper()) for user in members]
        return self.watch_rows(session_id, roster, cursor=cursor, limit=limit, epoch=epoch)

    def watch_rows(
        self,
        session_id: int,
        roster: Sequence[Row],
        *,
        room: str = "lobby",
        cursor: str | None = None,
        limit: int = 50,
        epoch: int = 1,
    ) -> Snapshot:
        """Watch a room, as soon as its roster was read."""
        ready = self.state.open_room(
            session_id, room, epoch=epoch, roster=roster, cursor=cursor, now=self.now
        )
        while not ready:
            ready = room in self.state.work(now=self.now)
        return self.state.watch_room(session_id, room, cursor=cursor, limit=limit)

    def unwatch(self, session_id: int, room: str = "lobby") -> None:
        """Watch a room no more."""
        self.state.unwatch_room(session_id, room, now=self.now)

    def join(self, members: str) -> None:
        """Add members to the lobby."""
        joined = [Row(f"u_{user}", user.upper()) for user in members]
        self.state.members_changed("lobby", joined, (), now=self.now)

    def leave(self, members: str) -> None:
        """Remove members from the lobby."""
        self.state.members_changed("lobby", (), [f"u_{user}" for user in members], now=self.now)

    def later(self, seconds: float) -> list[Delta]:
        """Let time pass, doing everything when it is due."""
        end = self.now + seconds
        deltas: list[Delta] = []
        while (due := self.state.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            deltas.extend(self.state.advance(now=self.now, at_ms=self.at_ms))
        self.now = end
        return deltas

    def work(self) -> None:
        """Do all that is too long for one turn."""
        while self.state.busy:
            self.state.work(now=self.now)

    def changes(self, seconds: float, session_id: int = 1) -> list[tuple[object, object]]:
        """What a watcher of the lobby hears within that time: (user, status) or (user, "left")."""
        return [
            (change["user"], "left" if change.get("left") else change["status"])
            for delta in self.later(seconds)
            if delta.room == "lobby" and session_id in delta.watchers
            for change in delta.changes
        ]


@pytest.fixture
def node() -> Node:
    """A node where session 1 of user A is online."""
    node = Node()
    node.open(1, "a")
    return node


# -- what a user's sessions add up to -------------------------------------------------------------------


def test_the_most_available_device_counts(node: Node) -> None:
    """A user who is away on one device and online on another is online."""
    node.open(2, "b", "away")
    node.open(3, "b", "online")

    assert seen(node.watch(1, "ab").items)["u_b"] == ("online", None)


def test_leaving_one_device_shows_the_next_best(node: Node) -> None:
    """When the most available device closes, the user is as available as the next one."""
    node.open(2, "b", "dnd")
    node.open(3, "b", "online")
    node.watch(1, "ab")
    node.close(3)

    assert node.changes(1.0) == [("u_b", "dnd")]


def test_two_devices_do_not_fight(node: Node) -> None:
    """A device that goes away and comes back changes nothing while another one stays online."""
    node.open(2, "b")
    node.open(3, "b")
    node.watch(1, "ab")
    for _ in range(5):
        node.say(2, "away")
        assert node.changes(10.0) == []
        node.say(2, "online")
        assert node.changes(10.0) == []


def test_a_clean_close_is_told_at_once(node: Node) -> None:
    """Who closes the connection is shown offline after one interval."""
    node.open(2, "b")
    node.watch(1, "ab")
    node.close(2)

    assert node.changes(0.25) == [("u_b", "offline")]


def test_a_lost_connection_is_told_after_the_grace(node: Node) -> None:
    """A lost connection shows nothing within the grace, and the user offline after it."""
    node.open(2, "b")
    node.watch(1, "ab")
    node.close(2, clean=False)

    assert node.changes(GRACE_S - 0.01) == []
    assert node.changes(1.0) == [("u_b", "offline")]


def test_flapping_within_the_grace_shows_nothing(node: Node) -> None:
    """A thousand connections lost and come back within the grace are not one diff."""
    for session_id in range(100, 1100):
        node.state.open(session_id, f"u_b{session_id}", "B", "away", None, now=node.now, at_ms=node.at_ms)
    roster = [Row("u_a", "A"), *(Row(f"u_b{session_id}", "B") for session_id in range(100, 1100))]
    node.watch_rows(1, roster, limit=200)
    node.later(10.0)
    for session_id in range(100, 1100):
        node.close(session_id, clean=False)
    node.later(14.0)
    for session_id in range(100, 1100):
        node.state.open(
            session_id + 2000, f"u_b{session_id}", "B", "away", None, now=node.now, at_ms=node.at_ms
        )

    assert node.later(60.0) == []


def test_a_device_that_returns_with_another_status_replaces_its_lost_self(node: Node) -> None:
    """Lost online and back as away is away at once, not after the grace."""
    node.open(2, "b", "online")
    node.watch(1, "ab")
    node.close(2, clean=False)
    node.open(3, "b", "away")

    assert node.changes(0.25) == [("u_b", "away")]
    assert node.changes(60.0) == []


def test_each_device_that_returns_replaces_its_like(node: Node) -> None:
    """When two devices are lost, the one that returns first does not take the other's place."""
    node.open(2, "b", "online")
    node.open(3, "b", "away")
    node.watch(1, "ab")
    node.close(2, clean=False)
    node.close(3, clean=False)
    node.open(4, "b", "away")
    assert node.changes(5.0) == []
    node.open(5, "b", "online")

    assert node.changes(60.0) == []


def test_without_a_grace_a_lost_connection_is_told_at_once() -> None:
    """A grace of zero seconds makes a loss the same as a close."""
    node = Node(PresenceLimits(grace_s=0.0))
    node.open(1, "a")
    node.open(2, "b")
    node.watch(1, "ab")
    node.close(2, clean=False)

    assert node.changes(0.25) == [("u_b", "offline")]


def test_the_text_is_the_users_not_the_devices(node: Node) -> None:
    """A text set on one device stays when another one opens, and goes when it is set to nothing."""
    node.open(2, "b")
    node.say(2, "dnd", "in a meeting")
    node.open(3, "b", "online")

    assert seen(node.watch(1, "ab").items)["u_b"] == ("online", "in a meeting")

    node.say(3, "online", None)
    node.later(1.0)

    assert seen(node.watch(1, "ab").items)["u_b"] == ("online", None)


def test_since_says_when_the_status_began(node: Node) -> None:
    """`since` is the wall time of the status, kept while only the text changes, absent when offline."""
    node.open(2, "b")
    began = node.at_ms
    node.later(7.0)
    node.say(2, "online", "lunch")

    items = {item["user"]: item for item in node.watch(1, "abc").items}

    assert items["u_b"]["since"] == began
    assert "since" not in items["u_c"]


# -- invisible ------------------------------------------------------------------------------------------


def test_invisible_is_offline_to_others_and_true_to_oneself(node: Node) -> None:
    """Going invisible looks like leaving to others, while the user's own other device hears the truth."""
    node.open(2, "b")
    node.open(3, "b")
    node.watch(1, "ab")
    node.say(2, "invisible", "secret")
    deltas = node.later(1.0)

    told = {session_id: delta.changes for delta in deltas for session_id in delta.watchers}
    assert seen(told[1]) == {"u_b": ("offline", None)}
    assert seen(told[3]) == {"u_b": ("invisible", "secret")}
    assert "name" not in next(iter(node.state.watch_users(1, ["u_b"]).items))
    assert seen(node.state.watch_users(3, ["u_b"]).items) == {"u_b": ("invisible", "secret")}


def test_another_device_does_not_reveal_who_is_hidden(node: Node) -> None:
    """Opening a device that says online, or closing the one that hid, leaves an invisible user hidden."""
    node.open(2, "b", "invisible")
    node.watch(1, "ab")
    node.open(3, "b", "online")
    assert node.changes(10.0) == []
    node.close(2)
    assert node.changes(60.0) == []

    assert node.state.is_hidden("u_b")


def test_any_device_may_end_the_invisibility(node: Node) -> None:
    """The last word counts: a visible status asked for on any device shows the user."""
    node.open(2, "b", "invisible")
    node.open(3, "b", "online")
    node.watch(1, "ab")
    node.say(3, "away")

    assert node.changes(1.0) == [("u_b", "away")]


def test_who_comes_back_hidden_is_hidden(node: Node) -> None:
    """An invisible user whose connection is lost and returns as online within the grace stays hidden."""
    node.open(2, "b", "invisible")
    node.watch(1, "ab")
    node.close(2, clean=False)
    node.open(3, "b", "online")

    assert node.changes(60.0) == []


def test_a_hidden_users_diffs_are_as_silent_as_an_absent_ones(node: Node) -> None:
    """Whatever an invisible user does, nobody else gets a diff, neither changes nor counts."""
    node.open(2, "b", "invisible")
    node.watch(1, "ab")
    node.state.watch_users(1, ["u_b"])
    node.later(1.0)
    node.say(2, "invisible", "one")
    node.open(3, "b", "invisible")
    node.say(3, "invisible", "two")
    node.close(2)

    assert [delta for delta in node.later(60.0) if 1 in delta.watchers] == []


def test_ones_other_devices_hear_what_others_do_not(node: Node) -> None:
    """A text that an invisible user sets is told to the user's other device, and to nobody else."""
    node.open(2, "b", "invisible")
    node.open(3, "b", "invisible")
    node.watch(1, "ab")
    node.later(1.0)
    node.say(2, "invisible", "for me")

    told = {session_id: delta.changes for delta in node.later(1.0) for session_id in delta.watchers}
    assert set(told) == {2, 3}
    assert seen(told[3]) == {"u_b": ("invisible", "for me")}


def test_a_second_device_is_told_what_the_user_really_is(node: Node) -> None:
    """A device whose hello says online while the user is hidden is told `invisible`."""
    node.open(2, "b", "invisible")
    node.open(3, "b", "online")

    (delta,) = node.later(1.0)

    assert list(delta.watchers) == [3]
    assert seen(delta.changes) == {"u_b": ("invisible", None)}


# -- coalescing -----------------------------------------------------------------------------------------


def test_ten_changes_in_an_interval_are_one(node: Node) -> None:
    """Of many changes of one user within an interval only the last is told."""
    node.open(2, "b")
    node.watch(1, "ab")
    for status in ("away", "dnd", "online", "away", "online", "dnd", "away", "online", "away", "dnd"):
        node.say(2, status)

    assert node.changes(10.0) == [("u_b", "dnd")]


def test_a_change_that_was_undone_is_none(node: Node) -> None:
    """Who is back to what was shown before the interval ended causes no diff."""
    node.open(2, "b")
    snapshot = node.watch(1, "ab")
    node.say(2, "away")
    node.say(2, "online")

    assert node.later(10.0) == []
    assert node.watch(1, "ab").version == snapshot.version


def test_who_watches_in_the_middle_of_an_interval_is_not_left_behind(node: Node) -> None:
    """A watcher who comes while a change waits, which is then undone, is not left with the change."""
    node.open(2, "b")
    node.open(3, "c")
    node.watch(1, "abc")
    node.say(2, "away")
    believer = Believer.of(node.watch(3, "abc"))
    node.say(2, "online")
    for delta in node.later(10.0):
        believer.apply(delta)

    assert seen(believer.items.values())["u_b"] == ("online", None)


def test_leaving_and_joining_again_within_an_interval_is_nothing(node: Node) -> None:
    """Membership changes are coalesced as well."""
    node.open(2, "b")
    node.watch(1, "ab")
    node.leave("b")
    node.join("b")

    assert node.later(10.0) == []


def test_diffs_are_a_quarter_of_a_second_apart_when_idle(node: Node) -> None:
    """A watcher hears of steady changes four times a second."""
    node.open(2, "b")
    node.watch(1, "ab")
    diffs = 0
    for step in range(400):
        node.say(2, ("away", "dnd")[step % 2], str(step))
        diffs += sum(delta.room == "lobby" for delta in node.later(0.01))

    assert 14 <= diffs <= 16


def test_the_interval_grows_with_watchers_changes_and_pressure() -> None:
    """250 ms when idle, doubled by each level of pressure, 5 s at most, never shorter for more load."""

    def interval(deliveries: int, items: int, level: int = 0) -> float:
        return diff_interval_s(deliveries=deliveries, items=items, level=level, min_s=0.25, max_s=5.0)

    assert interval(0, 0) == 0.25
    assert interval(200, 200 * 12) == 0.25
    assert interval(10_000, 10_000 * 10) == 2.0
    assert interval(10_000, 10_000 * 200) == 5.0
    assert [interval(0, 0, level) for level in range(5)] == [0.25, 0.5, 1.0, 2.0, 4.0]


@given(st.integers(0, 10**6), st.integers(0, 10**8), st.integers(0, 4))
def test_the_interval_stays_within_its_bounds(deliveries: int, items: int, level: int) -> None:
    """No load makes the interval leave 250 ms to 5 s, and more load never makes it shorter."""
    interval = diff_interval_s(deliveries=deliveries, items=items, level=level, min_s=0.25, max_s=5.0)
    more = diff_interval_s(deliveries=deliveries + 1, items=items + 1, level=level, min_s=0.25, max_s=5.0)

    assert 0.25 <= interval <= more <= 5.0


def test_many_watchers_are_told_less_often() -> None:
    """Ten thousand watchers of a busy page hear of it at an interval of seconds, and of everything."""
    node = Node()
    for session_id in range(10_000):
        node.state.open(session_id, f"u_{session_id}", "N", "online", None, now=node.now, at_ms=0)
    roster = [Row(f"u_{session_id}", "N") for session_id in range(10_000)]
    for session_id in range(10_000):
        node.watch_rows(session_id, roster, limit=200)
    diffs = 0
    for step in range(200):
        node.state.say(step % 20, ("away", "dnd")[step // 20 % 2], None, now=node.now, at_ms=step)
        diffs += sum(delta.room == "lobby" for delta in node.later(0.1))

    assert 8 <= diffs <= 20


def test_pressure_widens_the_interval(node: Node) -> None:
    """At the highest level a change is told after four seconds; a level out of range is clamped."""
    node.open(2, "b")
    node.watch(1, "ab")
    node.state.set_level(9)
    node.say(2, "away")

    assert node.changes(3.9) == []
    assert node.changes(0.2) == [("u_b", "away")]


def test_one_users_change_is_one_diff_for_all_watchers_of_a_page(node: Node) -> None:
    """A diff is made once for a page, whoever watches it: it can be encoded once."""
    for session_id in range(2, 50):
        node.open(session_id, "b")
        node.watch(session_id, "ab")
    node.watch(1, "ab")
    node.later(1.0)
    for session_id in range(2, 50):
        node.say(session_id, "dnd")

    (delta,) = [delta for delta in node.later(1.0) if delta.room == "lobby"]

    assert len(list(delta.watchers)) == 49


# -- rooms and pages ------------------------------------------------------------------------------------


def test_a_small_room_is_shown_whole(node: Node) -> None:
    """Up to the limit of full lists a watcher sees every member, whatever limit it asked for."""
    snapshot = node.watch(1, "abcdefg", limit=2)

    assert [item["user"] for item in snapshot.items] == list(EVERYBODY)
    assert snapshot.next is None
    assert snapshot.counts == (1, 0, 0, 7)


def test_a_large_room_is_shown_by_page_with_counts() -> None:
    """Above it a watcher sees the page asked for, the counts of all, and where the next page begins."""
    node = Node(PresenceLimits(full_list_max=3))
    for session_id, user in enumerate("abcdefg"):
        node.open(session_id, user, "dnd" if user == "g" else "online")

    first = node.watch(0, "gfedcba", limit=2)
    second = node.watch(0, "gfedcba", cursor=first.next, limit=2)
    most = node.watch(0, "gfedcba", cursor=second.next, limit=100)

    assert [item["user"] for item in first.items] == ["u_a", "u_b"]
    assert first.counts == (6, 0, 1, 7)
    assert [item["user"] for item in second.items] == ["u_c", "u_d"]
    assert [item["user"] for item in most.items] == ["u_e", "u_f", "u_g"]
    assert most.next is None


def test_those_outside_a_page_change_only_its_counts() -> None:
    """A watcher of a page gets no change of others, but the room's new counts."""
    node = Node(PresenceLimits(full_list_max=2))
    node.open(1, "a")
    node.open(2, "g")
    node.watch(1, "abcdefg", limit=2)
    node.say(2, "away")

    (delta,) = [delta for delta in node.later(1.0) if delta.room == "lobby"]

    assert delta.changes == []
    assert delta.counts == (1, 1, 0, 7)


def test_joining_pushes_the_last_of_a_full_page_off() -> None:
    """A page never outgrows its limit: who joins in its middle moves its end, and `next` says so."""
    node = Node(PresenceLimits(full_list_max=2))
    node.open(1, "a")
    node.watch(1, "acdef", limit=2)
    node.join("b")

    (delta,) = node.later(1.0)

    assert delta.changes == [
        {"user": "u_c", "left": True},
        {"user": "u_b", "name": "B", "status": "offline", "joined": True},
    ]
    assert delta.next == ("u_b",)
    assert delta.counts is not None
    assert delta.counts.total == 6


def test_a_new_watch_of_a_room_replaces_the_old_page() -> None:
    """A session that watches the next page hears no more of the one before."""
    node = Node(PresenceLimits(full_list_max=2))
    for session_id, user in enumerate("abcd"):
        node.open(session_id, user)
    first = node.watch(0, "abcd", limit=2)
    node.watch(0, "abcd", cursor=first.next, limit=2)
    node.say(1, "away")
    node.say(3, "dnd")

    assert [change for delta in node.later(1.0) if delta.room for change in delta.changes] == [
        {"user": "u_d", "name": "D", "status": "dnd", "since": node.at_ms - 1000}
    ]


def test_a_new_owner_of_the_room_brings_its_roster(node: Node) -> None:
    """A roster of another epoch replaces the one that was known; watchers hear what differs."""
    node.open(2, "b")
    node.watch(1, "ab")
    node.watch(2, "ac", epoch=2)

    assert sorted(node.changes(1.0)) == [("u_b", "left"), ("u_c", "offline")]


def test_a_new_owner_that_reads_at_once_is_heard_of_too(node: Node) -> None:
    """Also where nobody was known before, and so nothing has to be taken back in later turns."""
    node.watch(1, "")
    node.watch_rows(1, [Row("u_b", "B")], epoch=2)

    assert node.changes(1.0) == [("u_b", "offline")]


def test_an_unwatched_room_costs_nothing(node: Node) -> None:
    """After the last watcher is gone no change makes anything due, and the roster is read anew."""
    node.open(2, "b")
    node.watch(1, "ab")
    node.unwatch(1)
    node.say(2, "away")
    node.later(1.0)
    node.leave("b")

    assert node.later(60.0) == []
    assert [item["user"] for item in node.watch(1, "abc").items] == ["u_a", "u_b", "u_c"]


def test_a_room_is_kept_for_a_minute_after_its_last_watcher(node: Node) -> None:
    """Within it the roster is not read again, and joins and leaves are not missed; after it, it is."""
    node.open(2, "b")
    node.watch(1, "ab")
    node.unwatch(1)
    node.leave("b")
    node.join("c")
    node.say(2, "away")
    assert node.changes(59.0) == []
    kept = node.watch_rows(1, Unreadable())
    assert [item["user"] for item in kept.items] == ["u_a", "u_c"]
    assert kept.counts == (1, 0, 0, 2)

    node.unwatch(1)
    assert node.later(60.0) == []
    assert [item["user"] for item in node.watch(1, "abd").items] == ["u_a", "u_b", "u_d"]


def test_a_kept_room_of_a_new_owner_is_read_again(node: Node) -> None:
    """What is kept is as good as its epoch."""
    node.watch(1, "ab")
    node.unwatch(1)

    assert [item["user"] for item in node.watch(1, "ac", epoch=2).items] == ["u_a", "u_c"]


@pytest.mark.parametrize(
    "limits", [{"keep_rooms_max": 2}, {"keep_members_max": 5}], ids=["by rooms", "by members"]
)
def test_the_room_watched_longest_ago_is_forgotten_first(limits: dict[str, int]) -> None:
    """What is kept is bounded; one room is kept whatever its size."""
    node = Node(PresenceLimits(**limits))
    node.open(1, "a")
    members = [Row("u_a", "A"), Row("u_b", "B")]
    for room in ("one", "two", "one", "three"):
        node.watch_rows(1, members, room=room)
        node.unwatch(1, room)
    node.work()
    assert node.state.statistics().rooms == 2

    node.watch_rows(1, Unreadable(), room="one")
    node.watch_rows(1, Unreadable(), room="three")
    with pytest.raises(AssertionError, match="read"):
        node.watch_rows(1, Unreadable(), room="two")
    node.unwatch(1, "one")
    node.unwatch(1, "three")
    node.watch_rows(1, [Row(f"u_{number}", "N") for number in range(10)], room="four")
    node.unwatch(1, "four")

    node.watch_rows(1, Unreadable(), room="four")


def test_a_large_room_is_read_in_slices(node: Node) -> None:
    """No step reads more than a slice, and until the last one nobody is shown anything."""
    roster = [Row(f"u_{number:04}", "N") for number in range(3000)]
    assert not node.state.open_room(1, "lobby", epoch=1, roster=roster, cursor=None, now=node.now)
    steps = [node.state.take_steps()]
    refusal(ErrorCode.UNAVAILABLE, lambda: node.state.watch_room(1, "lobby", cursor=None, limit=1))
    while "lobby" not in node.state.work(now=node.now):
        steps.append(node.state.take_steps())
    assert node.state.open_room(1, "lobby", epoch=1, roster=roster, cursor=None, now=node.now)

    assert max(steps) <= 510
    assert node.state.watch_room(1, "lobby", cursor=None, limit=1).counts == (0, 0, 0, 3000)


@pytest.mark.parametrize("members", [2, 2000])
def test_a_room_that_was_read_for_nobody_is_forgotten(node: Node, members: int) -> None:
    """Whoever wanted to watch it may be gone by then."""
    roster = [Row(f"u_{number:04}", "N") for number in range(members)]
    node.state.open_room(1, "lobby", epoch=1, roster=roster, cursor=None, now=node.now)
    node.close(1)
    node.work()
    assert node.state.statistics().members == members
    node.later(60.0)
    node.work()

    assert node.state.statistics() == (0, 0, 0, 0, 0, 0)


def test_a_large_room_is_forgotten_in_slices() -> None:
    """A new watch in the middle of it reads the room anew, and the old one's end does not touch it."""
    node = Node(PresenceLimits(keep_s=1.0))
    node.open(1, "a")
    roster = [Row("u_a", "A"), *(Row(f"u_{number:04}", "N") for number in range(3000))]
    node.watch_rows(1, roster)
    node.unwatch(1)
    node.later(1.0)
    node.state.take_steps()
    node.state.work(now=node.now)
    assert 0 < node.state.take_steps() <= 1010
    node.watch_rows(1, roster)
    node.work()
    node.say(1, "away")

    (delta,) = [delta for delta in node.later(1.0) if delta.room == "lobby"]
    assert delta.counts == (0, 1, 0, 3001)


def test_small_rooms_do_not_wait_for_large_ones(node: Node) -> None:
    """While one room is read in slices, another that fits into one is shown at once, a larger one in turn."""
    huge = [Row(f"u_{number:05}", "N") for number in range(50_000)]
    node.state.open_room(1, "huge", epoch=1, roster=huge, cursor=None, now=node.now)
    node.state.open_room(1, "large", epoch=1, roster=huge[:1000], cursor=None, now=node.now)
    assert node.watch(1, "ab").counts == (1, 0, 0, 2)

    rounds = 0
    while "large" not in node.state.work(now=node.now):
        rounds += 1
    assert rounds <= 3


def test_a_room_that_is_read_for_a_former_owner_is_read_again() -> None:
    """Another epoch in the middle of the reading: its roster counts, and of the other nothing is left."""
    node = Node(PresenceLimits(slice_members=2))
    node.open(1, "a")
    rows = {user: Row(f"u_{user}", user.upper()) for user in "abcdefg"}
    node.state.open_room(
        1, "lobby", epoch=1, roster=[rows[user] for user in "abcdef"], cursor=None, now=node.now
    )
    node.state.work(now=node.now)

    assert [item["user"] for item in node.watch(1, "aeg", epoch=2).items] == ["u_a", "u_e", "u_g"]


def test_too_many_rooms_to_read_are_refused(node: Node) -> None:
    """Every room that is read holds a roster: above the limit `watch` is told to come again."""
    large = [Row(f"u_{number:04}", "N") for number in range(600)]

    def open_room(number: int) -> bool:
        return node.state.open_room(1, f"room-{number}", epoch=1, roster=large, cursor=None, now=node.now)

    assert not any(open_room(number) for number in range(READING_MAX))
    refusal(ErrorCode.BUSY, lambda: open_room(READING_MAX))
    node.work()

    assert not open_room(READING_MAX)


def test_the_watches_of_a_user_end_on_all_devices(node: Node) -> None:
    """Who may see a room no more hears nothing of it, on any session; other rooms and users go on."""
    node.open(2, "b")
    node.open(3, "b")
    for session_id in (1, 2, 3):
        node.watch(session_id, "ab")
    node.watch_rows(2, [Row("u_a", "A")], room="attic")
    assert node.state.end_watch("lobby", "u_b", now=node.now) == (2, 3)
    assert node.state.end_watch("lobby", "u_nobody", now=node.now) == ()
    node.say(1, "away")

    told = {delta.room: list(delta.watchers) for delta in node.later(1.0) if delta.room}
    assert told == {"lobby": [1], "attic": [2]}


def test_nothing_is_due_when_nothing_changes(node: Node) -> None:
    """An idle node has no deadline, so nothing wakes it up."""
    node.open(2, "b")
    node.watch(1, "ab")

    assert node.state.next_deadline() is None


def test_the_watches_of_a_session_end_with_it(node: Node) -> None:
    """Nothing is made for a session that is gone, and later words about it change nothing."""
    node.open(2, "b")
    node.watch(1, "ab")
    node.state.watch_users(1, ["u_b"])
    node.close(1)
    node.close(1)
    node.unwatch(1)
    node.state.unwatch_users(1, ["u_b"])
    node.say(2, "away")

    assert [delta for delta in node.later(60.0) if 2 not in delta.watchers] == []


def test_a_session_that_is_opened_twice_counts_once(node: Node) -> None:
    """Opening a known session again changes nothing: one close ends it."""
    node.open(2, "b", "online")
    node.open(2, "b", "away")
    node.watch(1, "ab")
    node.close(2)

    assert node.changes(1.0) == [("u_b", "offline")]


# -- users by id ----------------------------------------------------------------------------------------


def test_users_are_watched_by_id_and_added_to(node: Node) -> None:
    """Every request adds users to one list with one version; `unwatch` takes them off again."""
    node.open(2, "b", "dnd")
    node.open(3, "c")
    assert seen(node.state.watch_users(1, ["u_b", "u_x", "u_b"]).items) == {
        "u_b": ("dnd", None),
        "u_x": ("offline", None),
    }
    assert seen(node.state.watch_users(1, ["u_c"]).items) == {"u_c": ("online", None)}
    node.state.unwatch_users(1, ["u_b", "u_nobody"])
    node.say(2, "away")
    node.say(3, "away")

    (delta,) = [delta for delta in node.later(1.0) if 1 in delta.watchers]

    assert (delta.room, delta.version, seen(delta.changes)) == (None, 2, {"u_c": ("away", None)})


def test_who_is_unwatched_within_an_interval_is_not_told(node: Node) -> None:
    """A change that still waits when its user is watched no more is dropped."""
    node.open(2, "b")
    node.state.watch_users(1, ["u_b"])
    node.say(2, "away")
    node.state.unwatch_users(1, ["u_b"])

    assert [delta for delta in node.later(1.0) if 1 in delta.watchers] == []


def test_ones_own_user_cannot_be_unwatched(node: Node) -> None:
    """A session hears of its own user whatever it asked for."""
    node.open(2, "a")
    node.state.unwatch_users(1, ["u_a"])
    node.say(2, "online", "hi")

    assert sum(1 in delta.watchers for delta in node.later(1.0)) == 1


# -- refusals -------------------------------------------------------------------------------------------


def refusal(code: ErrorCode, call: object) -> None:
    """Call, expecting that refusal."""
    assert callable(call)
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.code is code


def test_one_room_too_many_is_refused() -> None:
    """A session at its limit of rooms may watch those it watches again, but no other."""
    node = Node(PresenceLimits(rooms_max=2))
    node.open(1, "a")

    def watch(room: str) -> Snapshot:
        return node.watch_rows(1, (), room=room)

    watch("one")
    watch("two")
    watch("one")
    refusal(ErrorCode.FORBIDDEN, lambda: watch("three"))
    node.unwatch(1, "one")
    watch("three")


def test_one_user_too_many_is_refused() -> None:
    """A session at its limit of users may watch the same again, but no other, and not too many at once."""
    node = Node(PresenceLimits(users_max=2, request_users_max=3))
    node.open(1, "a")
    node.state.watch_users(1, ["u_b", "u_c"])
    node.state.watch_users(1, ["u_c", "u_b", "u_a"])

    refusal(ErrorCode.FORBIDDEN, lambda: node.state.watch_users(1, ["u_d"]))
    refusal(ErrorCode.BAD_REQUEST, lambda: node.state.watch_users(1, ["u_b"] * 4))


def test_a_cursor_that_is_none_of_ours_is_refused(node: Node) -> None:
    """A cursor that no page ends with is `bad_cursor`."""
    refusal(ErrorCode.BAD_CURSOR, lambda: node.watch(1, "ab", cursor="12"))


def test_an_unknown_session_is_told_to_come_again(node: Node) -> None:
    """Requests of a session that is not open here are `unavailable`, which is temporary."""
    refusal(ErrorCode.UNAVAILABLE, lambda: node.say(9, "away"))
    refusal(ErrorCode.UNAVAILABLE, lambda: node.watch(9, "ab"))
    refusal(ErrorCode.UNAVAILABLE, lambda: node.state.watch_users(9, ["u_a"]))


@pytest.mark.parametrize(
    "limits",
    [
        {"grace_s": -1.0},
        {"grace_s": 4000.0},
        {"interval_min_s": 0.0},
        {"interval_min_s": 6.0},
        {"full_list_max": 0},
        {"rooms_max": 0},
        {"request_users_max": 0},
        {"users_max": 0},
        {"slice_members": 0},
        {"keep_s": -1.0},
        {"keep_rooms_max": 0},
        {"keep_members_max": 0},
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float]) -> None:
    """A limit out of its range names itself."""
    with pytest.raises(ValueError, match=next(iter(limits))):
        PresenceLimits(**limits)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- against naive twins --------------------------------------------------------------------------------

USERS = st.sampled_from(EVERYBODY)
TEXTS = st.sampled_from([None, "lunch", "back soon"])
CHANGES = st.lists(st.tuples(USERS, st.booleans()), max_size=4)
PAUSES = st.sampled_from([0.0, 0.0, 0.1, 0.3])
ROOMS: Sequence[str] = ("lobby", "attic")


class PresenceMachine(RuleBasedStateMachine):
    """Any order of anything: what watchers believe is what was shown, and in the end what is."""

    @initialize(rosters=st.lists(st.sets(USERS, min_size=2), min_size=2, max_size=2))
    def begin(self, rosters: list[set[str]]) -> None:
        """A node with pages of three, and three devices of two users that watch."""
        self.limits = PresenceLimits(
            grace_s=2.0,
            full_list_max=3,
            slice_members=2,
            keep_s=3.0,
            keep_rooms_max=2,
            keep_members_max=5,
        )
        self.state = PresenceState(self.limits)
        self.naive = NaivePresence(2.0)
        self.now = 0.0
        self.serial = 0
        self.users: dict[int, str] = {}
        self.epochs = dict.fromkeys(ROOMS, 1)
        self.pages: dict[tuple[int, str], tuple[str, int]] = {}
        self.believers: dict[tuple[int, str | None], Believer] = {}
        self.rosters = dict(zip(ROOMS, rosters, strict=True))
        for user in ("u_a", "u_b", "u_b"):
            self.open(user, "online")
            for room in ROOMS:
                self._watch(self.serial, room, None, 3)

    def some(self, pick: int) -> int:
        """One of the open sessions."""
        return sorted(self.users)[pick % len(self.users)]

    @rule(user=USERS, status=st.sampled_from(STATUSES))
    def open(self, user: str, status: Status) -> None:
        """A device connects."""
        self.serial += 1
        self.naive.open(self.serial, user, status)
        self.state.open(self.serial, user, user[-1], status, None, now=self.now, at_ms=int(self.now * 1000))
        self.users[self.serial] = user
        item = {"user": user, "name": user[-1], "status": status}
        self.believers[self.serial, None] = Believer({user: item}, 1, None, None)

    @precondition(lambda self: self.users)
    @rule(pick=st.integers(0, 99), clean=st.booleans(), pause=PAUSES)
    def close(self, pick: int, *, clean: bool, pause: float) -> None:
        """A device goes, cleanly or not."""
        session_id = self.some(pick)
        self.naive.close(session_id, clean=clean, now=self.now)
        self.state.close(session_id, clean=clean, now=self.now, at_ms=int(self.now * 1000))
        del self.users[session_id]
        self.believers = {key: value for key, value in self.believers.items() if key[0] != session_id}
        self.pages = {key: value for key, value in self.pages.items() if key[0] != session_id}
        self.wait(pause)

    @precondition(lambda self: self.users)
    @rule(pick=st.integers(0, 99), status=st.sampled_from(STATUSES), text=TEXTS, pause=PAUSES)
    def say(self, pick: int, status: Status, text: str | None, pause: float) -> None:
        """A device says how available it is."""
        session_id = self.some(pick)
        self.naive.say(session_id, status, text)
        self.state.say(session_id, status, text, now=self.now, at_ms=int(self.now * 1000))
        self.wait(pause)

    @rule(room=st.sampled_from(ROOMS), user=USERS, pause=PAUSES)
    def join(self, room: str, user: str, pause: float) -> None:
        """Somebody becomes a member."""
        self.rosters[room].add(user)
        self.state.members_changed(room, [Row(user, user[-1])], (), now=self.now)
        self.wait(pause)

    @rule(room=st.sampled_from(ROOMS), user=USERS, pause=PAUSES)
    def leave(self, room: str, user: str, pause: float) -> None:
        """Somebody stops being a member."""
        self.rosters[room].discard(user)
        self.state.members_changed(room, (), [user], now=self.now)
        self.wait(pause)

    @rule(room=st.sampled_from(ROOMS), members=st.sets(USERS), meanwhile=CHANGES)
    def move_room(self, room: str, members: set[str], meanwhile: list[tuple[str, bool]]) -> None:
        """The room gets a new owner, which knows other members; presence learns it with the next watch."""
        session_ids = sorted(self.users)
        if session_ids:
            self.epochs[room] += 1
            self.rosters[room] = members
            self._watch(session_ids[0], room, None, 2, meanwhile)

    @precondition(lambda self: self.users)
    @rule(
        pick=st.integers(0, 99),
        room=st.sampled_from(ROOMS),
        cursor=st.none() | USERS,
        limit=st.integers(1, 5),
        meanwhile=CHANGES,
    )
    def watch(
        self, pick: int, room: str, cursor: str | None, limit: int, meanwhile: list[tuple[str, bool]]
    ) -> None:
        """A session watches a page; members come and go while the room is read."""
        self._watch(self.some(pick), room, cursor, limit, meanwhile)

    def _watch(
        self,
        session_id: int,
        room: str,
        cursor: str | None,
        limit: int,
        meanwhile: Sequence[tuple[str, bool]] = (),
    ) -> None:
        roster = [Row(user, user[-1]) for user in sorted(self.rosters[room])]
        ready = self.state.open_room(
            session_id, room, epoch=self.epochs[room], roster=roster, cursor=cursor, now=self.now
        )
        changes = iter(meanwhile)
        while not ready:
            for user, joins in islice(changes, 1):
                self.join(room, user, 0.0) if joins else self.leave(room, user, 0.0)
            ready = room in self.state.work(now=self.now)
        snapshot = self.state.watch_room(session_id, room, cursor=cursor, limit=limit)
        whole = cursor is None and len(self.rosters[room]) <= 3
        page = (cursor or "", 3 if whole else min(limit, 3))
        believer = Believer.of(snapshot)
        for (other, other_room), other_page in self.pages.items():
            if (other_room, other_page) == (room, page) and other != session_id:
                assert believer == self.believers[other, room]
        self.pages[session_id, room] = page
        self.believers[session_id, room] = believer

    @precondition(lambda self: self.pages)
    @rule(pick=st.integers(0, 99))
    def unwatch(self, pick: int) -> None:
        """A session watches a page no more."""
        session_id, room = sorted(self.pages)[pick % len(self.pages)]
        self.state.unwatch_room(session_id, room, now=self.now)
        del self.pages[session_id, room], self.believers[session_id, room]

    @rule(room=st.sampled_from(ROOMS), user=USERS)
    def end_watch(self, room: str, user: str) -> None:
        """A user may see a room no more, on none of the devices."""
        ended = self.state.end_watch(room, user, now=self.now)
        assert set(ended) == {session_id for session_id, one in self.users.items() if one == user}
        for session_id in ended:
            self.pages.pop((int(session_id), room), None)
            self.believers.pop((int(session_id), room), None)

    @precondition(lambda self: self.users)
    @rule(pick=st.integers(0, 99), users=st.lists(USERS, min_size=1, max_size=4))
    def watch_users(self, pick: int, users: list[str]) -> None:
        """A session watches users by id."""
        session_id = self.some(pick)
        snapshot = self.state.watch_users(session_id, users)
        believer = self.believers[session_id, None]
        assert snapshot.version == believer.version
        for item in snapshot.items:
            # What is shown already is what is shown again, so a list that grows loses nothing.
            assert seen([believer.items.setdefault(item["user"], item)]) == seen([item])

    @precondition(lambda self: self.users)
    @rule(pick=st.integers(0, 99), user=USERS)
    def unwatch_user(self, pick: int, user: str) -> None:
        """A session watches a user no more."""
        session_id = self.some(pick)
        self.state.unwatch_users(session_id, [user])
        if user != self.users[session_id]:
            self.believers[session_id, None].items.pop(user, None)

    @rule(seconds=st.sampled_from([0.1, 0.25, 0.3, 1.9, 2.0, 5.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, everything is done when it is due."""
        end = self.now + seconds
        while (due := self.state.next_deadline()) is not None and due <= end:
            self.now = due
            self.naive.expire(due)
            for delta in self.state.advance(now=due, at_ms=int(due * 1000)):
                for session_id in delta.watchers:
                    assert isinstance(session_id, int)
                    self.believers[session_id, delta.room].apply(delta)
            self.state.work(now=due)
        self.now = end

    @rule()
    def settle(self) -> None:
        """After some quiet, what everybody believes is the naive truth."""
        self.wait(5.0)
        self.wait(5.0)

        for (session_id, room), believer in self.believers.items():
            own = self.users[session_id]
            if room is None:
                users = [str(user) for user in believer.items]
                expected = {
                    user: self.naive.own(user) if user == own else self.naive.public(user) for user in users
                }
            else:
                after, limit = self.pages[session_id, room]
                following = sorted(user for user in self.rosters[room] if user > after)
                users = following[:limit]
                expected = {user: self.naive.public(user) for user in users}
                assert believer.counts == self.naive.counts(self.rosters[room])
                assert believer.next == (users[-1] if len(following) > limit else None)
            assert seen(believer.items.values()) == expected
        assert self.state.next_deadline() is None

    def teardown(self) -> None:
        """When everybody is gone, nothing is kept."""
        for session_id in list(self.users):
            self.state.close(session_id, clean=False, now=self.now, at_ms=0)
        self.users = {}
        self.state.advance(now=self.now + 100.0, at_ms=0)
        while self.state.busy:
            self.state.work(now=self.now + 100.0)

        assert self.state.statistics() == (0, 0, 0, 0, 0, 0)
        assert self.state.next_deadline() is None

    @invariant()
    def the_invisible_are_never_shown(self) -> None:
        """No watcher ever holds `invisible`, or the name of an offline user by id, of anybody else."""
        for (session_id, room), believer in self.believers.items():
            for user, item in believer.items.items():
                if user != self.users[session_id] or room is not None:
                    assert item["status"] != "invisible"
                    assert room is not None or item["status"] != "offline" or "name" not in item


TestPresence = PresenceMachine.TestCase
TestPresence.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
