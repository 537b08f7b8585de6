"""What undoes what."""

from collections.abc import Mapping, Sequence

import pytest

from scripts.admin.inverse import Ask, NoInverse, invert

NOW_MS = 1_000_000


def act(seq: int, action: str, target: str | None = "u_bob", **detail: object) -> dict[str, object]:
    """A row of the audit."""
    item: dict[str, object] = {
        "audit": f"tea:{seq}",
        "seq": seq,
        "name": "Ada",
        "action": action,
        "detail": detail,
    }
    if target is not None:
        item["target"] = target
    if "reason" in detail:
        item["reason"] = detail["reason"]
    return item


def mod(**fields: object) -> Ask:
    """A request to moderate."""
    return Ask("mod", fields)


@pytest.mark.parametrize(
    ("item", "earlier", "asked"),
    [
        (act(9, "ban"), [], [mod(action="unban", target="u_bob")]),
        (act(9, "mute"), [], [mod(action="unmute", target="u_bob")]),
        (
            act(9, "unban"),
            [act(8, "mute"), act(7, "ban", reason="spam"), act(6, "ban", reason="old")],
            [mod(action="ban", target="u_bob", reason="spam")],
        ),
        (
            act(9, "unmute"),
            [act(8, "mute", until=NOW_MS + 5000)],
            [mod(action="mute", target="u_bob", ttl=5.0)],
        ),
        (act(9, "kick"), [], [Ask("invite", {"user": "u_bob"})]),
        (act(9, "invite"), [], [mod(action="kick", target="u_bob")]),
        (
            act(9, "role", role="owner"),
            [act(8, "role", "u_cyd", role="owner"), act(7, "role", role="moderator")],
            [mod(action="role", target="u_bob", role="moderator")],
        ),
        (act(9, "role", role="owner"), [], [mod(action="role", target="u_bob", role="member")]),
        (
            act(9, "assign", role="admin"),
            [act(8, "role", role="owner"), act(7, "assign", role="moderator"), act(6, "enroll", role="user")],
            [Ask("assign", {"user": "u_bob", "role": "moderator"})],
        ),
        (
            act(9, "assign", role="admin"),
            [act(8, "enroll", "u_cyd", role="moderator"), act(7, "enroll", role="user")],
            [Ask("assign", {"user": "u_bob", "role": "user"})],
        ),
        (act(9, "update", None, locked=True), [], [mod(action="unlock")]),
        (act(9, "update", None, locked=False), [], [mod(action="lock")]),
        (act(9, "update", None, archived=True), [], [mod(action="unarchive")]),
        (act(9, "update", None, archived=False), [], [mod(action="archive")]),
        (act(9, "update", None, retention=60), [], [Ask("update", {"retention": 0})]),
        (
            act(9, "update", None, retention=0),
            [act(8, "update", None, retention=90), act(7, "update", None, retention=60)],
            [Ask("update", {"retention": 90})],
        ),
        (
            act(9, "update", None, topic="b", slow=2.0),
            [act(8, "update", None, slow=1.0), act(7, "update", None, topic="a", slow=0.0)],
            [Ask("update", {"slow": 1.0, "topic": "a"})],
        ),
    ],
)
def test_an_act_is_undone_by_its_opposite(
    item: Mapping[str, object], earlier: Sequence[Mapping[str, object]], asked: Sequence[Ask]
) -> None:
    """With what the audit knows of the time before."""
    assert invert(item, [], earlier, now_ms=NOW_MS) == asked


@pytest.mark.parametrize(
    ("item", "earlier", "why"),
    [
        (act(9, "delete"), [], "cannot be undone"),
        (act(9, "purge"), [], "cannot be undone"),
        (act(9, "reset"), [], "cannot be undone"),
        (act(9, "unban"), [act(8, "ban", "u_cyd")], "does not know the ban"),
        (act(9, "unmute"), [act(8, "mute", until=NOW_MS)], "would have ended"),
        (act(9, "update", None, topic="b"), [], "does not know the topic"),
        (act(9, "update", None), [], "says of no setting"),
        (act(9, "role", role="member"), [], "does not know the role"),
        (act(9, "assign", role="user"), [act(8, "role", role="owner")], "does not know the role"),
    ],
)
def test_what_cannot_be_undone_says_why(
    item: Mapping[str, object], earlier: Sequence[Mapping[str, object]], why: str
) -> None:
    """Nothing is guessed."""
    with pytest.raises(NoInverse, match=why):
        invert(item, [], earlier, now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("item", "later"),
    [
        (act(1, "ban"), act(2, "unban")),
        (act(1, "mute"), act(2, "mute")),
        (act(1, "role", role="owner"), act(2, "role", role="member")),
        (act(1, "assign", role="admin"), act(2, "assign", role="user")),
        (act(1, "kick"), act(2, "invite")),
        (act(1, "update", None, topic="a"), act(2, "update", None, topic="b")),
    ],
)
def test_what_was_followed_by_its_like_is_not_undone_again(
    item: Mapping[str, object], later: Mapping[str, object]
) -> None:
    """The later act is named."""
    with pytest.raises(NoInverse, match=r"followed by tea:2"):
        invert(item, [later], [], now_ms=NOW_MS)


def test_what_was_done_to_others_later_does_not_count() -> None:
    """Nor what is of another kind."""
    others = [act(3, "ban", "u_cyd"), act(4, "delete"), act(5, "update", None, slow=1.0), act(6, "mute")]
    assert invert(act(1, "ban"), others, [], now_ms=NOW_MS) == [mod(action="unban", target="u_bob")]
