"""The report as one file."""

import base64
import hashlib
import re

import msgspec
import pytest
from hypothesis import given, settings

from scripts.load.record import RunRecord
from scripts.load.report import render_html
from tests.scripts.load.pages import Page
from tests.scripts.load.records import VIOLATION, empty_record, make_record, records

EVIL = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page() -> Page:
    """The report of a run that has everything."""
    return Page(render_html(make_record(violations=[VIOLATION], invalid=["the tester was late"])))


def test_it_has_every_section_and_the_verdict(page: Page) -> None:
    """Before any figure: broken promises and why the run is invalid."""
    assert page.text.index("1 promise broken") < page.text.index("the tester was late")
    for heading in ("Promises", "Latency", "Traffic", "Errors", "Server", "Tester", "Settings", "Machine"):
        assert heading in page.text
    assert VIOLATION.what in page.text
    assert VIOLATION.evidence[0] in page.text
    assert "room_size" in page.text
    assert "Model X, 2 cores" in page.text


def test_every_figure_of_the_totals_is_there(page: Page) -> None:
    """Rounded as everywhere."""
    totals = make_record().totals

    assert f"{totals.deliveries:,}" in page.text
    assert f"{totals.latency['delivery'].p99:.1f}" in page.text
    assert f"{totals.latency['ok'].p999:.1f}" in page.text


def test_every_plot_has_words_and_a_table(page: Page) -> None:
    """A picture alone is nothing to a screen reader, nor to somebody without JavaScript."""
    assert len(page.charts) >= 18
    assert page.tags.count("figure") == page.tags.count("details") == len(page.charts)
    for chart in page.charts:
        assert msgspec.json.decode(chart)["data"]


def test_nothing_is_fetched(page: Page) -> None:
    """Neither by an element nor by the style."""
    assert page.fetched == []
    assert page.handlers == []
    assert "url(" not in page.style
    assert "@import" not in page.style


def test_the_policy_forbids_all_but_the_two_scripts(page: Page) -> None:
    """A browser that holds to it can neither load nor run anything else."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.scripts]

    assert len(hashes) == 2
    assert page.policy.startswith("default-src 'none'; ")
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    assert re.findall(r"script-src ([^;]*);", page.policy) == [allowed]
    assert "connect-src" not in page.policy
    assert "http" not in page.policy


def test_plotly_offers_to_send_nothing_away(page: Page) -> None:
    """By default its charts have a button that uploads them."""
    assert "showSendToCloud: false" in page.scripts[1]
    assert 'plotlyServerURL: ""' in page.scripts[1]


def test_names_and_codes_are_text() -> None:
    """Whoever runs a server, or names a scenario, writes no program into the report."""
    record = make_record(seconds=24)
    evil = msgspec.structs.replace(
        record,
        name=EVIL,
        url=EVIL,
        failure=EVIL,
        ended="failed",
        scenario={EVIL: EVIL},
        machine={EVIL: EVIL},
        invalid=[EVIL],
        violations=[msgspec.structs.replace(VIOLATION, room=EVIL, what=EVIL, evidence=[EVIL])],
        totals=msgspec.structs.replace(record.totals, errors={EVIL: 3}),
        ticks=[msgspec.structs.replace(tick, errors={EVIL: 1}) for tick in record.ticks],
    )
    page = Page(render_html(evil))

    assert EVIL in page.text
    assert len(page.scripts) == 2
    assert "img" not in page.tags
    assert page.fetched == []
    assert page.handlers == []


def test_control_characters_are_made_visible() -> None:
    """A text that turns the direction of reading around could fake a figure."""
    page = Page(render_html(empty_record(name="a\x00b\u202ec")))

    assert "a␀b<U+202E>c" in page.text


def test_a_run_without_a_second_has_a_report() -> None:
    """It says what there is: nothing was checked, nothing was measured."""
    page = Page(render_html(empty_record()))

    assert "INTERRUPTED" in page.text
    assert "no promise was checked" in page.text
    assert "/metrics were not read" in page.text
    assert page.charts == []


def test_a_long_run_says_that_its_points_are_seconds_put_together() -> None:
    """Otherwise a peak would be read as lasting as long as its point."""
    assert "each point of a plot stands for 2 seconds" in Page(render_html(make_record(seconds=1200))).text
    assert "stands for" not in Page(render_html(make_record(seconds=120))).text


def test_the_same_record_gives_the_same_file() -> None:
    """So that a report can be made again and compared."""
    assert render_html(make_record()) == render_html(make_record())


@settings(max_examples=10)
@given(records)
def test_any_record_has_a_report(record: RunRecord) -> None:
    """Well-formed, whatever it holds."""
    page = Page(render_html(record))

    assert len(page.scripts) == 2
    assert page.fetched == []
