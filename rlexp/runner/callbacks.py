"""What happens between the steps of a training: checkpoints, evaluations, guards, a bar."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from rlexp.guards.divergence import check_numbers
from rlexp.runner.judge_costs import JudgeUsage
from rlexp.runtime.checkpoints import seal
from rlexp.spec.run import RunSpec
from rlexp.tracking.callback import tracking_callback


class Checkpoints(TrainerCallback):
    """Makes what a trainer wrote a complete checkpoint.

    Args:
        folder: of the run's checkpoints.
        flush: called first, so that the disk knows all that the checkpoint is about.
        saved: called with the step and the folder of each.
    """

    def __init__(
        self, folder: Path, flush: Callable[[], None], saved: Callable[[int, Path], None]
    ) -> None:
        self.folder, self.flush, self.saved = folder, flush, saved

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.flush()
        self.saved(state.global_step, seal(self.folder, state.global_step))


class BarrierOnSave(TrainerCallback):
    """Waits until every process has written its part of a checkpoint, its random state."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        PartialState().wait_for_everyone()


class SaveBetweenRollouts(TrainerCallback):
    """Puts a checkpoint off until the trainer needs new answers.

    TRL's trainers that learn from a batch of answers in several optimizer steps do not write the
    answers into a checkpoint: a training could not go on from the middle of a batch.
    """

    def __init__(self) -> None:
        self.due = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        cycle = steps_a_rollout(args)
        self.due = self.due or control.should_save
        ends = state.global_step % cycle == 0 or state.global_step >= state.max_steps
        control.should_save = self.due and ends
        self.due = self.due and not ends


def steps_a_rollout(arguments: Any) -> int:
    """Optimizer steps after which a trainer of these transformers or TRL arguments samples anew."""
    accumulated = arguments.gradient_accumulation_steps
    batches = getattr(arguments, "steps_per_generation", None) or accumulated
    passes = getattr(arguments, "num_iterations", 1)
    return math.lcm(batches * passes, accumulated) // accumulated


class RestoreTrainerState(TrainerCallback):
    """Puts right what a training that goes on from a checkpoint has otherwise wrong.

    A checkpoint brings back the intervals between saves and logs, and the learning rate of the
    schedule that it was made under, though the user may have changed both; and TRL's sampler of
    repeated prompts begins with the first pass over the data whichever one is under way.
    """

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        lr_scheduler: Any = None,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        if state.global_step == 0:
            return
        state.compute_steps(args, state.max_steps)
        lr_scheduler.last_epoch -= 1
        lr_scheduler.step()  # the same place of what may be another schedule
        batches = getattr(train_dataloader, "batch_sampler", None)
        sampler: Any = getattr(getattr(batches, "batch_sampler", batches), "sampler", None)
        if hasattr(sampler, "repeat_count"):
            for _ in range(int(state.epoch)):
                next(iter(sampler))  # draws the order of one pass


class LogJudgeUsage(TrainerCallback):
    """Adds what the run's judges have cost to what is logged; in all processes."""

    def __init__(self, spending: JudgeUsage) -> None:
        self.spending = spending

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        amounts = self.spending.gather()
        if logs:
            logs |= {name: value for name, value in amounts.items() if value}


class StopOnNaN(TrainerCallback):
    """Ends a run that has diverged, before a checkpoint of it is kept."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        check_numbers(logs or {}, state.global_step)


class EvaluateEvery(TrainerCallback):
    """Calls `evaluate(step)` every so many steps; the last step is left to the run's end."""

    def __init__(self, every: int, evaluate: Callable[[int], None]) -> None:
        self.every, self.evaluate = every, evaluate

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        if self.every and step % self.every == 0 and step < state.max_steps:
            self.evaluate(step)


class StopPrunedTrial(TrainerCallback):
    """Ends a trial that its sweep's pruner has given up, in all processes at the same step.

    Args:
        every: steps between evaluations, after which it is decided.
        hopeless: asked in the first process, behind the evaluation.

    Attributes:
        step: at which it was given up; None while there is hope.
    """

    def __init__(self, every: int, hopeless: Callable[[], bool]) -> None:
        self.every, self.hopeless = every, hopeless
        self.step: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        if not self.every or step % self.every or step >= state.max_steps:
            return
        (hopeless,) = broadcast_object_list([self.hopeless()])
        if hopeless:
            self.step = step
            control.should_training_stop, control.should_save = True, False


class Guards(TrainerCallback):
    """Lets the guards judge each step by its logs, in the first process; they come last of all.

    Args:
        watcher: a `rlexp.guards.monitor.GuardMonitor`.
    """

    def __init__(self, watcher: Any) -> None:
        self.watcher = watcher

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watcher.go_on(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:  # trainers also log once at the end
            self.watcher.after_step(state.global_step, logs)


class StopByGuard(TrainerCallback):
    """Ends the training when a guard says so, in all processes at the same step.

    No checkpoint is kept of that step: the last one before it is what to go on from.

    Args:
        stopped: asked in the first process, behind the guards.
    """

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self.stopped = stopped

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        (stopped,) = broadcast_object_list([self.stopped()])
        if stopped:
            control.should_training_stop, control.should_save = True, False


class BestMetric(TrainerCallback):
    """Calls `check()` once, when all that a training logs has been logged."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check, self.checked = check, False

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.checked:
            self.check()
        self.checked = True


class ProgressBar(TrainerCallback):
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


def callbacks_of_all(spending: JudgeUsage) -> list[TrainerCallback]:
    """What every process does between steps."""
    return [
        LogJudgeUsage(spending),
        StopOnNaN(),
        RestoreTrainerState(),
        SaveBetweenRollouts(),
        BarrierOnSave(),
    ]


def observing_callbacks(
    spec: RunSpec, checkpoints: Path, observer: Any, advance: Callable[[int, int, str], None]
) -> list[TrainerCallback]:
    """What the first process does between steps, in this order: record, look, keep, judge."""
    return [
        tracking_callback(observer.tracker),
        BestMetric(observer.checkpoints.check_metric),
        EvaluateEvery(spec.eval.every, observer.look_during),
        Checkpoints(checkpoints, observer.tracker.flush, observer.checkpoint_saved),
        ProgressBar(advance),
        Guards(observer.watcher),
    ]
