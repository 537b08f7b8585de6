"""PURE: what undoes an act of the audit, as far as the audit knows how it was before."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

Item = Mapping[str, object]
"""An item of `audit` (docs/protocol.md 4)."""

_LIFTS: Final = {"ban": "unban", "mute": "unmute"}
_LAID: Final = {lift: act for act, lift in _LIFTS.items()}
_SETTINGS: Final = ("topic", "slow", "locked", "archived", "retention")
_SWITCHES: Final = {"locked": ("lock", "unlock"), "archived": ("archive", "unarchive")}


class NoInverse(Exception):
    """It cannot be undone, with the reason."""


class Ask(NamedTuple):
    """A request.

    Attributes:
        t: its type.
        fields: of it, without the room, which `assign` has none of.
    """

    t: str
    fields: Mapping[str, object]


def invert(item: Item, later: Sequence[Item], earlier: Sequence[Item], *, now_ms: int) -> Sequence[Ask]:
    """What to ask to undo an act.

    Args:
        item: the act.
        later: what was done in the room after it, in any order.
        earlier: what was done there before it, the latest first.
        now_ms: milliseconds since 1970 UTC.

    Raises:
        NoInverse: there is none, or something later stands upon it.
    """
    action = str(item["action"])
    target = item.get("target")
    over = [other for other in later if _concerns(item, other)]
    if over:
        last = max(over, key=lambda other: cast("int", other["seq"]))
        raise NoInverse(
            f"{item['audit']} was followed by {last['audit']} ({last['action']} by {last['name']}): "
            "it was undone already, or is to be undone first"
        )
    if action in _LIFTS:
        return [Ask("mod", {"action": _LIFTS[action], "target": target})]
    if action in _LAID:
        return [_lay_again(item, earlier, now_ms)]
    if action == "role":
        return [Ask("mod", {"action": "role", "target": target, "role": _role_before(item, earlier)})]
    if action == "assign":
        return [Ask("assign", {"user": target, "role": _server_role_before(item, earlier)})]
    if action == "kick":
        return [Ask("invite", {"user": target})]
    if action == "invite":
        return [Ask("mod", {"action": "kick", "target": target})]
    if action == "update":
        return _restore(item, earlier)
    raise NoInverse(f"{item['audit']} ({action}) cannot be undone")


def _detail(item: Item) -> Mapping[str, object]:
    detail = item.get("detail")
    return cast("Mapping[str, object]", detail) if isinstance(detail, Mapping) else {}


def _concerns(item: Item, other: Item) -> bool:
    """Whether a later act is about the same: who undoes the first would undo the second, too."""
    action, later = str(item["action"]), str(other["action"])
    if action == "update":
        return later == "update" and bool(_changed(item) & _changed(other))
    if item.get("target") != other.get("target"):
        return False
    groups = ({"ban", "unban"}, {"mute", "unmute"}, {"role"}, {"assign"}, {"kick", "invite", "ban"})
    return any(action in group and later in group for group in groups)


def _changed(item: Item) -> set[str]:
    return {name for name in _SETTINGS if name in _detail(item)}


def _lay_again(item: Item, earlier: Sequence[Item], now_ms: int) -> Ask:
    action = _LAID[str(item["action"])]
    for before in earlier:
        if before["action"] == action and before.get("target") == item.get("target"):
            fields: dict[str, object] = {"action": action, "target": item.get("target")}
            until = _detail(before).get("until")
            if isinstance(until, int):
                if until <= now_ms:
                    raise NoInverse(f"the {action} would have ended by now")
                fields["ttl"] = (until - now_ms) / 1000
            if before.get("reason") is not None:
                fields["reason"] = before["reason"]
            return Ask("mod", fields)
    raise NoInverse(f"the audit does not know the {action} that was lifted")


def _role_before(item: Item, earlier: Sequence[Item]) -> object:
    for before in earlier:
        if before["action"] in {"role", "invite", "kick", "ban"} and before.get("target") == item.get(
            "target"
        ):
            return _detail(before).get("role", "member") or "member"
    if _detail(item).get("role") == "member":
        raise NoInverse("the audit does not know the role that was there before")
    return "member"


def _server_role_before(item: Item, earlier: Sequence[Item]) -> object:
    for before in earlier:
        if before["action"] in {"enroll", "assign"} and before.get("target") == item.get("target"):
            return _detail(before)["role"]
    raise NoInverse("the audit does not know the role that was there before")


def _restore(item: Item, earlier: Sequence[Item]) -> Sequence[Ask]:
    settings: dict[str, object] = {}
    asks: list[Ask] = []
    for name in sorted(_changed(item)):
        if name in _SWITCHES:
            asks.append(Ask("mod", {"action": _SWITCHES[name][bool(_detail(item)[name])]}))
            continue
        known = [_detail(before)[name] for before in earlier if name in _detail(before)]
        if name == "retention":
            # Every room begins by keeping everything.
            known.append(0)
        if not known:
            raise NoInverse(f"the audit does not know the {name} that was there before")
        settings[name] = known[0]
    if settings:
        asks.append(Ask("update", settings))
    if not asks:
        raise NoInverse(f"{item['audit']} says of no setting")
    return asks
