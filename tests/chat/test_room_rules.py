"""Who may do what to whom: every rank, every action, every target."""

import itertools

import pytest

from chat.errors import ErrorCode, Refused
from chat.room_rules import RULES, Rank, rank_of, require_right
from storage.model import Role, RoomKind

TO_PEOPLE = ("kick", "mute", "unmute", "ban", "unban", "purge")
TO_THE_ROOM = ("topic", "slow", "lock", "unlock", "announce", "automod", "review", "invite")
TO_THE_ROOM_BY_OWNERS = ("archive", "unarchive", "retention")


def may(action: str, kind: RoomKind, actor: Rank, target: Rank | None = None) -> bool:
    """Whether somebody is let through."""
    try:
        require_right(action, kind, actor, target)
    except Refused:
        return False
    return True


def test_every_action_has_a_rule() -> None:
    """And no rule is without one."""
    assert set(RULES) == {*TO_PEOPLE, *TO_THE_ROOM, *TO_THE_ROOM_BY_OWNERS, "role"}


@pytest.mark.parametrize("kind", ["public", "private"])
@pytest.mark.parametrize("action", TO_THE_ROOM)
def test_moderators_and_who_ranks_higher_change_the_room(action: str, kind: RoomKind) -> None:
    """Members and outsiders do not."""
    assert [rank.name for rank in Rank if not may(action, kind, rank)] == ["NOBODY", "MEMBER"]


@pytest.mark.parametrize("kind", ["public", "private"])
@pytest.mark.parametrize("action", TO_THE_ROOM_BY_OWNERS)
def test_owners_and_the_server_s_people_close_a_room_and_let_it_forget(action: str, kind: RoomKind) -> None:
    """Moderators do not."""
    assert [rank.name for rank in Rank if not may(action, kind, rank)] == ["NOBODY", "MEMBER", "MODERATOR"]


@pytest.mark.parametrize("kind", ["public", "private"])
@pytest.mark.parametrize("action", TO_PEOPLE)
def test_one_acts_on_people_of_a_lower_rank(action: str, kind: RoomKind) -> None:
    """From the moderator on; never on one's like, nor on oneself, nor upwards."""
    for actor, target in itertools.product(Rank, Rank):
        assert may(action, kind, actor, target) == (actor >= Rank.MODERATOR and target < actor)


def test_roles_are_given_by_owners() -> None:
    """To people below them; a moderator makes no moderators."""
    for actor, target in itertools.product(Rank, Rank):
        assert may("role", "public", actor, target) == (actor >= Rank.OWNER and target < actor)


@pytest.mark.parametrize("action", RULES)
def test_two_people_in_a_direct_room_have_no_power_over_each_other(action: str) -> None:
    """The topic is theirs; all else takes somebody of the server."""
    allowed = [rank.name for rank in Rank if may(action, "direct", rank, Rank.NOBODY)]
    assert allowed == [
        *(["MEMBER", "MODERATOR", "OWNER"] if action == "topic" else []),
        "SERVER_MODERATOR",
        "SERVER_ADMIN",
    ]


def test_who_is_refused_hears_what_it_takes() -> None:
    """The rank that may, or that the target is the trouble."""
    with pytest.raises(Refused, match="rank of a moderator") as refused:
        require_right("kick", "public", Rank.MEMBER, Rank.NOBODY)
    assert refused.value.code is ErrorCode.FORBIDDEN
    with pytest.raises(Refused, match="people of a lower rank"):
        require_right("kick", "public", Rank.MODERATOR, Rank.OWNER)


@pytest.mark.parametrize(
    ("role", "server_role", "rank"),
    [
        (None, "guest", Rank.NOBODY),
        (None, "user", Rank.NOBODY),
        ("member", "user", Rank.MEMBER),
        ("moderator", "guest", Rank.MODERATOR),
        ("owner", "user", Rank.OWNER),
        (None, "moderator", Rank.SERVER_MODERATOR),
        ("owner", "moderator", Rank.SERVER_MODERATOR),
        ("member", "admin", Rank.SERVER_ADMIN),
    ],
)
def test_the_higher_of_both_roles_counts(role: Role | None, server_role: str, rank: Rank) -> None:
    """The one in the room and the one on the server."""
    assert rank_of(role, server_role) is rank
