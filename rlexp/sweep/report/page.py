"""The report of a sweep as a page: one self-contained file that opens anywhere, offline.

It can be written at any time: what a young study has nothing to say of says why.
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
from rlexp.rendering.svg import Plot
from rlexp.sweep import study as attributes
from rlexp.sweep.confirmation.ranking import (
    ConfirmedTrial,
    best_candidates,
    ranked_trials,
    ranking_sentences,
)
from rlexp.sweep.ownership import ERROR, WITHDRAWN, trials
from rlexp.sweep.report.best_configs import (
    BestConfig,
    display_path,
    format_objectives,
    trial_folder,
)
from rlexp.sweep.report.plots import objective_names, plot_sections
from rlexp.tracking.secrets import redacted

LONGEST = 200  # characters of an error


@dataclass(frozen=True)
class TrialRow:
    """A trial of the table."""

    number: int
    state: str
    values: Sequence[str]
    params: Sequence[str]
    took: str
    folder: str
    link: str | None
    """Its card, seen from the page; None where there is none."""
    best: bool


def write_page(
    study: optuna.Study,
    path: Path,
    folder: Path,
    best: Sequence[BestConfig] = (),
    sure: Sequence[ConfirmedTrial] = (),
) -> None:
    """Write the page.

    Args:
        study: of the sweep, at any stage.
        path: the file.
        folder: the sweep's, with the folders of its trials.
        best: the best trials, with their files.
        sure: the trials that were run again with other seeds.
    """
    names = objective_names(study)
    searched = list(study.user_attrs[attributes.SPACE])
    drawn = list(plot_sections(study))
    html.write(
        path,
        "rlexp.sweep.report",
        "report.html",
        name=study.study_name,
        headline=study_headline(study),
        progress=count_states(study),
        facts=list(_facts(study, folder)),
        best=[
            (each, format_objectives(study, each.trial.values), _params(each.trial))
            for each in best
        ],
        shown=display_path,
        objectives=names,
        confirmed=[_confirmed_row(each, len(names)) for each in sure],
        ranking=list(ranking_sentences(study, sure)),
        sections=drawn,
        plots=[[each for each in one.drawings if isinstance(each, Plot)] for one in drawn],
        missing=[[each for each in one.drawings if not isinstance(each, Plot)] for one in drawn],
        searched=searched,
        rows=list(_rows(study, searched, folder, path)),
        space=study.user_attrs[attributes.SPACE],
    )


def study_headline(study: optuna.Study) -> str:
    """The result in a line."""
    found = best_candidates(study)
    if not found:
        count = len(trials(study))
        return f"No result yet: {count} trials have begun" if count else "No trial yet"
    if len(study.directions) == 1:
        return f"{format_objectives(study, found[0].values)} in trial {found[0].number}"
    count = len(ranked_trials(study))
    if len(found) == 1:
        return f"Trial {found[0].number} of {count} is the best in every objective"
    return f"{len(found)} of {count} trials are best: none is better in all objectives"


def count_states(study: optuna.Study) -> str:
    """How many trials there are of each state.

    >>> study = optuna.create_study()
    >>> _ = study.ask()
    >>> count_states(study)
    '1 trial: 1 running'
    """
    counts = Counter(_state(trial) for trial in trials(study))
    total = sum(counts.values())
    parts = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{total} {'trial' if total == 1 else 'trials'}" + (f": {parts}" if parts else "")


def _state(trial: FrozenTrial) -> str:
    if WITHDRAWN in trial.user_attrs:
        return "withdrawn"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()


def _facts(study: optuna.Study, folder: Path) -> Iterator[tuple[str, str]]:
    """What is known of the sweep beside its trials."""
    told = study.user_attrs
    arrows = zip(objective_names(study), study.directions, strict=True)
    yield "looks for", ", ".join(f"{name} ({each.name.lower()}d)" for name, each in arrows)
    how = [told.get(attributes.SAMPLER), told.get(attributes.PRUNER)]
    yield "by", ", ".join(str(name).rpartition(".")[2] for name in how if name)
    yield "folder", display_path(folder)
    if began := [trial.datetime_start for trial in trials(study) if trial.datetime_start]:
        ended = [trial.datetime_complete for trial in trials(study) if trial.datetime_complete]
        yield "began", f"{min(began):%Y-%m-%d %H:%M}"
        if ended:
            yield "took", duration((max(ended) - min(began)).total_seconds())
    if command := told.get(attributes.COMMAND):
        yield "goes on with", command


def _params(trial: FrozenTrial) -> list[tuple[str, str]]:
    return [(name, brief(value)) for name, value in trial.params.items()]


def _confirmed_row(sure: ConfirmedTrial, count: int) -> dict[str, object]:
    remarks = [
        f"seed {seed} failed: {redacted(why)[:LONGEST]}" for seed, why in sure.failed.items()
    ]
    if sure.open:
        remarks.append(f"{len(sure.open)} still to come")
    return {
        "trial": sure.trial.number,
        "found": [f"{value:.4g}" for value in sure.trial.values],
        "estimates": [str(sure.estimate(index) or NOTHING) for index in range(count)],
        "seeds": ", ".join(map(str, sure.values)) or NOTHING,
        "remarks": "; ".join(remarks),
    }


def _rows(
    study: optuna.Study, searched: Sequence[str], folder: Path, page: Path
) -> Iterator[TrialRow]:
    """The complete trials in their order, then the others."""
    order = ranked_trials(study)
    done = {trial.number for trial in order}
    several = len(study.directions) > 1
    best = {trial.number for trial in best_candidates(study)[: None if several else 1]}
    for trial in [*order, *(each for each in trials(study) if each.number not in done)]:
        place = trial_folder(trial, folder)
        card = place / "card.html"
        values = [f"{value:.4g}" for value in trial.values or ()]
        yield TrialRow(
            number=trial.number,
            state=_described(trial),
            values=values or [NOTHING] * len(study.directions),
            params=[
                brief(trial.params[name]) if name in trial.params else NOTHING for name in searched
            ],
            took=duration(trial.duration.total_seconds()) if trial.duration else NOTHING,
            folder=display_path(place),
            link=os.path.relpath(card, page.absolute().parent) if card.is_file() else None,
            best=trial.number in best,
        )


def _described(trial: FrozenTrial) -> str:
    """The state of a trial, and why it has no result."""
    state = _state(trial)
    if trial.state == TrialState.PRUNED and trial.last_step is not None:
        return f"{state} at step {trial.last_step}"
    if why := trial.user_attrs.get(WITHDRAWN) or trial.user_attrs.get(ERROR):
        return f"{state}: {redacted(why).splitlines()[0][:LONGEST]}"
    return state
