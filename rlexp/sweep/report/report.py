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
    format_objectives,
    write_best_configs,
)
from rlexp.sweep.report.page import write_page
from rlexp.sweep.report.plots import objective_names
from rlexp.tracking.secrets import redacted

REPORT = "report.html"
FOR_MLFLOW = "provenance"
"""Folder of what goes to MLflow without the secrets that its original holds."""


@dataclass(frozen=True)
class SweepReport:
    """What was written."""

    study: optuna.Study
    folder: Path
    """Of the sweep."""
    page: Path
    best: Sequence[BestConfig]
    sure: Sequence[ConfirmedTrial]

    @property
    def certainty(self) -> list[str]:
        """How sure the ranking is, in sentences; none where nothing was confirmed."""
        return list(ranking_sentences(self.study, self.sure))

    def lines(self) -> Iterator[tuple[str, str]]:
        """What a terminal shows of it: a word, and what it stands for."""
        names = objective_names(self.study)
        for each in self.sure:
            if each.values:
                found = [f"{name} {each.estimate(index)}" for index, name in enumerate(names)]
                seeds = f"{len(each.values)} further seeds"
                yield "confirmed", f"trial {each.trial.number}: {', '.join(found)} over {seeds}"
        for sentence in self.certainty:
            yield "how sure", sentence
        for each in self.best[:1]:
            what = f"trial {each.trial.number}, {format_objectives(self.study, each.trial.values)}"
            if each.file is None:
                yield "no file", f"for {what}: {each.why}"
            else:
                yield "run it again", f"python -m rlexp rerun {display_path(each.file)}"
        if others := [each.file.name for each in self.best[1:] if each.file]:
            yield "beside it", ", ".join(others)
        yield "report", display_path(self.page)

    def artifacts(self) -> Iterator[Path]:
        """The files for the sweep's MLflow run, all of them in its folder."""
        place = self.folder / FOR_MLFLOW
        place.mkdir(exist_ok=True)
        for original in [self.page, *(each.file for each in self.best if each.file)]:
            copy = place / (REPORT if original == self.page else original.name)
            copy.write_text(redacted(original.read_text(encoding="utf-8")), encoding="utf-8")
            yield copy


def write_sweep_report(study: optuna.Study, folder: Path, page: Path | None = None) -> SweepReport:
    """Write the page, and the configs of the best trials.

    Args:
        study: of the sweep, at any stage.
        folder: the sweep's; where it is not on this machine, no configs can be written.
        page: the file; in the sweep's folder where none is named.
    """
    sure = confirmed_trials(study)
    best = write_best_configs(study, folder, sure) if folder.is_dir() else []
    page = page or folder / REPORT
    write_page(study, page, folder, best, sure)
    return SweepReport(study, folder, page, best, sure)
