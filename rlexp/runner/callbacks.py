"""What happens between the steps of a training: checkpoints, evaluations, guards, a bar.

Parameters without a type have the one that transformers' TrainerCallback gives them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainingArguments

from rlexp.evaluation.results import Evaluation
from rlexp.guards.divergence import check_numbers
from rlexp.guards.monitor import GuardMonitor
from rlexp.guards.probes import Probe, serve_probes
from rlexp.rendering.numbers import number
from rlexp.runner.judge_costs import JudgeUsage
from rlexp.runtime.checkpoints import seal
from rlexp.runtime.collective import broadcast
from rlexp.spec.curriculum import Pacer
from rlexp.spec.reward import WEIGHTED_SUM
from rlexp.spec.schedule import Weight, shares_at

PACE = "curriculum.json"
"""File of a checkpoint: what a curriculum's pace has opened, and why."""
Logs = dict[str, Any] | None
"""What a trainer logs of a step."""


class Checkpoints(TrainerCallback):
    """Makes what a trainer wrote a complete checkpoint, and tells `saved` of its step and folder.

    `flush` is called first, so that the disk knows all that the checkpoint is about.
    """

    def __init__(
        self, folder: Path, flush: Callable[[], None], saved: Callable[[int, Path], None]
    ) -> None:
        self.folder, self.flush, self.saved = folder, flush, saved

    def on_save(self, args, state, control, **kwargs) -> None:
        self.flush()
        self.saved(state.global_step, seal(self.folder, state.global_step))


class BarrierOnSave(TrainerCallback):
    """Waits until every process has written its part of a checkpoint, its random state."""

    def on_save(self, args, state, control, **kwargs) -> None:
        PartialState().wait_for_everyone()


class SaveBetweenRollouts(TrainerCallback):
    """Puts a checkpoint off until the trainer needs new answers.

    TRL's trainers that learn from a batch of answers in several optimizer steps do not write the
    answers into a checkpoint: a training could not go on from the middle of a batch.
    """

    def __init__(self) -> None:
        self.due = False

    def on_step_end(self, args, state, control, **kwargs) -> None:
        cycle = steps_a_rollout(args)
        self.due = self.due or control.should_save
        ends = state.global_step % cycle == 0 or state.global_step >= state.max_steps
        control.should_save = self.due and ends
        self.due = self.due and not ends


def steps_a_rollout(arguments: TrainingArguments) -> int:
    """Return the optimizer steps after which a trainer with these arguments samples anew."""
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
        self, args, state, control, lr_scheduler=None, train_dataloader=None, **kwargs
    ) -> None:
        if state.global_step == 0:
            return
        assert lr_scheduler is not None and state.epoch is not None  # a trainer gives both
        state.compute_steps(args, state.max_steps)
        lr_scheduler.last_epoch -= 1
        lr_scheduler.step()  # the same place of what may be another schedule
        batches = getattr(train_dataloader, "batch_sampler", None)
        sampler = getattr(getattr(batches, "batch_sampler", batches), "sampler", None)
        if sampler is not None and hasattr(sampler, "repeat_count"):
            for _ in range(int(state.epoch)):
                next(iter(sampler))  # draws the order of one pass


class FollowPace(TrainerCallback):
    """Tells a curriculum's pacer of the rollouts' reward, logs the open share, and keeps its state.

    In all processes, which hear the first one's reward and so open the same rows.
    """

    def __init__(self, pacer: Pacer, resume: Path | None) -> None:
        """
        Args:
            pacer: the curriculum's; it takes the state that the checkpoint `resume` has.
            resume: checkpoint that the training goes on from.
        """
        self.pacer = pacer
        if resume and pacer.state():
            pacer.load_state(json.loads((resume / PACE).read_text(encoding="utf-8")))

    def on_log(self, args, state, control, logs: Logs = None, **kwargs) -> None:
        if not logs or "loss" not in logs:
            return
        step = state.global_step
        logs["curriculum_share"] = self.pacer.share(step - 1)
        # of all prompts that were drawn, where some were replaced because of what they earn
        earned = logs.get("rollout/reward_drawn", logs.get(WEIGHTED_SUM, logs.get("reward")))
        if self.pacer.state() and (reward := broadcast(earned)) is not None:
            self.pacer.observe(step, reward, steps_a_rollout(args))

    def on_save(self, args, state, control, **kwargs) -> None:
        if self.pacer.state() and state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            (folder / PACE).write_text(json.dumps(self.pacer.state()) + "\n", encoding="utf-8")


