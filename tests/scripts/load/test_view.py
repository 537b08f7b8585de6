"""The live view."""

import io
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from scripts.load.panel import ERRORS_SHOWN, Story, render
from scripts.load.record import RunRecord, ServerTick, Tick, Violation
from scripts.load.summary import render_summary
from scripts.load.view import LiveView
from scripts.load.words import number
from tests.scripts.load.records import VIOLATION, empty_record, make_record, records, second, ticks

WIDTH, HEIGHT = 80, 24
RED = "\x1b[1;31m"


def shown(renderable: RenderableType, *, width: int = WIDTH, colours: bool = False) -> str:
    """As a terminal of this width shows it."""
    colour_system: Literal["standard"] | None = "standard" if colours else None
    console = Console(
        file=io.StringIO(), width=width, height=HEIGHT, force_terminal=colours, color_system=colour_system
    )
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def story(*seconds: Tick, name: str = "evening") -> Story:
    """A run that is as old as the ticks given."""
    made = Story(name, 1000, "ws://127.0.0.1:8000/ws")
    for tick in seconds:
        made.add(tick)
    return made


def test_a_busy_run_fits_a_small_terminal() -> None:
    """80 by 24, with every line that there can be."""
    busy = make_record(seconds=120).ticks[:62]
    codes = {f"code_{number}": number for number in range(1, 10)}
    text = shown(
        render(story(*busy, second(63, errors=codes, violations=2, late_ms=50.0, server=ServerTick())))
    )

    assert len(text.splitlines()) <= HEIGHT
    assert max(map(len, text.splitlines())) <= WIDTH


def test_the_screen_says_how_it_goes() -> None:
    """Users, rates, quantiles, and the server's insides."""
    record = make_record(seconds=120)
    tick = record.ticks[50]
    text = shown(render(story(*record.ticks[:51])))

    assert "evening" in text
    assert "steady" in text
    assert "00:51" in text
    assert "1,000 of 1,000" in text
    assert f"{tick.deliveries:,}" in text
    delivery = next(line for line in text.splitlines() if line.startswith("delivery   "))
    assert delivery.split()[3] == number(tick.latency["delivery"].p99)
    assert tick.server is not None
    assert tick.server.commit_ms is not None
    assert f"≤ {tick.server.commit_ms:.2f} ms" in text


def test_a_metric_keeps_its_last_figures() -> None:
    """Nobody connects after the ramp: what connecting took stays to be read."""
    record = make_record(seconds=120)
    ramp_end = record.ticks[19].latency["connect"]
    text = shown(render(story(*record.ticks[:51])))

    line = next(line for line in text.splitlines() if line.startswith("connect "))
    assert line.split()[1] == f"{ramp_end.p50:.1f}"


def test_the_commonest_errors_are_shown_and_the_others_counted() -> None:
    """Six places, no more."""
    codes = {f"code_{number}": 10 * number for number in range(1, 10)}
    text = shown(render(story(second(errors=codes))))

    assert [f"code_{number} {10 * number}" in text for number in range(9, 9 - ERRORS_SHOWN, -1)] == [True] * 6
    assert "code_3 30" not in text
    assert "(+60)" in text


def test_errors_stay_when_their_second_is_over() -> None:
    """They are those of the run."""
    assert "busy 3" in shown(
        render(story(second(1, errors={"busy": 1}), second(2, errors={"busy": 2}), second(3)))
    )


def test_broken_promises_and_a_late_tester_are_red() -> None:
    """They matter more than any figure, and stand above them."""
    text = shown(render(story(second(violations=2, late_ms=80.0))), colours=True)

    assert f"{RED}VIOLATION: 2 promises broken" in text
    assert f"{RED}INVALID" in text
    assert text.index("INVALID") < text.index("users")


def test_a_good_second_has_no_red() -> None:
    """Red means something."""
    assert "31m" not in shown(render(story(*make_record(seconds=120).ticks[:30])), colours=True)


