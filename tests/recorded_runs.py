"""A run as a store tells of it, and the store, as far as a comparison asks."""

from __future__ import annotations

from pathlib import Path

from rlexp.tracking.query.record import Record


def recorded_run() -> Record:
    """What a store says of a run whose files it never got."""
    return Record(
        run_id="0123abcd",
        name="toy",
        experiment_id="0",
        status="FINISHED",
        started=0,
        ended=2000,
        folder=None,
        parent=None,
        params={"algo.name": "toy", "algo.beta": "0.1", "seed": "7"},
        metrics={},
        tags={"version.torch": "2.13"},
    )


class RecordedSource:
    """A store that has these rows of samples and these curves, and no files."""

    def __init__(self, rows: list, curves: dict, documents: list | None = None) -> None:
        self.tables, self.curves = {"samples": rows, "benchmarks": documents or []}, curves

    def history(self, record: object, /) -> dict:
        return self.curves

    def samples(self, record: object, /, step: int | None = None, name: str = "samples") -> list:
        return self.tables[name]

    def artifact(self, record: object, /, path: str) -> Path:
        raise FileNotFoundError(path)
