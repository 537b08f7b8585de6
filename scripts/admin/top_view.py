"""PURE: `parley admin top` as people see it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from chat.terminal_text import printable
from scripts.admin.figures import Figures, RoomFigures

_MIB: Final = 1024 * 1024


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _ms(value: float) -> str:
    return f"{value:,.1f} ms"


def _mib(value: float) -> str:
    return f"{value / _MIB:,.0f} MiB"


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def _cores(value: float) -> str:
    return f"{value:.2f} cores"


ROWS: Final[tuple[tuple[tuple[str, str, Callable[[float], str]], ...], ...]] = (
    (
        ("connections", "connections", _whole),
        ("users", "users", _whole),
        ("rooms active", "rooms_active", _whole),
    ),
    (
        ("sends/s", "sends_per_s", _whole),
        ("stored/s", "acks_per_s", _whole),
        ("deliveries/s", "deliveries_per_s", _whole),
    ),
    (
        ("room wait", "room_wait_ms", _ms),
        ("commit lag", "commit_lag_ms", _ms),
        ("commit p99", "commit_p99_ms", _ms),
    ),
    (
        ("ok p99", "ok_p99_ms", _ms),
        ("loop lag p99", "loop_lag_p99_ms", _ms),
        ("flush p99", "flush_p99_ms", _ms),
    ),
    (
        ("backlog rows", "writer_backlog_rows", _whole),
        ("outboxes", "outbox_bytes", _mib),
        ("pressure", "pressure", _whole),
    ),
    (
        ("cpu", "cpu_cores", _cores),
        ("memory", "memory_bytes", _mib),
        ("waiting", "rooms_waiting", _whole),
    ),
)


def render_top(figures: Figures, rooms: Sequence[RoomFigures], where: str, note: str = "") -> Group:
    """A screen of figures.

    Args:
        figures: of the last tick.
        rooms: the busiest.
        where: the metrics' address.
        note: why there are no rooms.
    """
    overview = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        overview.add_column(style="dim", no_wrap=True)
        overview.add_column(justify="right", no_wrap=True, min_width=8)
    for row in ROWS:
        cells: list[str] = []
        for title, name, form in row:
            cells += [title, _shown(figures.values, name, form)]
        overview.add_row(*cells)
    actors = Table(box=None, pad_edge=False, header_style="bold")
    actors.add_column("actors", no_wrap=True)
    for title in ("turns/s", "mailbox wait p99", "turn p99"):
        actors.add_column(title, justify="right", no_wrap=True)
    for actor in figures.actors:
        actors.add_row(
            actor.kind,
            _or_dash(actor.turns_per_s, _whole),
            _or_dash(actor.wait_p99_ms, _ms),
            _or_dash(actor.turn_p99_ms, _ms),
        )
    head = Text(f"parley top: {where} (Ctrl-C ends)", style="bold")
    below = Text(note, style="dim") if note else _rooms(rooms)
    return Group(head, overview, Text(""), actors, Text(""), below)


def _rooms(rooms: Sequence[RoomFigures]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rooms", overflow="ellipsis", no_wrap=True, max_width=24)
    for title in ("fan-out", "waiting", "wait", "messages/s", "busy"):
        table.add_column(title, justify="right", no_wrap=True)
    for room in rooms:
        table.add_row(
            printable(room.room),
            _whole(room.subscribers),
            _whole(room.waiting),
            _ms(room.wait_ms),
            _or_dash(room.messages_per_s, _whole),
            _or_dash(room.busy, _percent),
        )
    return table


def _shown(values: Mapping[str, float | None], name: str, form: Callable[[float], str]) -> str:
    return _or_dash(values.get(name), form)


def _or_dash(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)
