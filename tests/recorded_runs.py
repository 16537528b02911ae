"""A run as a store tells of it, and the store, as far as a comparison asks."""

from __future__ import annotations

from pathlib import Path


class Recorded:
    """What a store says of a run whose files it never got."""

    run_id, name, status, started, ended = "0123abcd", "toy", "FINISHED", 0, 2000
    params = {"algo.name": "toy", "algo.beta": "0.1", "seed": "7"}  # noqa: RUF012
    metrics: dict[str, float] = {}  # noqa: RUF012
    tags = {"version.torch": "2.13"}  # noqa: RUF012


class RecordedSource:
    """A store that has these rows of samples and these curves, and no files."""

    def __init__(self, rows: list, curves: dict) -> None:
        self.rows, self.curves = rows, curves

    def history(self, record: object, /) -> dict:
        return self.curves

    def samples(self, record: object, /, step: int | None = None) -> list:
        return self.rows

    def artifact(self, record: object, /, path: str) -> Path:
        raise FileNotFoundError(path)
