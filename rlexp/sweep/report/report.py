"""All that a sweep leaves for people: its page, and the configs of its best trials.

The page is one self-contained file that opens anywhere, offline. It can be written at any time:
what a young study has nothing to say of says why.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from rlexp.rendering import html
from rlexp.rendering.numbers import NOTHING, brief, duration
from rlexp.runtime.run_folder import CARD_PAGE
from rlexp.sweep import study as attributes
from rlexp.sweep.confirmation.ranking import (
    ConfirmedTrial,
    best_candidates,
    confirmed_trials,
    ranked_trials,
    ranking_sentences,
)
from rlexp.sweep.ownership import ERROR, WITHDRAWN, trials
from rlexp.sweep.report.best_configs import (
    BestConfig,
    class_name,
    display_path,
    format_estimates,
    format_objectives,
    trial_folder,
    write_best_configs,
)
from rlexp.sweep.report.plots import plot_sections
from rlexp.sweep.study import objective_names
from rlexp.tracking.secrets import redacted

REPORT = "report.html"
FOR_MLFLOW = "provenance"
"""Folder of what goes to MLflow without the secrets that its original holds."""
MAX_ERROR = 200  # characters


def write_page(
    study: optuna.Study,
    path: Path,
    folder: Path,
    best: Sequence[BestConfig] = (),
    confirmed: Sequence[ConfirmedTrial] = (),
) -> None:
    """Write the page of a sweep, at any stage; `folder` holds those of its trials."""
    names = objective_names(study)
    searched = list(study.user_attrs[attributes.SPACE])
    html.write(
        path,
        "rlexp.sweep.report",
        "report.html",
        name=study.study_name,
        headline=study_headline(study),
        progress=count_states(study),
        facts=list(_facts(study, folder)),
        best=[(config, format_objectives(names, config.trial.values)) for config in best],
        brief=brief,
        shown=display_path,
        objectives=names,
        confirmed=[_confirmed_row(trial, len(names)) for trial in confirmed],
        ranking=list(ranking_sentences(study, confirmed)),
        sections=list(plot_sections(study)),
        searched=searched,
        rows=list(_rows(study, searched, folder, path)),
        space=study.user_attrs[attributes.SPACE],
    )


def study_headline(study: optuna.Study) -> str:
    """Return the result in a line."""
    best = best_candidates(study)
    if not best:
        count = len(trials(study))
        return f"No result yet: {count} trials have begun" if count else "No trial yet"
    if len(study.directions) == 1:
        values = format_objectives(objective_names(study), best[0].values)
        return f"{values} in trial {best[0].number}"
    count = len(ranked_trials(study))
    if len(best) == 1:
        return f"Trial {best[0].number} of {count} is the best in every objective"
    return f"{len(best)} of {count} trials are best: none is better in all objectives"


def count_states(study: optuna.Study) -> str:
    """Return how many trials there are of each state.

    >>> study = optuna.create_study()
    >>> _ = study.ask()
    >>> count_states(study)
    '1 trial: 1 running'
    """
    counts = Counter(_state_name(trial) for trial in trials(study))
    total = sum(counts.values())
    parts = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{total} {'trial' if total == 1 else 'trials'}" + (f": {parts}" if parts else "")


def _state_name(trial: FrozenTrial) -> str:
    if WITHDRAWN in trial.user_attrs:
        return "withdrawn"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()


def _facts(study: optuna.Study, folder: Path) -> Iterator[tuple[str, str]]:
    """Return what is known of the sweep beside its trials: labels and texts."""
    recorded = study.user_attrs
    objectives = zip(objective_names(study), study.directions, strict=True)
    yield "looks for", ", ".join(f"{name} ({way.name.lower()}d)" for name, way in objectives)
    classes = [recorded.get(attributes.SAMPLER), recorded.get(attributes.PRUNER)]
    yield "by", ", ".join(class_name(name) for name in classes if name)
    yield "folder", display_path(folder)
    if started := [trial.datetime_start for trial in trials(study) if trial.datetime_start]:
        ended = [trial.datetime_complete for trial in trials(study) if trial.datetime_complete]
        yield "began", f"{min(started):%Y-%m-%d %H:%M}"
        if ended:
            yield "took", duration((max(ended) - min(started)).total_seconds())
    if command := recorded.get(attributes.COMMAND):
        yield "goes on with", command


def _confirmed_row(confirmed: ConfirmedTrial, n_objectives: int) -> dict[str, object]:
    remarks = [
        f"seed {seed} failed: {redacted(why)[:MAX_ERROR]}" for seed, why in confirmed.failed.items()
    ]
    if confirmed.pending:
        remarks.append(f"{len(confirmed.pending)} still to come")
    return {
        "trial": confirmed.trial.number,
        "values": [f"{value:.4g}" for value in confirmed.trial.values],
        "estimates": [str(confirmed.estimate(index) or NOTHING) for index in range(n_objectives)],
        "seeds": ", ".join(map(str, confirmed.values)) or NOTHING,
        "remarks": "; ".join(remarks),
    }


def _rows(
    study: optuna.Study, searched: Sequence[str], folder: Path, page: Path
) -> Iterator[dict[str, object]]:
    """Yield the rows of the table of trials: the complete ones in their order, then the others."""
    complete = ranked_trials(study)
    numbers = {trial.number for trial in complete}
    several = len(study.directions) > 1
    best = {trial.number for trial in best_candidates(study)[: None if several else 1]}
    for trial in [*complete, *(other for other in trials(study) if other.number not in numbers)]:
        run_folder, params = trial_folder(trial, folder), trial.params
        card = run_folder / CARD_PAGE
        values = [f"{value:.4g}" for value in trial.values or ()]
        yield {
            "number": trial.number,
            "state": _state_text(trial),
            "values": values or [NOTHING] * len(study.directions),
            "params": [brief(params[name]) if name in params else NOTHING for name in searched],
            "duration": duration(trial.duration.total_seconds()) if trial.duration else NOTHING,
            "folder": display_path(run_folder),
            "card_link": os.path.relpath(card, page.absolute().parent) if card.is_file() else None,
            "best": trial.number in best,
        }


def _state_text(trial: FrozenTrial) -> str:
    state = _state_name(trial)
    if trial.state == TrialState.PRUNED and trial.last_step is not None:
        return f"{state} at step {trial.last_step}"
    if why := trial.user_attrs.get(WITHDRAWN) or trial.user_attrs.get(ERROR):
        return f"{state}: {redacted(why).splitlines()[0][:MAX_ERROR]}"
    return state


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
        """Yield what a terminal shows of it: labels and texts."""
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
        """Write and yield the files for the sweep's MLflow run, all of them in its folder."""
        folder = self.folder / FOR_MLFLOW
        folder.mkdir(exist_ok=True)
        for original in [self.page, *(best.file for best in self.best if best.file)]:
            copy = folder / (REPORT if original == self.page else original.name)
            copy.write_text(redacted(original.read_text(encoding="utf-8")), encoding="utf-8")
            yield copy


def write_sweep_report(study: optuna.Study, folder: Path, page: Path | None = None) -> SweepReport:
    """Write the page of a sweep at any stage, and the configs of its best trials into its folder.

    Where that is not on this machine, no configs can be written. The page goes there too, unless
    another file is named.
    """
    confirmed = confirmed_trials(study)
    best = write_best_configs(study, folder, confirmed) if folder.is_dir() else []
    page = page or folder / REPORT
    write_page(study, page, folder, best, confirmed)
    return SweepReport(study, folder, page, best, confirmed)
