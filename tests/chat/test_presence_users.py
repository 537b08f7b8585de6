"""What sessions add up to, against a twin that looks at all of them each time."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from chat.presence_users import OFFLINE, UserBook
from chat.protocol import Status
from tests.chat.presence_model import NaivePresence

STATUSES: Sequence[Status] = ("online", "away", "dnd", "invisible")
USERS = ("u_a", "u_b")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "lose", "say", "wait"]),
        st.integers(0, 9),
        st.sampled_from(STATUSES),
        st.sampled_from([None, "", "lunch", "back soon"]),
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from([0.0, 3.0]))
def test_a_book_agrees_with_its_naive_twin(
    steps: Sequence[tuple[str, int, Status, str | None]], grace_s: float
) -> None:
    """After every step both say the same of everybody, and a change is returned when a view changed."""
    book = UserBook(grace_s=grace_s)
    naive = NaivePresence(grace_s)
    sessions: list[int] = []
    now = 0.0
    for serial, (step, pick, status, text) in enumerate(steps):
        before = {user: (book.public(user)[:2], book.own(user)[:2]) for user in USERS}
        changed: set[str] = set()
        if step == "open":
            user = USERS[pick % 2]
            naive.open(serial, user, status)
            change = book.open(serial, user, "Name", status, None, at_ms=serial)
            sessions.append(serial)
            changed = {change.user_id} if change else set()
        elif step == "wait":
            now += pick % 4
            naive.expire(now)
            changed = {change.user_id for change in book.expire(now=now, at_ms=serial)}
        elif sessions:
            session_id = sessions[pick % len(sessions)]
            if step == "say":
                naive.say(session_id, status, text)
                change = book.say(session_id, status, text, at_ms=serial)
            else:
                naive.close(session_id, clean=step == "close", now=now)
                change = book.close(session_id, clean=step == "close", now=now, at_ms=serial)
                sessions.remove(session_id)
            changed = {change.user_id} if change else set()

        after = {user: (book.public(user)[:2], book.own(user)[:2]) for user in USERS}
        assert after == {user: (naive.public(user), naive.own(user)) for user in USERS}
        assert {user for user in USERS if before[user] != after[user]} == changed
        lost = [one.until for one in naive.sessions if one.until is not None]
        assert book.next_deadline() == min(lost, default=None)
        assert len(book) == len({one.user_id for one in naive.sessions})
        assert all(session_id in book for session_id in sessions)


def test_words_of_unknown_sessions_change_nothing() -> None:
    """A session that was never open, or is lost, neither says nor ends anything."""
    book = UserBook(grace_s=3.0)
    book.open(1, "u_a", "Ada", "online", None, at_ms=5)
    assert book.open(1, "u_a", "Ada", "away", None, at_ms=5) is None
    book.close(1, clean=False, now=0.0, at_ms=6)

    assert 1 not in book
    assert book.say(1, "dnd", "x", at_ms=7) is None
    assert book.close(7, clean=True, now=1.0, at_ms=7) is None
    assert book.close(1, clean=True, now=1.0, at_ms=7) is None
    assert book.say(2, "dnd", "x", at_ms=7) is None
    assert book.public("u_a") == ("online", None, 5)
    assert book.name("u_a") == "Ada"


def test_an_absent_user_is_offline_without_a_name() -> None:
    """Nobody is known of whom there is no session."""
    book = UserBook(grace_s=3.0)

    assert book.public("u_a") == book.own("u_a") == OFFLINE
    assert book.name("u_a") is None


def test_since_outlives_a_change_of_text_and_begins_with_a_status() -> None:
    """`since_ms` is the time of the last change of status, as each side saw it."""
    book = UserBook(grace_s=3.0)
    book.open(1, "u_a", "Ada", "online", None, at_ms=5)
    book.say(1, "online", "lunch", at_ms=6)
    assert book.public("u_a").since_ms == 5
    book.say(1, "invisible", None, at_ms=7)
    assert (book.public("u_a").since_ms, book.own("u_a").since_ms) == (0, 7)
    book.say(1, "online", None, at_ms=8)

    assert book.public("u_a").since_ms == 8


def test_a_session_may_bring_the_users_text() -> None:
    """A text given when a session opens is the user's; none leaves what is there."""
    book = UserBook(grace_s=3.0)
    book.open(1, "u_a", "Ada", "online", "lunch", at_ms=5)
    book.open(2, "u_a", "Ada", "online", None, at_ms=6)
    assert book.public("u_a").text == "lunch"
    book.open(3, "u_a", "Ada", "online", "", at_ms=7)

    assert book.public("u_a").text is None
