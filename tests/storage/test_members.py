"""What a run of membership changes comes to."""

from hypothesis import given
from hypothesis import strategies as st

from storage.members import fold_members
from storage.model import MemberChange, Role, RoomId
from tests.storage.rows import change

ROLES: list[Role | None] = ["member", "moderator", None]
State = dict[tuple[RoomId, str], MemberChange]


def _apply(state: State, one: MemberChange) -> None:
    key = (one.room_id, one.user_id)
    if one.role is None:
        state.pop(key, None)
    elif key in state:
        state[key] = state[key]._replace(name=one.name)
    else:
        state[key] = one


@given(
    st.sets(st.sampled_from("abc")),
    st.lists(st.tuples(st.integers(1, 2), st.sampled_from("abc"), st.sampled_from(ROLES))),
)
def test_folding_is_applying_one_after_another(
    present: set[str], changes: list[tuple[int, str, Role | None]]
) -> None:
    """Deletes and then upserts leave what the changes leave one by one, whoever was there before."""
    rows = [
        change(RoomId(room), user, role, name=f"{user}{at}", at_ms=at, read_seq=at)
        for at, (room, user, role) in enumerate(changes)
    ]
    one_by_one: State = {(RoomId(1), user): change(RoomId(1), user, "owner", at_ms=-1) for user in present}
    at_once = one_by_one.copy()
    for row in rows:
        _apply(one_by_one, row)

    ended, members = fold_members(rows)
    for key in ended:
        at_once.pop(key, None)
    for row in members:
        _apply(at_once, row)

    assert at_once == one_by_one
    assert len(ended) == len(set(ended))
    assert len(members) == len({(row.room_id, row.user_id) for row in members})