def test_a_server_without_metrics_is_told_so() -> None:
    """No figure looks like 0."""
    assert "no /metrics" in shown(render(story(second(server=None))))


def test_names_cannot_write_to_the_terminal() -> None:
    """Neither with escape sequences nor with rich's own markup."""
    text = shown(render(story(second(errors={"\x1b[2Jx": 1}), name="[red]a[/red]\x1b[H")))

    assert "\x1b" not in text
    assert "[red]a[/red]␛[H" in text


@pytest.mark.parametrize("width", [20, 40, 79, 80, 81, 200])
def test_the_screen_follows_the_terminals_width(width: int) -> None:
    """A terminal may become narrower or wider at any time."""
    text = shown(render(story(*make_record(seconds=120).ticks)), width=width)

    assert max(map(len, text.splitlines())) <= width


@settings(max_examples=50)
@given(st.lists(ticks, max_size=4))
def test_any_run_can_be_shown(seconds: list[Tick]) -> None:
    """However odd its figures are."""
    text = shown(render(story(*seconds)))

    assert text
    assert len(text.splitlines()) <= HEIGHT


def test_the_summary_names_what_was_broken() -> None:
    """The verdict first, the evidence with it, the hidden ones counted."""
    record = make_record(invalid=["the tester was late"], violations=[VIOLATION] * 7)
    text = shown(render_summary(record), colours=True)

    assert text.index("VIOLATION") < text.index("INVALID") < text.index("latency, ms")
    assert "7 promises broken" in text
    assert VIOLATION.evidence[1] in text
    assert "and 2 violations more" in text


def test_the_summary_of_a_good_run_says_that_it_is_valid() -> None:
    """With what was checked."""
    text = shown(render_summary(make_record()))

    assert "VALID: every promise held: 50 rooms compared, 20,000 oks looked up" in text


def test_a_run_that_checked_nothing_is_not_called_valid() -> None:
    """An empty check passes always."""
    text = shown(render_summary(empty_record()))

    assert "UNCHECKED" in text
    assert "VALID" not in text


def test_the_rates_of_the_summary_are_those_of_the_steady_phase() -> None:
    """The ramp would make them smaller than what the server did."""
    ramp = Tick(at_s=1.0, phase="ramp", users=1, target_users=1, sends=1)
    steady = [second(at_s, sends=100) for at_s in (2.0, 3.0)]
    record = make_record()
    text = shown(render_summary(msgspec.structs.replace(record, ticks=[ramp, *steady])))

    assert "sends (100/s)" in text


@settings(max_examples=50)
@given(records)
def test_any_run_can_be_summed_up(record: RunRecord) -> None:
    """However it ended."""
    assert "\x1b" not in shown(render_summary(record))


def test_the_view_takes_the_screen_and_gives_it_back() -> None:
    """Alternate screen on and off, the cursor hidden and shown, then the summary."""
    out = io.StringIO()
    record = make_record(seconds=24, violations=[Violation(kind="lost", room="r", what="gone")])
    with LiveView(Console(file=out, width=WIDTH, height=HEIGHT, force_terminal=True)) as view:
        view.started(record.name, record.totals.users, record.url)
        for tick in record.ticks:
            view.tick(tick)
        view.finished(record)
    text = out.getvalue()

    assert text.index("\x1b[?1049h") < text.index("deliveries/s") < text.index("\x1b[?1049l")
    assert text.index("\x1b[?1049l") < text.index("1 promise broken")
    assert text.count("\x1b[?25h") == 1


def test_the_screen_is_given_back_when_the_run_fails() -> None:
    """A terminal without a cursor is nobody's wish."""
    out = io.StringIO()

    def fail() -> None:
        with LiveView(Console(file=out, width=WIDTH, height=HEIGHT, force_terminal=True)) as view:
            view.started("a", 1, "ws://127.0.0.1:1/ws")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert out.getvalue().rindex("\x1b[?1049l") > out.getvalue().rindex("\x1b[?1049h")
    assert "\x1b[?25h" in out.getvalue()
