"""The training of a run: its trainer built, its callbacks in their order, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback

from rlexp.algos.common.trl import Training
from rlexp.curriculum.batches import Curriculum
from rlexp.guards.final_checks import masked_notes
from rlexp.models.policy import Policy
from rlexp.models.saving import name_base, save_policy
from rlexp.runner import callbacks as between_steps
from rlexp.runner.parts import RunParts
from rlexp.runtime.checkpoints import step_of
from rlexp.runtime.device import is_main_process
from rlexp.runtime.run_folder import CHECKPOINTS, MODEL
from rlexp.scoring import Scorer
from rlexp.scoring.checkpointing import load_moments, save_moments
from rlexp.spec.algo import TrainerLike
from rlexp.spec.errors import Pruned
from rlexp.tracking.callback import tracking_callback

Rows = list[dict[str, Any]]


def train(
    parts: RunParts,
    policy: Policy,
    rows: Rows,
    scorer: Scorer,
    resume: Path | None,
    curriculum: Curriculum | None = None,
) -> None:
    """Train the policy on framed rows, on from a checkpoint to `resume`; every process does.

    A curriculum says which of the rows each batch has; without one the trainer does. The policy's
    model is the trained one afterwards; it is left in the run's folder as well.

    Raises:
        Pruned: a reporter has given the run up.
    """
    spec, checkpoints, recorder = parts.spec, parts.folder / CHECKPOINTS, parts.recorder
    evaluate = between_steps.EvaluateEvery(spec.eval.every, parts.evaluator.evaluate_step)
    with recorder.bar("training") as advance:
        callbacks = _callbacks(parts, scorer, evaluate, checkpoints, advance)
        if curriculum and curriculum.pacer:
            callbacks.insert(0, between_steps.FollowPace(curriculum.pacer, resume))
        if curriculum:
            callbacks.insert(0, between_steps.LogShares(curriculum.weights))
        bf16, fp16 = policy.precision == "bf16", policy.precision == "fp16"
        training = Training(
            spec, policy, rows, checkpoints, bf16, callbacks, scorer, curriculum, mixed_fp16=fp16
        )
        begins = f", on from {resume.name}" if resume else ""
        steps = f"{spec.train.max_steps} steps of {spec.train.batch_size}"
        recorder.say(f"{'training':12} {steps}{begins}")
        trainer = spec.algo.build_trainer(training)
        trainer.remove_callback(PrinterCallback)
        if resume:
            load_moments(scorer, resume)
        policy.model = trainer.model  # with the adapter, where there is one
        name_base(policy)
        with recorder.phase("train"):
            _train_from(resume, trainer, spec.train.max_steps)
        if evaluate.pruned_at is not None:
            raise Pruned(evaluate.pruned_at)
    if parts.card and getattr(spec.algo, "mask_truncated_completions", False):
        recorder.notes += masked_notes(parts.card.recorder.tracker.history)
    # Accelerate's autocast stays on the model's forward: an evaluation after training would
    # otherwise be in another precision than the one before.
    policy.model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    merged = spec.peft.kind != "none" and spec.peft.save == "merged"
    save_policy(policy, parts.folder / MODEL, merged=merged, write=is_main_process())


def _callbacks(
    parts: RunParts,
    scorer: Scorer,
    evaluate: between_steps.EvaluateEvery,
    checkpoints: Path,
    advance: Callable[[int, int, str], None],
) -> list[TrainerCallback]:
    """Return what happens between steps, in this order: record, evaluate, keep, judge."""
    card = parts.card
    callbacks: list[TrainerCallback] = [
        between_steps.LogJudgeUsage(parts.recorder.usage),
        between_steps.StopOnNaN(),
        between_steps.RestoreTrainerState(),
        between_steps.SaveBetweenRollouts(),
        between_steps.BarrierOnSave(),
        save_moments(scorer),
    ]
    if card:
        tracker, checked = card.recorder.tracker, card.recorder.checkpoints
        best_metric = between_steps.BestMetric(checked.check_metric)
        callbacks += [tracking_callback(tracker), best_metric]
    callbacks.append(evaluate)
    if card:
        flush, saved = card.recorder.tracker.flush, card.recorder.checkpoint_saved
        keep = between_steps.Checkpoints(checkpoints, flush, saved)
        callbacks += [keep, between_steps.ProgressBar(advance)]
        if card.monitor.reads_rollouts:
            scorer.heard = card.monitor.on_rollout
    if parts.spec.guards.watched():
        monitor = card.monitor if card else None
        callbacks.append(between_steps.CheckGuards(monitor, parts.evaluator.take_probe))
    return callbacks


def _train_from(checkpoint: Path | None, trainer: TrainerLike, steps: int) -> None:
    if checkpoint is None:
        trainer.train()
    elif step_of(checkpoint) < steps:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    else:  # only what comes after training is missing; trainers would add a step
        from rlexp.trainers.checkpoint import restore_policy

        restore_policy(trainer.model, checkpoint)
