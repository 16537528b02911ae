"""How a run is resumed: from which checkpoint, and with what changed.

What decides the numbers stays as it was: with another learning rate it would be another run under
the old one's name. What may change is how long it trains, what it keeps and tells, and where it
computes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlexp.config.overrides import overridden
from rlexp.config.stored import Config, read_config
from rlexp.runtime.checkpoints import complete_checkpoints, remove_cut_off
from rlexp.runtime.run_folder import CHECKPOINTS, CONFIG, SPOOL
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_paths, key_values
from rlexp.spec.run import RunSpec
from rlexp.tracking.spool.history import RunHistory

CHANGEABLE = (
    "train.max_steps",
    "train.micro_batch_size",
    "train.gradient_checkpointing",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.best_metric",
    "train.best_mode",
    "scoring",
    "eval.name",
    "eval.every",
    "eval.batch_size",
    "eval.bootstrap",
    "guards",
    "hardware",
    "tracking.name",
    "tracking.uri",
    "tracking.registry",
    "tracking.tags",
    "tracking.log_model",
)
"""Keys, with all below them, whose values do not make it another run."""
GROUPS = ("eval", "guards", "hardware", "tracking")


@dataclass(frozen=True)
class Resumption:
    """A run that can be resumed."""

    spec: RunSpec
    """What is left to do, with what the user has changed."""
    config: Config
    """The same, resolved, for `config.yaml`."""
    checkpoint: Path | None
    """What the training goes on from; None begins at step 0."""
    cut_off: tuple[Path, ...]
    """Checkpoints that were not written to their end."""


def plan_resume(folder: Path, overrides: Sequence[str]) -> Resumption:
    """Return how the run in the folder is resumed; cut-off checkpoints are removed.

    Overrides are `key=value`, or `group=choice` for one of `GROUPS`. Raises `UserError` with
    everything that keeps it from going on.
    """
    history = RunHistory.read(folder / SPOOL)
    if history is None or not (folder / CONFIG).is_file():
        want = f"the folder of a run, with {CONFIG} and {SPOOL}"
        raise UserError(Problem(str(folder), "a folder in which no run has begun", want))
    before = read_config(folder / CONFIG)
    problems: list[Problem] = []
    config = overridden(before, overrides, GROUPS, _may_change, problems)
    problems += _forbidden_changes(before, config, folder)
    spec = None
    try:
        spec = RunSpec.parse(config, list(key_paths(config)))
    except UserError as error:
        problems += error.problems
    checkpoints = complete_checkpoints(folder / CHECKPOINTS)
    if spec is not None:
        done = max(history.points, default=0)
        problems += _steps_left(folder, history, before["train"]["max_steps"], done, spec)
    if problems or spec is None:
        raise UserError(problems)
    cut_off = tuple(remove_cut_off(folder / CHECKPOINTS))
    return Resumption(spec, config, checkpoints[-1] if checkpoints else None, cut_off)


def _may_change(key: str) -> bool:
    """Whether a key may have another value, or be one that the run is too old to have."""
    return any(key == name or key.startswith(f"{name}.") for name in CHANGEABLE)


def _forbidden_changes(before: Config, after: Config, folder: Path) -> Iterator[Problem]:
    """Yield each key that has another value and would make it another run."""
    old, new = dict(key_values(before)), dict(key_values(after))
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) != new.get(key) and not _may_change(key):
            want = f"{old.get(key)}, with which the run began"
            words = shlex.join(["rerun", str(folder), f"{key}={new.get(key)}"])
            remedy = f"With another value it is a new run: python -m rlexp {words}"
            yield Problem(key, str(new.get(key)), want, remedy)


def _steps_left(
    folder: Path, history: RunHistory, old: int, done: int, spec: RunSpec
) -> list[Problem]:
    """Return what is wrong with the number of steps, for a run that has come to step `done`."""
    new, key = spec.train.max_steps, "train.max_steps"
    longer = f"python -m rlexp resume {shlex.quote(str(folder))} {key}={2 * max(old, new)}"
    if history.status == "FINISHED" and not spec.algo.trains:
        remedy = f"Once more: python -m rlexp rerun {shlex.quote(str(folder))}"
        return [Problem(str(folder), "a run that has finished", "one that was cut off", remedy)]
    if history.status == "FINISHED" and new <= old and history.stopped_at is None:
        remedy = f"Train it for longer: {longer}"
        if new == old:
            got = f"a run that has finished, at step {old}"
            return [Problem(str(folder), got, "a run that has steps left", remedy)]
        return [Problem(key, str(new), f"more than {old}, which the run has finished", remedy)]
    if new < done:
        want = f"at least {done}: the run has come to that step"
        return [Problem(key, str(new), want, f"Leave it away, or train for longer: {longer}")]
    return []
