"""All that a sweep leaves for people: its report, and the configs of its best trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from rlexp.sweep.confirmation.ranking import ConfirmedTrial, confirmed_trials, ranking_sentences
from rlexp.sweep.report.best_configs import (
    BestConfig,
    display_path,
    format_estimates,
    format_objectives,
    write_best_configs,
)
from rlexp.sweep.report.page import write_page
from rlexp.sweep.study import objective_names
from rlexp.tracking.secrets import redacted

REPORT = "report.html"
FOR_MLFLOW = "provenance"
"""Folder of what goes to MLflow without the secrets that its original holds."""


@dataclass(frozen=True)
class SweepReport:
    """What a sweep has found, and the files that say so."""

    study: optuna.Study
    folder: Path
    """Of the sweep."""
    page: Path
    best: Sequence[BestConfig]
    confirmed: Sequence[ConfirmedTrial]
    """The trials that were run again with other seeds."""

    @property
    def certainty(self) -> list[str]:
        """Return how sure the ranking is, in sentences; none where nothing was confirmed."""
        return list(ranking_sentences(self.study, self.confirmed))

    def lines(self) -> Iterator[tuple[str, str]]:
        """Return what a terminal shows of it: labels and texts."""
        names = objective_names(self.study)
        for confirmed in self.confirmed:
            if confirmed.values:
                text = f"{format_estimates(names, confirmed)} over {len(confirmed.values)}"
                yield "confirmed", f"trial {confirmed.trial.number}: {text} further seeds"
        for sentence in self.certainty:
            yield "how sure", sentence
        for best in self.best[:1]:
            if best.file is None:
                values = format_objectives(names, best.trial.values)
                yield "no file", f"for trial {best.trial.number}, {values}: {best.why}"
            else:
                yield "run it again", f"python -m rlexp rerun {display_path(best.file)}"
        if others := [other.file.name for other in self.best[1:] if other.file]:
            yield "beside it", ", ".join(others)
        yield "report", display_path(self.page)

    def artifacts(self) -> Iterator[Path]:
        """Write and return the files for the sweep's MLflow run, all of them in its folder."""
        folder = self.folder / FOR_MLFLOW
        folder.mkdir(exist_ok=True)
        for original in [self.page, *(best.file for best in self.best if best.file)]:
            copy = folder / (REPORT if original == self.page else original.name)
            copy.write_text(redacted(original.read_text(encoding="utf-8")), encoding="utf-8")
            yield copy


def write_sweep_report(study: optuna.Study, folder: Path, page: Path | None = None) -> SweepReport:
    """Write the page of a sweep, and the configs of its best trials.

    Args:
        study: of the sweep, at any stage.
        folder: the sweep's; where it is not on this machine, no configs can be written.
        page: the file; in the sweep's folder where none is named.
    """
    confirmed = confirmed_trials(study)
    best = write_best_configs(study, folder, confirmed) if folder.is_dir() else []
    page = page or folder / REPORT
    write_page(study, page, folder, best, confirmed)
    return SweepReport(study, folder, page, best, confirmed)
