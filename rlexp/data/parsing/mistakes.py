"""What a record of a source can have wrong, before anybody knows its file and line."""

from __future__ import annotations


class RecordError(Exception):
    """A record with a mistake that its owner can put right."""

    def __init__(self, got: str, want: str, remedy: str = "") -> None:
        super().__init__(got)
        self.got, self.want, self.remedy = got, want, remedy


class SkipRecord(Exception):
    """A record that is no mistake but says nothing; the message is the reason."""


def shown(value: object) -> str:
    """Return a value and its type in few words."""
    text = repr(value)
    return f"{text if len(text) < 40 else text[:37] + '…'}, a {type(value).__name__}"
