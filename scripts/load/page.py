"""Pages as one file each: the templates, their style and scripts in it, and a policy that forbids the rest.

The page's own policy (Content-Security-Policy) lets a browser load nothing from anywhere and run only the two
scripts that were put in, known by their hashes: what a server or a room was called cannot become a program,
and opening a report tells nobody of it.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from chat.terminal_text import printable
from scripts.load.plots import Plot

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render_page(template: str, title: str, values: Mapping[str, object]) -> str:
    """A whole document. Every value is text, whatever it looks like, and control characters are made visible.

    Args:
        template: its file's name.
        title: for the browser's tab.
        values: what the template names.
    """
    scripts = _scripts()
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    # Styles cannot be told by hashes: plotly.js writes its own into the page.
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            title=title,
            policy=policy,
            style=Markup((_TEMPLATES / "page.css").read_text()),  # noqa: S704  # a file of ours
            scripts=[Markup(script) for script in scripts],  # noqa: S704  # files of ours, and plotly.js
        )
    )


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _scripts() -> tuple[str, str]:
    """Plotly.js and the page's; without carriage returns, which browsers drop before they take the hash."""
    texts = (str(get_plotlyjs()), (_TEMPLATES / "page.js").read_text())
    plotly, page = (text.replace("\r\n", "\n").replace("\r", "\n") for text in texts)
    return plotly, page


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters["chart"] = _chart
    return environment


def _visible(value: object) -> object:
    """`printable` for all text that is not the templates' own."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value)


def _chart(plot: Plot) -> Markup:
    """A plot's data for the script, in a form that cannot end the element that it stands in."""
    text = msgspec.json.encode({"data": plot.traces, "layout": plot.layout}).decode()
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704  # JSON without a "<" is plain text there
