"""Configs of the best trials as they were run, which `python -m rlexp rerun FILE` runs again.

`best.yaml` is the best trial's; with several objectives, that of the Pareto front's first by the
first of them. The others of the front, or those that were run again to confirm the ranking, stand
beside it as `best-2.yaml`, ….
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from rlexp.rendering.numbers import brief
from rlexp.runtime.files import write_atomically
from rlexp.runtime.run_folder import BEST_CONFIG, CONFIG, PIPELINE
from rlexp.sweep.confirmation.ranking import ConfirmedTrial, best_candidates
from rlexp.sweep.study import COMMAND, FOLDER, objective_names

MAX_FILES = 20


@dataclass(frozen=True)
class BestConfig:
    """One of the best trials, and its file; or why it has none here."""

    trial: FrozenTrial
    file: Path | None
    why: str = ""
    """It has no file."""


def write_best_configs(
    study: optuna.Study, folder: Path, confirmed: Sequence[ConfirmedTrial]
) -> list[BestConfig]:
    """Write the configs of a study's best trials into the sweep's folder, in place of earlier."""
    by_number = {other.trial.number: other for other in confirmed}
    best = best_candidates(study)
    if len(study.directions) == 1:
        best = [*best[:1], *(trial for trial in best[1:] if trial.number in by_number)]
    files = [
        folder / BEST_CONFIG,
        *(folder / f"best-{rank}.yaml" for rank in range(2, MAX_FILES + 1)),
    ]
    written = [
        _write(study, trial, folder, file, by_number.get(trial.number))
        for trial, file in zip(best, files, strict=False)
    ]
    kept = {config.file for config in written}
    for file in [folder / BEST_CONFIG, *folder.glob("best-*.yaml")]:
        number = file.stem.removeprefix("best-")
        if file not in kept and (file.name == BEST_CONFIG or number.isdigit()):
            file.unlink(missing_ok=True)
    return written


def _write(
    study: optuna.Study, trial: FrozenTrial, folder: Path, file: Path, others: ConfirmedTrial | None
) -> BestConfig:
    from omegaconf import OmegaConf

    run_folder = trial_folder(trial, folder)
    if (run_folder / PIPELINE).is_file():
        words = json.loads((run_folder / PIPELINE).read_text(encoding="utf-8"))["words"]
        return BestConfig(
            trial, None, f"a pipeline: {shlex.join(['python', '-m', 'rlexp', *words])}"
        )
    if not (run_folder / CONFIG).is_file():
        return BestConfig(trial, None, f"its {CONFIG} is not on this machine: {run_folder}")
    config = OmegaConf.load(run_folder / CONFIG)
    config.name = f"{study.study_name}-{config.name}"  # it is no trial of the sweep
    names = objective_names(study)
    result = format_objectives(names, trial.values)
    lines = [f"Trial {trial.number} of {study.study_name}: {result}"]
    if others and others.values:
        means = f"means of {len(others.values)}, with 95% t intervals"
        lines.append(f"With other seeds: {format_estimates(names, others)} ({means})")
    lines += [
        "",
        f"    python -m rlexp rerun {display_path(file)}",
        "",
        f"Its run: {display_path(run_folder)}",
        f"The sweep: {study.user_attrs.get(COMMAND, 'not told')}",
    ]
    comment = "\n".join(f"# {line}".rstrip() for line in lines)
    write_atomically(file, f"{comment}\n{OmegaConf.to_yaml(config)}")
    return BestConfig(trial, file)


def trial_folder(trial: FrozenTrial, sweep_folder: Path) -> Path:
    """Return where a trial was run; on another machine, if it is not in the sweep's folder here."""
    recorded = trial.user_attrs.get(FOLDER)
    folder = sweep_folder / (Path(recorded).name if recorded else str(trial.number))
    return folder if folder.is_dir() or recorded is None else Path(recorded)


def format_objectives(names: Sequence[str], values: Sequence[float]) -> str:
    """Return objectives with their values, for people.

    >>> format_objectives(["eval/reward", "eval/kl"], [0.51234567, 12.0])
    'eval/reward 0.5123, eval/kl 12'
    """
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))


def format_estimates(names: Sequence[str], confirmed: ConfirmedTrial) -> str:
    """Return objectives with their means over further seeds."""
    return ", ".join(f"{name} {confirmed.estimate(index)}" for index, name in enumerate(names))


def format_params(trial: FrozenTrial) -> str:
    """Return a trial's parameters as they are typed, with as many digits as people read."""
    return " ".join(f"{key}={brief(value)}" for key, value in trial.params.items())


def class_name(target: object) -> str:
    """Return the last name of a `_target_`."""
    return str(target).rpartition(".")[2]


def display_path(path: Path) -> str:
    """Return a path as it is typed from the current folder, where it stands below that."""
    try:
        return os.fspath(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return os.fspath(path)
