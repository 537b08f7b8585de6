"""The writer's pure decisions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.batch import ROW_BYTES, Append, Attempt, Park, retry_delay_s, row_bytes, take
from storage.errors import BadData, LogGap
from storage.model import Entry, Fenced, Poisoned, Receipt, RoomId, Stored
from tests.storage.rows import change, message

ROOM, OTHER = RoomId(1), RoomId(2)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 40), st.integers(1, 400))
def test_a_batch_is_as_large_as_both_bounds_allow(sizes: list[int], max_rows: int, max_bytes: int) -> None:
    """No longer batch fits, and only a single row may be over the bound in bytes."""
    rows = take(sizes, max_rows=max_rows, max_bytes=max_bytes)

    assert 1 <= rows <= min(len(sizes), max_rows)
    assert rows == 1 or sum(sizes[:rows]) <= max_bytes
    assert rows == min(len(sizes), max_rows) or sum(sizes[: rows + 1]) > max_bytes


def test_a_row_is_as_large_as_its_texts() -> None:
    """Bodies and data count, everything else is a flat rate."""
    assert row_bytes(message(ROOM, 1, body="x" * 100, data="y" * 10)) == ROW_BYTES + 110
    assert row_bytes(message(ROOM, 1)._replace(body=None)) == ROW_BYTES
    assert row_bytes(change(ROOM, "u_bob")) == ROW_BYTES


@given(st.text(), st.none() | st.text())
def test_a_row_is_never_taken_for_smaller_than_it_is(body: str, data: str | None) -> None:
    """Texts count at least the bytes that they are in UTF-8, and at most four for a character."""
    counted = row_bytes(message(ROOM, 1, body=body, data=data)) - ROW_BYTES

    assert len((body + (data or "")).encode()) <= counted <= 4 * len(body + (data or ""))


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_retries_are_bounded_and_never_immediate(failures: int, jitter: float) -> None:
    """Every wait is between half the base and the cap."""
    assert 0.05 <= retry_delay_s(failures, base_s=0.1, cap_s=3.0, jitter=jitter) <= 3.0


def test_retries_double_up_to_the_cap() -> None:
    """At full jitter the waits are the base doubled each time, then the cap."""
    waits = [retry_delay_s(failures, base_s=1.0, cap_s=5.0, jitter=1.0) for failures in range(1, 6)]

    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


class _Judge:
    """A naive store: refuses steps that hold poison, or that do not continue the room's log."""

    def __init__(self, poison: set[int], unparkable: set[int]) -> None:
        self.poison = poison
        self.unparkable = unparkable
        self.heads: dict[RoomId, int] = {}
        self.log: list[Entry] = []
        self.steps = 0

    def carry_out(self, attempt: Attempt) -> None:
        """Run an attempt to its end."""
        while (step := attempt.step()) is not None:
            self.steps += 1
            try:
                attempt.accepted(self._do(step))
            except (BadData, LogGap) as error:
                attempt.refused(error)

    def _do(self, step: Append | Park) -> list[Receipt]:
        entries = step.entries if isinstance(step, Append) else [step.entry]
        heads = self.heads.copy()
        for entry in entries:
            number = int((entry.name or "0")[1:])
            if number in (self.poison if isinstance(step, Append) else self.unparkable):
                raise BadData(f"row {number}")
            if entry[1] != heads.get(entry.room_id, 0) + 1:
                raise LogGap(f"row {number}")
            heads[entry.room_id] = entry[1]
        self.heads = heads
        self.log += entries
        return [Poisoned(step.error)] if isinstance(step, Park) else [Stored() for _ in entries]


def _batch(rooms: list[int], holes: set[int]) -> list[Entry]:
    """A message per room named, each numbered in its name; a hole skips a seq."""
    seqs: dict[int, int] = {}
    batch: list[Entry] = []
    for number, room in enumerate(rooms):
        seqs[room] = seqs.get(room, 0) + (2 if number in holes else 1)
        batch.append(message(RoomId(room), seqs[room])._replace(name=f"r{number}"))
    return batch


@given(
    st.lists(st.integers(1, 3), max_size=30),
    st.sets(st.integers(0, 29), max_size=4),
    st.sets(st.integers(0, 29), max_size=2),
    st.sets(st.integers(0, 29), max_size=2),
)
def test_every_row_is_resolved_in_order(
    rooms: list[int], poison: set[int], unparkable: set[int], holes: set[int]
) -> None:
    """Poison is parked in its place, a broken room is fenced from there on, all else is stored in order."""
    batch = _batch(rooms, holes)
    judge = _Judge(poison, unparkable & poison)
    attempt = Attempt(batch)

    judge.carry_out(attempt)

    broken: set[int] = set()
    expected: list[Receipt] = []
    log: list[Entry] = []
    for number, entry in enumerate(batch):
        room = rooms[number]
        poisoned = Poisoned(f"row {number}")
        if room in broken:
            expected.append(Fenced())
        elif number in poison & unparkable:
            broken.add(room)
            expected.append(poisoned)
        elif number in holes:
            broken.add(room)
            expected.append(Fenced())
        else:
            expected.append(poisoned if number in poison else Stored())
            log.append(entry)
    assert attempt.receipts == expected
    assert judge.log == log


def test_bisection_takes_a_logarithm_of_steps() -> None:
    """One poison row among 512 costs about two attempts for each halving."""
    judge = _Judge({300}, set())
    attempt = Attempt(_batch([1] * 512, set()))

    judge.carry_out(attempt)

    assert judge.steps <= 2 * 9 + 2


def test_a_broken_room_is_not_tried_again() -> None:
    """Once a room contradicts its log, its later rows in the batch cost no step."""
    judge = _Judge(set(), set())
    attempt = Attempt(_batch([1] * 512, {5}))

    judge.carry_out(attempt)

    assert attempt.receipts == [Stored()] * 5 + [Fenced()] * 507
    assert judge.steps <= 2 * 9 + 2


def test_a_step_is_the_same_until_it_has_an_outcome() -> None:
    """An attempt whose reply was lost is simply made again, a park too."""
    attempt = Attempt([message(ROOM, 1)])

    assert attempt.step() == attempt.step() == Append([message(ROOM, 1)])
    attempt.refused(BadData("no"))
    assert attempt.step() == attempt.step() == Park(message(ROOM, 1), "no")


def test_the_wrong_number_of_receipts_is_refused() -> None:
    """A store that answers for another batch changes nothing."""
    attempt = Attempt([message(ROOM, 1), message(ROOM, 2)])

    with pytest.raises(ValueError, match="3 receipts for 2 entries"):
        attempt.accepted([Stored()] * 3)
    assert attempt.receipts == []
    assert attempt.step() == Append([message(ROOM, 1), message(ROOM, 2)])


def test_a_membership_that_cannot_be_parked_breaks_no_room() -> None:
    """It has no seq, so the room's log goes on."""
    batch: list[Entry] = [change(ROOM, "u_x"), message(ROOM, 1)]
    attempt = Attempt(batch)
    attempt.refused(BadData("no"))
    attempt.refused(BadData("no"))
    attempt.refused(BadData("never"))

    assert attempt.step() == Append([message(ROOM, 1)])
    attempt.accepted([Stored()])
    assert attempt.receipts == [Poisoned("never"), Stored()]


def test_an_empty_batch_is_done() -> None:
    """There is no step."""
    assert Attempt([]).step() is None
