"""A room's members in order, against a dict and `sorted`."""

from bisect import bisect_right
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.presence_order import BLOCK_MAX, MemberOrder

IDS = st.text(min_size=1, max_size=2, alphabet="abc")


def check(order: MemberOrder, model: dict[str, str]) -> None:
    """Compare everything that can be asked."""
    assert len(order) == len(model)
    assert list(order.ids()) == sorted(model)
    assert {user_id: order.name(user_id) for user_id in model} == model
    assert all(user_id in order for user_id in model)


@given(st.lists(st.tuples(IDS, st.sampled_from("NM"), st.booleans())))
def test_any_changes_leave_what_a_dict_would_hold(changes: list[tuple[str, str, bool]]) -> None:
    """Adding and removing say whether they did something, and a member added twice has the later name."""
    order, model = MemberOrder(), dict[str, str]()
    for user_id, name, adds in changes:
        if adds:
            assert order.add(user_id, name) == (user_id not in model)
            model[user_id] = name
        else:
            assert order.remove(user_id) == (user_id in model)
            model.pop(user_id, None)
        check(order, model)


@pytest.mark.parametrize("direction", ["upwards", "downwards", "shuffled"])
def test_many_members_lie_in_many_blocks(direction: str) -> None:
    """Blocks are cut when they are full and dropped when they are empty, whatever comes in which order."""
    chooser = Random(1)  # noqa: S311  repeatable
    ids = [f"u_{number:05}" for number in range(BLOCK_MAX * 10)]
    if direction == "downwards":
        ids.reverse()
    elif direction == "shuffled":
        chooser.shuffle(ids)
    order, model = MemberOrder(), dict[str, str]()
    for user_id in ids:
        order.add(user_id, "N")
        model[user_id] = "N"
    check(order, model)
    for user_id in sorted(ids)[BLOCK_MAX : 9 * BLOCK_MAX]:
        order.remove(user_id)
        del model[user_id]
    check(order, model)
    for user_id in chooser.sample(ids, 3000):
        order.add(user_id, "M")
        model[user_id] = "M"
    check(order, model)
    for user_id in ids:
        order.remove(user_id)
    check(order, {})


@given(st.sets(IDS | st.integers(0, 2000).map("{:04}".format)), IDS | st.just(""), st.integers(1, 20))
def test_a_window_is_a_slice_of_the_sorted_ids(ids: set[str], after: str, limit: int) -> None:
    """The first so many above a cursor, which need not be a member, and whether more follow."""
    order = MemberOrder()
    for user_id in ids:
        order.add(user_id, "N")
    start = bisect_right(sorted(ids), after)

    assert order.window(after, limit) == (
        sorted(ids)[start : start + limit],
        start + limit < len(ids),
    )


def test_a_window_reaches_over_blocks() -> None:
    """Larger than a block, from the middle of one to the middle of another."""
    order = MemberOrder()
    ids = [f"u_{number:05}" for number in range(BLOCK_MAX * 4)]
    for user_id in ids:
        order.add(user_id, "N")

    assert order.window(ids[99], 2 * BLOCK_MAX) == (ids[100 : 100 + 2 * BLOCK_MAX], True)
    assert order.window(ids[-3], 10) == (ids[-2:], False)
    assert order.window(ids[-1], 10) == ([], False)


def test_who_is_no_member_has_no_name() -> None:
    """Neither below nor above those who are."""
    order = MemberOrder()
    order.add("u_b", "B")

    for user_id in ("u_a", "u_c"):
        assert user_id not in order
        with pytest.raises(KeyError):
            order.name(user_id)
