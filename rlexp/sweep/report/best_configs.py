"""`best.yaml`: the best trial's config as it was run, which `python -m rlexp rerun` runs again.

Of several objectives it is the first of the Pareto front by the first of them. The others of the
front, or those that were run again to confirm the ranking, stand beside it as `best-2.yaml`, ….
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from rlexp.runtime.files import write_atomically
from rlexp.sweep.confirmation.ranking import Confirmed, leaders
from rlexp.sweep.study import COMMAND, FOLDER, OBJECTIVES

BEST = "best.yaml"
CONFIG = "config.yaml"
MOST = 20


@dataclass(frozen=True)
class BestConfig:
    """One of the best trials, and its file; or why it has none here."""

    trial: FrozenTrial
    file: Path | None
    why: str = ""


def write_best(study: optuna.Study, folder: Path, sure: Sequence[Confirmed]) -> list[BestConfig]:
    """Write the files; those of earlier calls that are no longer right are removed.

    Args:
        study: of the sweep.
        folder: the sweep's.
        sure: what is known of the trials that were run again.
    """
    confirmed = {each.trial.number: each for each in sure}
    found = leaders(study)
    if len(study.directions) == 1:
        found = [*found[:1], *(trial for trial in found[1:] if trial.number in confirmed)]
    written = [
        _write(study, trial, folder, folder / _name(rank), confirmed.get(trial.number))
        for rank, trial in enumerate(found[:MOST], start=1)
    ]
    kept = {best.file for best in written}
    for file in [folder / BEST, *folder.glob("best-*.yaml")]:
        number = file.stem.removeprefix("best-")
        if file not in kept and (file.name == BEST or number.isdigit()):
            file.unlink(missing_ok=True)
    return written


def _name(rank: int) -> str:
    return BEST if rank == 1 else f"best-{rank}.yaml"


def _write(
    study: optuna.Study, trial: FrozenTrial, folder: Path, file: Path, sure: Confirmed | None
) -> BestConfig:
    from omegaconf import OmegaConf

    place = trial_folder(trial, folder)
    if not (place / CONFIG).is_file():
        return BestConfig(trial, None, f"its {CONFIG} is not on this machine: {place}")
    config = OmegaConf.load(place / CONFIG)
    config.name = f"{study.study_name}-{config.name}"  # it is no trial of the sweep
    lines = [
        f"Trial {trial.number} of {study.study_name}: {scored(study, trial.values)}",
        *([f"With other seeds: {_estimated(study, sure)}"] if sure and sure.values else []),
        "",
        f"    python -m rlexp rerun {path_from_here(file)}",
        "",
        f"Its run: {path_from_here(place)}",
        f"The sweep: {study.user_attrs.get(COMMAND, 'not told')}",
    ]
    comment = "\n".join(f"# {line}".rstrip() for line in lines)
    write_atomically(file, f"{comment}\n{OmegaConf.to_yaml(config)}")
    return BestConfig(trial, file)


def trial_folder(trial: FrozenTrial, sweep_folder: Path) -> Path:
    """Where a trial was run, on whichever machine."""
    told = trial.user_attrs.get(FOLDER)
    place = sweep_folder / (Path(told).name if told else str(trial.number))
    return place if place.is_dir() or told is None else Path(told)


def scored(study: optuna.Study, values: Sequence[float]) -> str:
    """Objectives and their values."""
    names = study.user_attrs[OBJECTIVES]
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))


def _estimated(study: optuna.Study, sure: Confirmed) -> str:
    names = study.user_attrs[OBJECTIVES]
    found = [f"{name} {sure.estimate(index)}" for index, name in enumerate(names)]
    return f"{', '.join(found)} (means of {len(sure.values)}, with 95% t intervals)"


def path_from_here(path: Path) -> str:
    """A path as it is typed from the current folder, where it stands below."""
    try:
        return os.fspath(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return os.fspath(path)
