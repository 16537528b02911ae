"""A trainer callback that passes what the trainer logs on to the tracker, under rlexp's names."""

from __future__ import annotations

import time
from statistics import fmean
from typing import TYPE_CHECKING

from rlexp.tracking.metric_names import tracked_metrics
from rlexp.tracking.tracker import Tracker

if TYPE_CHECKING:
    from transformers import TrainerCallback

Logs = dict[str, float] | None
"""What a trainer logs of a step."""


def tracking_callback(tracker: Tracker) -> TrainerCallback:
    """Return a callback for any transformers or TRL trainer; of several processes the first logs.

    It adds `perf/step_seconds`, the mean time of an optimizer step since the last log, and
    `perf/tokens_per_second` where the trainer counts tokens. Both take the training alone: what
    other callbacks do between steps, such as evaluating, is not in them.
    """
    from transformers import TrainerCallback

    class TrackingCallback(TrainerCallback):
        def __init__(self) -> None:
            self._clock = StepClock()
            self._uncounted = 0.0

        def on_train_begin(self, args, state, control, **kwargs) -> None:
            counted, step = state.num_input_tokens_seen, state.global_step
            earlier = [metrics for at, metrics in tracker.history if at <= step]
            tokens = max(counted, *(metrics.get("perf/tokens", 0.0) for metrics in earlier), 0.0)
            # Some of TRL's trainers count from 0 again when they go on from a checkpoint.
            self._uncounted = tokens - counted
            self._clock = StepClock(tokens)

        def on_step_begin(self, args, state, control, **kwargs) -> None:
            self._clock.begin()

        def on_optimizer_step(self, args, state, control, **kwargs) -> None:
            self._clock.end()

        def on_log(self, args, state, control, logs: Logs = None, **kwargs) -> None:
            if logs and state.is_world_process_zero:
                metrics = tracked_metrics(logs)
                if "perf/tokens" in metrics:
                    metrics["perf/tokens"] += self._uncounted
                if "train/mean_loss" in metrics:  # the trainer knows its own attempt only
                    logged = [metrics.get("train/loss") for _, metrics in tracker.history]
                    losses = [loss for loss in logged if loss is not None]
                    metrics["train/mean_loss"] = fmean(losses)
                tracker.log(metrics | self._clock.speed(metrics), state.global_step)

    return TrackingCallback()


class StepClock:
    """Measures optimizer steps between two logs, from the `tokens` on that were counted before."""

    def __init__(self, tokens: float = 0.0) -> None:
        self._tokens = tokens
        self._began: float | None = None
        self._seconds = 0.0
        self._steps = 0

    def begin(self) -> None:
        self._began = time.perf_counter()

    def end(self) -> None:
        if self._began is not None:
            self._seconds += time.perf_counter() - self._began
            self._steps += 1
            self._began = None

    def speed(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return the metrics of the steps since the last call; none when there were no steps."""
        if not self._steps:
            return {}
        speed = {"perf/step_seconds": self._seconds / self._steps}
        tokens = metrics.get("perf/tokens")
        if tokens is not None:
            speed["perf/tokens_per_second"] = (tokens - self._tokens) / self._seconds
            self._tokens = tokens
        self._seconds, self._steps = 0.0, 0
        return speed
