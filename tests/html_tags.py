"""The tags of a page, for tests of what a browser would make of it."""

from __future__ import annotations

from html.parser import HTMLParser


class Tags(HTMLParser):
    """Collects elements, and checks that they are balanced."""

    void = frozenset({"meta", "path", "line", "circle", "use", "rect", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag
