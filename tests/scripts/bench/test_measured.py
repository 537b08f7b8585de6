"""What follows from a run of the client."""

import msgspec
import pytest

from scripts.bench.measured import parse_measured
from tests.scripts.bench.support import measured, shot, times


def test_the_clients_output_is_read_back() -> None:
    """The names are the same on both sides."""
    run = measured(shot(0), shot(1, events=5))
    assert parse_measured(msgspec.json.encode(run)) == run


def test_output_with_a_figure_missing_is_refused() -> None:
    """A client of another version measures something else."""
    with pytest.raises(msgspec.ValidationError):
        parse_measured(b'{"connections": 1}')


def test_cpu_is_divided_by_what_was_done_meanwhile() -> None:
    """In all and by slices: half a core for 1,000, then a whole one for 1,000."""
    run = measured(shot(0), shot(1, events=1000, ticks=50), shot(2, events=2000, ticks=150))
    assert run.cpu_per(lambda s: s.events) == (750, 500, 1000)
    assert run.server_load == 0.75


def test_what_others_take_of_the_servers_core_is_noise() -> None:
    """The core was busy for 0.9 s of each second, the server for 0.5."""
    run = measured(shot(0), shot(2, ticks=100, busy=(180, 0)))
    assert run.foreign_load == pytest.approx(0.4)


def test_memory_is_shared_out_among_those_who_are_in() -> None:
    """What the server grew by, from before the first to after the last."""
    run = measured(before=shot(rss=1_000_000), settled=shot(rss=1_200_000))
    assert run.bytes_each == 20_000


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("setup_failed", "not let in"),
        ("lost", "lost"),
        ("errors", "error"),
        ("gaps", "seq"),
        ("uneven", "range"),
        ("incomplete", "each message once"),
        ("duplicate_oks", "twice"),
        ("unknown_ids", "unknown id"),
    ],
)
def test_a_broken_promise_is_told(field: str, words: str) -> None:
    """Each kind by its own words, with the first case seen."""
    told = measured(**{field: 2}, first_error="this one").violations()
    assert len(told) == 2
    assert words in told[0]
    assert "this one" in told[1]


def test_a_send_without_an_answer_is_told_where_sends_are_answered() -> None:
    """And nowhere else."""
    assert measured(oks=99).violations() == ["1 sends were not answered in time"]
    assert measured(oks=0, answers=False).violations() == []


def test_a_run_as_it_should_be_has_neither_violations_nor_doubts() -> None:
    """Silence means that all is well."""
    run = measured(shot(0), shot(1, own_s=0.5), lateness=times(1))
    assert run.violations() == []
    assert run.doubts() == []


def test_a_client_that_was_late_or_busy_casts_doubt() -> None:
    """It measured itself."""
    late = measured(shot(0), shot(1), lateness=times(6))
    busy = measured(shot(0), shot(1, own_s=0.95))
    assert [len(run.doubts()) for run in (late, busy)] == [1, 1]
