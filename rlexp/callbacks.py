"""What happens between the steps of a training: checkpoints, evaluations, a guard, a progress bar.

transformers writes a checkpoint as `checkpoint-40`; once it is complete it is renamed to
`step-000040`. A folder of the first name is one that was cut off while being written.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rlexp.spec.errors import RunFailed
from rlexp.spec.run import RunSpec
from rlexp.tracking.callback import tracking_callback


def checkpoint_name(step: int) -> str:
    """`step-000040` for 40: sorts by name as by number."""
    return f"step-{step:06d}"


def complete_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(folder.glob("step-*"))


class Checkpoints(TrainerCallback):
    """Marks checkpoints as complete, keeps the newest ones, and tells the tracker of them."""

    def __init__(self, folder: Path, keep: int, saved: Callable[[int, Path], None]) -> None:
        self.folder, self.keep, self.saved = folder, keep, saved

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        written = self.folder / f"checkpoint-{state.global_step}"
        complete = self.folder / checkpoint_name(state.global_step)
        if complete.exists():
            shutil.rmtree(complete)
        written.rename(complete)
        self.saved(state.global_step, complete)
        for old in complete_checkpoints(self.folder)[: -self.keep]:
            shutil.rmtree(old)


class StopOnNaN(TrainerCallback):
    """Ends a run whose loss or gradient is no number, before a checkpoint of it is kept."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        for name in ("loss", "grad_norm"):
            value = (logs or {}).get(name)
            if value is not None and not math.isfinite(value):
                raise RunFailed(
                    f"{name} became {value} at step {state.global_step}",
                    "a learning rate that is too large, or a precision too coarse for the model",
                    "lower algo.learning_rate (a third is a good next try), raise "
                    "train.warmup_steps, or set model.dtype=float32 "
                    "hardware.mixed_precision=no",
                )


class EvaluateEvery(TrainerCallback):
    """Calls `evaluate(step)` every so many steps; the last step is left to the run's end."""

    def __init__(self, every: int, evaluate: Callable[[int], None]) -> None:
        self.every, self.evaluate = every, evaluate

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        if self.every and step % self.every == 0 and step < state.max_steps:
            self.evaluate(step)


class Advance(TrainerCallback):
    """Tells the progress bar of each step, with the number people watch."""

    def __init__(self, advance: Callable[[int, int, str], None]) -> None:
        self.advance = advance

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        shown = {name: (logs or {}).get(name) for name in ("reward", "loss", "kl")}
        text = "  ".join(
            f"{name} {value:.3f}" for name, value in shown.items() if value is not None
        )
        if text:
            self.advance(state.global_step, state.max_steps, text)


def observing_callbacks(
    spec: RunSpec, checkpoints: Path, observer: Any, advance: Callable[[int, int, str], None]
) -> list[TrainerCallback]:
    """What the first process does between steps, in this order: record, look, keep."""
    return [
        tracking_callback(observer.tracker),
        EvaluateEvery(spec.eval.every, observer.look_during),
        Checkpoints(checkpoints, spec.train.keep_checkpoints, observer.checkpoint_saved),
        Advance(advance),
    ]
