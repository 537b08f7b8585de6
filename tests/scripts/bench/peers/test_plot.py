"""The picture."""

from pathlib import Path
from xml.etree import ElementTree as ET

from scripts.bench.peers.plot import write_plot
from scripts.bench.peers.results import Figure, Result
from tests.scripts.bench.peers.support import contestant


def test_every_figure_has_a_panel_with_everybody_in_it(tmp_path: Path) -> None:
    """As text in well-formed SVG."""
    path = tmp_path / "plot.svg"
    assert write_plot([contestant("limit"), contestant("ws", delivery_us=12.34)], path, title="beside")
    text = path.read_text()
    ET.fromstring(text)  # noqa: S314  our own file
    for figure in Figure:
        assert figure.title.partition(",")[0].replace("<=", "&lt;=") in text
    assert text.count("WS") == len(Figure)
    assert "12.3" in text


def test_the_same_figures_make_the_same_picture(tmp_path: Path) -> None:
    """So that a file that changed means figures that changed."""
    first, second = tmp_path / "1.svg", tmp_path / "2.svg"
    for path in (first, second):
        write_plot([contestant("ws")], path, title="beside")
    assert first.read_bytes() == second.read_bytes()


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    """No file either."""
    path = tmp_path / "plot.svg"
    assert not write_plot([Result(name="ws", title="ws", lacks="")], path, title="beside")
    assert not path.exists()
