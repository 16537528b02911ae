"""Paragraphs on the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text


def marked(mark: str, text: str, style: str) -> Table:
    """Return text behind a mark, its further lines indented."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(mark, style=style), Text(text, style=style))
    return grid


def one_paragraph(text: str, characters: int) -> str:
    """Return a text as one paragraph of bounded length; line breaks become visible.

    >>> one_paragraph(" one\\ntwo three", 9)
    'one ⏎ tw…'
    """
    flat = text.strip().replace("\n", " ⏎ ")
    return flat if len(flat) <= characters else flat[: characters - 1] + "…"