class LogShares(TrainerCallback):
    """Logs what share of a step's rows each weighted source has, where that moves."""

    def __init__(self, weights: Mapping[str, Weight]) -> None:
        self.weights = weights

    def on_log(self, args, state, control, logs: Logs = None, **kwargs) -> None:
        if logs and "loss" in logs and any(len(one.points) > 1 for one in self.weights.values()):
            shares = shares_at(self.weights, state.global_step - 1)
            logs |= {f"train/source_share_{name}": share for name, share in shares.items()}


class LogJudgeUsage(TrainerCallback):
    """Adds what the run's judges have cost to what is logged; in all processes."""

    def __init__(self, usage: JudgeUsage) -> None:
        self.usage = usage

    def on_log(self, args, state, control, logs: Logs = None, **kwargs) -> None:
        amounts = self.usage.gather()
        if logs:
            logs |= {name: value for name, value in amounts.items() if value}


class StopOnNaN(TrainerCallback):
    """Ends a run that has diverged, before a checkpoint of it is kept."""

    def on_log(self, args, state, control, logs: Logs = None, **kwargs) -> None:
        # With scaled losses an infinite gradient is a step that is left out, at a scale that is too
        # large yet.
        skipped = ("grad_norm",) if args.fp16 else ()
        kept = {name: value for name, value in (logs or {}).items() if name not in skipped}
        check_numbers(kept, state.global_step)


class EvaluateEvery(TrainerCallback):
    """Evaluates every so many steps, in all processes; the last step is left to the run's end.

    A run that is to be given up (`evaluate` says so) then ends its training, without a checkpoint
    of that step: `pruned_at`. `every` 0 never evaluates.
    """

    def __init__(self, every: int, evaluate: Callable[[int], bool]) -> None:
        self.every, self.evaluate = every, evaluate
        self.pruned_at: int | None = None

    def on_step_end(self, args, state, control, **kwargs) -> None:
        step = state.global_step
        if not self.every or step % self.every or step >= state.max_steps:
            return
        if self.evaluate(step):
            self.pruned_at = step
            control.should_training_stop, control.should_save = True, False


class CheckGuards(TrainerCallback):
    """Lets the guards judge each step by its logs; it comes last of all, in all processes.

    Where a guard stops the run, no checkpoint is kept of that step: the last one before it is what
    to go on from. The monitor is the first process's; the others have none.
    """

    def __init__(
        self, monitor: GuardMonitor | None, take_probe: Callable[[Probe], Evaluation]
    ) -> None:
        self.monitor, self.take_probe = monitor, take_probe

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        if self.monitor:
            self.monitor.restore(state.global_step)

    def on_log(self, args, state, control, logs: Logs = None, **kwargs) -> None:
        if not logs or "loss" not in logs:  # trainers also log once at the end
            return
        step = state.global_step
        serve_probes(self.monitor.check_step(step, logs) if self.monitor else None, self.take_probe)
        if broadcast(self.monitor is not None and self.monitor.stopped is not None):
            control.should_training_stop, control.should_save = True, False


class BestMetric(TrainerCallback):
    """Calls `check()` once, when all that a training logs has been logged."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check, self.checked = check, False

    def on_log(self, args, state, control, **kwargs) -> None:
        if not self.checked:
            self.check()
        self.checked = True


class ProgressBar(TrainerCallback):
    """Tells the progress bar of each step, with the number people watch."""

    def __init__(self, advance: Callable[[int, int, str], None]) -> None:
        self.advance = advance

    def on_log(self, args, state, control, logs: Logs = None, **kwargs) -> None:
        shown = {name: (logs or {}).get(name) for name in ("reward", "loss", "kl")}
        if logs and WEIGHTED_SUM in logs:  # the reward itself is whitened
            shown["reward"] = logs[WEIGHTED_SUM]
        words = [f"{name} {number(value)}" for name, value in shown.items() if value is not None]
        if words:
            self.advance(state.global_step, state.max_steps, "  ".join(words))
