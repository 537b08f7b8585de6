"""The page and its figures."""

import msgspec

from scripts.bench.peers.page import ranked, render_figures, render_page
from scripts.bench.peers.results import Figure, Result
from tests.scripts.bench.peers.support import contestant

RESULTS = [
    contestant("limit", delivery_us=5),
    contestant("parley", delivery_us=8),
    contestant("ws", delivery_us=10),
    Result(name="nats", title="NATS", lacks="storage", failures=["cannot be installed: no | apt"]),
]
PAGE = render_page(RESULTS, date="2030-01-02T03:04:05", machine={"cpu": "x"}, plot="p.svg", seconds=10)


def test_every_figure_is_told_as_a_ratio_to_the_limit_and_to_each_peer() -> None:
    """The row of a peer: its figure, times the limit, and how many times it Parley is."""
    assert "| WS | 10.00 | 2.00 | 0.80 |  |" in PAGE
    assert "| PARLEY | 8.00 | 1.60 | 1.00 |  |" in PAGE


def test_the_page_says_when_where_with_what_and_what_is_missing() -> None:
    """Date, machine, versions, what each lacks, and who could not be measured."""
    for said in (
        "# Parley beside its peers, 2030-01-02",
        "- cpu: x",
        "![every figure of every contestant](p.svg)",
        "| WS | ws 1.2.3 |",
        "| NATS | storage |",
        "| NATS | cannot be installed: no / apt |",
        "- NATS: cannot be installed: no | apt",
        "| parley | CPU a delivery at most 1.6 times the C limit | met |",
    ):
        assert said in PAGE


def test_every_table_has_as_many_cells_in_each_row() -> None:
    """Or it is not shown as one."""
    tables = [block.splitlines() for block in PAGE.split("\n\n") if block.startswith("|")]
    assert len(tables) > 8
    for table in tables:
        rows = [line for line in table if line.startswith("|")]
        assert len({row.count("|") for row in rows}) == 1


def test_a_page_about_nobody_is_a_page() -> None:
    """An interrupted run has nothing to tell yet."""
    page = render_page([], date="2030-01-02T03:04:05", machine={}, plot=None, seconds=10)
    assert page.startswith("# Parley beside its peers, 2030-01-02")
    assert "![" not in page


def test_the_best_comes_first() -> None:
    """Whichever way is better."""
    assert [result.name for result, _ in ranked(RESULTS, Figure.DELIVERY_CPU)] == ["limit", "parley", "ws"]
    fast = [contestant("a", deliveries_per_s=1000), contestant("b", deliveries_per_s=5000)]
    assert [result.name for result, _ in ranked(fast, Figure.DELIVERIES)] == ["b", "a"]


def test_programs_read_figures_runs_and_searches() -> None:
    """As JSON."""
    document = msgspec.json.decode(render_figures(RESULTS, date="today", machine={"cpu": "x"}))
    ws = next(found for found in document["contestants"] if found["name"] == "ws")
    assert ws["figures"]["delivery_cpu"]["number"] == 10
    assert ws["climbs"]["pairs"]["best"]["rate"] == 4000
    assert ws["runs"]["pairs"]["sent"] == 10_000
    assert document["contestants"][-1]["failures"] == ["cannot be installed: no | apt"]
    assert any(goal["met"] for goal in document["goals"])
