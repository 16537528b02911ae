"""Page of a sweep: one self-contained file that opens anywhere, offline.

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
from rlexp.sweep.report.plots import plot_sections
from rlexp.sweep.study import objective_names
from rlexp.tracking.secrets import redacted

MAX_ERROR = 200  # characters


@dataclass(frozen=True)
class TrialRow:
    """A trial in the table of trials."""

    number: int
    state: str
    values: Sequence[str]
    params: Sequence[str]
    duration: str
    folder: str
    card_link: str | None
    """To its card, relative to the page; None where there is none."""
    best: bool


def write_page(
    study: optuna.Study,
    path: Path,
    folder: Path,
    best: Sequence[BestConfig] = (),
    confirmed: Sequence[ConfirmedTrial] = (),
) -> None:
    """Write the page of a sweep.

    Args:
        study: of the sweep, at any stage.
        path: the file.
        folder: the sweep's, with the folders of its trials.
        best: the best trials, with their files.
        confirmed: the trials that were run again with other seeds.
    """
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
        best=[
            (config, format_objectives(names, config.trial.values), _formatted_params(config.trial))
            for config in best
        ],
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
    yield "by", ", ".join(str(name).rpartition(".")[2] for name in classes if name)
    yield "folder", display_path(folder)
    if started := [trial.datetime_start for trial in trials(study) if trial.datetime_start]:
        ended = [trial.datetime_complete for trial in trials(study) if trial.datetime_complete]
        yield "began", f"{min(started):%Y-%m-%d %H:%M}"
        if ended:
            yield "took", duration((max(ended) - min(started)).total_seconds())
    if command := recorded.get(attributes.COMMAND):
        yield "goes on with", command


def _formatted_params(trial: FrozenTrial) -> list[tuple[str, str]]:
    return [(name, brief(value)) for name, value in trial.params.items()]


def _confirmed_row(confirmed: ConfirmedTrial, n_objectives: int) -> dict[str, object]:
    """Return a trial of the table of trials that were run again."""
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
) -> Iterator[TrialRow]:
    """Return the complete trials in their order, then the others."""
    complete = ranked_trials(study)
    numbers = {trial.number for trial in complete}
    several = len(study.directions) > 1
    best = {trial.number for trial in best_candidates(study)[: None if several else 1]}
    for trial in [*complete, *(other for other in trials(study) if other.number not in numbers)]:
        run_folder = trial_folder(trial, folder)
        card = run_folder / "card.html"
        values = [f"{value:.4g}" for value in trial.values or ()]
        yield TrialRow(
            number=trial.number,
            state=_state_text(trial),
            values=values or [NOTHING] * len(study.directions),
            params=[
                brief(trial.params[name]) if name in trial.params else NOTHING for name in searched
            ],
            duration=duration(trial.duration.total_seconds()) if trial.duration else NOTHING,
            folder=display_path(run_folder),
            card_link=os.path.relpath(card, page.absolute().parent) if card.is_file() else None,
            best=trial.number in best,
        )


def _state_text(trial: FrozenTrial) -> str:
    """Return the state of a trial, and why it has no result."""
    state = _state_name(trial)
    if trial.state == TrialState.PRUNED and trial.last_step is not None:
        return f"{state} at step {trial.last_step}"
    if why := trial.user_attrs.get(WITHDRAWN) or trial.user_attrs.get(ERROR):
        return f"{state}: {redacted(why).splitlines()[0][:MAX_ERROR]}"
    return state
