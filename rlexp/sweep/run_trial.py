"""A trial of a sweep is a run: begun, gone on with, or found to be finished already."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from rlexp.config.stored import write_config
from rlexp.launch.launcher import launch
from rlexp.launch.resume_plan import plan_resume
from rlexp.runner.pruning import PRUNED, TrialReporter
from rlexp.runtime.lock import is_held
from rlexp.runtime.run_folder import CARD, SPOOL
from rlexp.spec.errors import Pruned
from rlexp.spec.run import RunSpec
from rlexp.spec.sweep import COSTS, SweepSpec
from rlexp.sweep.trial import attached
from rlexp.tracking.spool.history import RunHistory
from rlexp.tracking.spool.parent_run import parent_run

Config = dict[str, Any]

MENDED_WITHIN = 60.0
"""Seconds that another process may take to send what a dead run has left."""


def run_trial(config: Config, folder: Path, sweep: SweepSpec, number: int) -> list[float] | None:
    """Run a trial in this process, and tell the study what came of it.

    Args:
        config: composed and resolved, without `sweep`.
        folder: of the trial; one that a killed process has left is gone on with.
        sweep: what it is a trial of.
        number: of the trial.

    Returns:
        The objectives; None for a pruned trial.

    Raises:
        UserError, RunFailed: as the run does; the study has been told.
    """
    try:
        with attached(sweep, number) as trial:
            trial.note(folder=str(folder.absolute()))
            _run(trial_config(config, folder, number, sweep), folder, trial.reporter)
            card = json.loads((folder / CARD).read_text(encoding="utf-8"))
            trial.note(run_id=card["run_id"])
            trial.finish(card_metrics(card))
            return trial.values
    except Pruned:
        return None


def trial_config(config: Config, folder: Path, number: int, sweep: SweepSpec) -> Config:
    """The config of a trial: its name, and its share of the cores.

    One that confirms another is called as its folder is, since its number is no trial's.
    """
    hardware = config["hardware"]
    if hardware["threads"] is None:
        share = (os.cpu_count() or 1) // (sweep.n_jobs * hardware["processes"])
        hardware = {**hardware, "threads": max(1, share)}
    name = f"trial-{number:03d}" if folder.name == str(number) else folder.name
    return {**config, "name": name, "hardware": hardware}


def _run(config: Config, folder: Path, reporter: TrialReporter | None) -> None:
    """Do what is left of the trial, if anything is.

    Raises:
        Pruned: by this attempt, or by an earlier one that died before the study knew.
    """
    wait_for_lock(folder)
    history = RunHistory.read(folder / SPOOL)
    if history is None:
        spec = RunSpec.parse(config)
        write_config(folder, config)
        launch(spec, folder, parent_run(folder.parent), reporter=reporter)
    elif pruned := history.events.get(PRUNED):
        raise Pruned(pruned[-1]["step"])
    elif history.status != "FINISHED":
        resumption = plan_resume(folder, [])
        launch(resumption.spec, folder, None, resumption.checkpoint, reporter)


def wait_for_lock(folder: Path) -> None:
    """Wait while somebody ends the run that a killed process has left: other runs do that."""
    deadline = time.monotonic() + MENDED_WITHIN
    while is_held(folder) and time.monotonic() < deadline:
        time.sleep(0.1)


def card_metrics(card: dict[str, Any]) -> dict[str, float]:
    """The numbers of a card by the names that a sweep's objective has; NaN for null."""
    metrics = {f"eval/{name}": value for name, value in card["after"].items()}
    metrics["eval/win_rate"] = card["win_rate"]
    metrics |= {f"perf/{name}": card[name] for name in COSTS}
    return {name: math.nan if value is None else value for name, value in metrics.items()}
