"""What a real trainer logs reaches the spool, with the speed of training alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tracking_spec import tracking_spec
from transformers import Trainer, TrainerState, TrainingArguments

from rlexp.tracking import Tracker
from rlexp.tracking.callback import StepClock, tracking_callback
from rlexp.tracking.spool.spool import read_events


class Line(torch.nn.Module):
    """The smallest thing that a Trainer can train."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        return {"loss": ((self.slope * x - labels) ** 2).mean()}


def train(folder: Path, tracker: Tracker) -> None:
    rows = [{"x": float(i), "labels": 2.0 * i} for i in range(8)]
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        max_steps=4,
        logging_steps=2,
        gradient_accumulation_steps=2,
        per_device_train_batch_size=2,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    callbacks = [tracking_callback(tracker)]
    Trainer(Line(), arguments, train_dataset=rows, callbacks=callbacks).train()  # pyright: ignore[reportArgumentType]


def test_trainer_logs_under_our_names(tmp_path: Path) -> None:
    """Metrics under a trainer's own names, or at wrong steps, make runs impossible to compare."""
    with Tracker.open(tracking_spec(None), tmp_path / "run") as tracker:
        train(tmp_path, tracker)
    events = [event for event, _ in read_events(tmp_path / "run" / "spool.jsonl")]
    logged = [(e["step"], e["metrics"]) for e in events if e["kind"] == "metrics"]
    assert logged == tracker.history
    assert [step for step, _ in logged] == [2, 4, 4]
    for _, metrics in logged[:2]:
        assert {"train/loss", "train/grad_norm", "train/lr", "perf/step_seconds"} <= set(metrics)
        assert metrics["perf/step_seconds"] > 0
    # The summary after the last step has no steps of its own to time.
    assert "perf/train_seconds" in logged[2][1]
    assert "perf/step_seconds" not in logged[2][1]
    assert not any("epoch" in name for _, metrics in logged for name in metrics)


def test_other_processes_do_not_log(tmp_path: Path) -> None:
    """With several processes each would write every metric once more."""
    with Tracker.open(tracking_spec(None), tmp_path / "run") as tracker:
        callback = tracking_callback(tracker)

        class State:
            is_world_process_zero = False
            global_step = 1

        callback.on_log(None, State(), None, logs={"loss": 1.0})  # pyright: ignore[reportArgumentType]
    assert tracker.history == []


def test_speed_counts_tokens_and_seconds_of_the_steps_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An evaluation between two steps, or tokens counted twice, would falsify the rate."""
    now = [0.0]
    monkeypatch.setattr("rlexp.tracking.callback.time.perf_counter", lambda: now[0])
    clock = StepClock()

    def step(seconds: float, pause: float) -> None:
        clock.begin()
        now[0] += seconds
        clock.end()
        now[0] += pause

    step(2.0, pause=50.0)
    step(4.0, pause=0.0)
    first = clock.speed({"perf/tokens": 600.0})
    assert first == {"perf/step_seconds": 3.0, "perf/tokens_per_second": 100.0}
    step(1.0, pause=0.0)
    second = clock.speed({"perf/tokens": 650.0})
    assert second == {"perf/step_seconds": 1.0, "perf/tokens_per_second": 50.0}
    assert clock.speed({"perf/tokens": 650.0}) == {}


@pytest.mark.parametrize("counts_on", [False, True], ids=["from 0 again", "on"])
def test_a_run_that_goes_on_counts_on(counts_on: bool, tmp_path: Path) -> None:
    """Some trainers forget in a checkpoint how many tokens they have seen, and all of them the
    losses before it; a rate that counts the tokens of both attempts as those of one step."""
    spec = tracking_spec(None)
    with Tracker.open(spec, tmp_path / "run") as tracker:
        callback: Any = tracking_callback(tracker)
        for step in (1, 2):
            callback.on_log(
                None, at(step), None, logs={"loss": float(step), "num_tokens": 100.0 * step}
            )
    with Tracker.open(spec, tmp_path / "run") as tracker:
        callback = tracking_callback(tracker)
        callback.on_train_begin(None, at(2, seen=200 if counts_on else 0), None)
        callback.on_step_begin(None, at(2), None)
        callback.on_optimizer_step(None, at(2), None)
        tokens = 300.0 if counts_on else 100.0
        logs = {"loss": 6.0, "num_tokens": tokens}
        callback.on_log(None, at(3), None, logs=logs)
        callback.on_log(None, at(3), None, logs={"train_loss": 6.0})
        told = {name: value for _, metrics in tracker.history for name, value in metrics.items()}
    assert told["perf/tokens"] == 300.0
    rate = told["perf/tokens_per_second"] * told["perf/step_seconds"]
    assert rate == pytest.approx(100.0)
    assert told["train/mean_loss"] == 3.0


def at(step: int, seen: int = 0) -> TrainerState:
    """A trainer's state at a step, with the tokens that it has counted."""
    return TrainerState(global_step=step, num_input_tokens_seen=seen, is_world_process_zero=True)
