"""A page taken apart, as a browser would."""

from html.parser import HTMLParser

_VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})
_FETCHING = frozenset(
    {"src", "srcset", "href", "data", "poster", "action", "formaction", "background", "ping"}
)


class Page(HTMLParser):
    """What a document consists of.

    Attributes:
        text: what is read, without scripts and styles.
        scripts: those that run.
        charts: data blocks, JSON.
        style: all of it.
        fetched: what a browser would get from elsewhere.
        policy: the Content-Security-Policy.
        tags: every element's name.
        handlers: attributes that would run something.
    """

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.scripts: list[str] = []
        self.charts: list[str] = []
        self.style = ""
        self.fetched: list[str] = []
        self.policy = ""
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self._open: list[str] = []
        self._data_block = False
        self.feed(document)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.append(tag)
        given = dict(attrs)
        self.fetched += [
            f"{tag} {name}={value}"
            for name, value in attrs
            if name in _FETCHING and not (value or "").startswith("#")
        ]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given.get("content") or ""
        if tag == "script":
            self._data_block = given.get("type") == "application/json"
            (self.charts if self._data_block else self.scripts).append("")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """An element ends: the last that began."""
        assert self._open, f"</{tag}> ends nothing"
        assert self._open.pop() == tag, f"</{tag}> ends another element"

    def handle_data(self, data: str) -> None:
        """Text."""
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            (self.charts if self._data_block else self.scripts)[-1] += data
        elif inside == "style":
            self.style += data
        else:
            self.text += data
