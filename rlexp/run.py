"""The story of a run: read the data, load the policy, look at it, train it, look again, tell."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from rlexp.data.load import load_data
from rlexp.data.perplexity_texts import with_texts_of
from rlexp.models.locate import fetch
from rlexp.runner.dataset import eval_rows, training_rows
from rlexp.runner.error_messages import explain_failures, explain_full_disk
from rlexp.runner.judge_costs import JudgeUsage
from rlexp.runner.parts import load_parts, model_folder_resolver, scorer_of
from rlexp.runtime.checkpoints import step_of
from rlexp.runtime.device import is_main_process, join_processes, mixed_bf16, prepare
from rlexp.runtime.environment import hub_closed, share_cores, silence_libraries
from rlexp.scoring import Scorer
from rlexp.scoring.checkpointing import load_moments, save_moments
from rlexp.spec.errors import Pruned
from rlexp.spec.rows import rows_are_sampled, rows_read
from rlexp.spec.run import RunSpec
from rlexp.sweep.trial_env import is_trial


def run(spec: RunSpec, folder: Path, parent: str | None = None, resume: Path | None = None) -> None:
    """Run the spec in this process; the first one leaves `card.json` in the folder.

    In a folder whose spool has begun the same run goes on, and nothing is recorded twice.

    Args:
        spec: what to do.
        folder: where everything goes; it exists and holds `config.yaml`.
        parent: MLflow run under which this one is nested.
        resume: complete checkpoint that the training goes on from; None begins at step 0.

    Raises:
        UserError: data, model or device that are not as the spec says.
        RunFailed: NaN, out of memory, a full disk, a reward that breaks.
        Pruned: a trial that its sweep's pruner has given up.
    """
    if not spec.algo.trains:
        from rlexp.runner.evaluate import examine

        examine(spec, folder, parent)
        return
    silence_libraries()
    share_cores()
    sampled = rows_are_sampled(spec.algo, spec.data)
    # Before torch: mistakes in the data, and a hub that does not answer, are cheap to find.
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    splits = with_texts_of(splits, spec.eval.texts_path)
    fetch(spec.model, model_folder_resolver(spec))
    with ExitStack() as open_things:
        open_things.enter_context(explain_full_disk(folder))
        observer = None
        if is_main_process():
            from rlexp.runner.recorder import Observer

            observer = open_things.enter_context(Observer.open(spec, folder, splits, parent))
        open_things.enter_context(explain_failures(spec))
        open_things.enter_context(
            explain_full_disk(folder)
        )  # while the observer can still record it
        device = prepare(spec.hardware, spec.seed)
        processes = join_processes(device)
        head = "language" if sampled else spec.algo.head
        policy = load_parts(spec, head, device, processes, observer, splits.corpus)
        open_things.enter_context(hub_closed())
        scorer = open_things.enter_context(scorer_of(spec, processes))
        with processes.main_process_first():
            rows = training_rows(spec, policy, splits, folder, observer, scorer)
        heldout = eval_rows(spec, policy, splits, observer, scorer) if observer else []
        if sampled and spec.algo.head != "language":
            policy = load_parts(spec, spec.algo.head, device, processes, None, splits.corpus)
        if observer:
            observer.look_before(policy, heldout, scorer)
            observer.watcher.begin()
        prepare(spec.hardware, spec.seed)  # training draws the same whatever came before it
        bf16 = mixed_bf16(spec.hardware, device)
        _train(spec, policy, rows, folder, bf16, scorer, observer, resume)
        if observer:
            observer.look_after()


def _train(
    spec: RunSpec,
    policy: Any,
    rows: list[dict[str, Any]],
    folder: Path,
    bf16: bool,
    scorer: Scorer,
    observer: Any,
    resume: Path | None,
) -> None:
    from transformers import PrinterCallback

    from rlexp.algos.common.trl import Training
    from rlexp.models.saving import name_base, save_policy
    from rlexp.runner.callbacks import (
        StopByGuard,
        StopPrunedTrial,
        callbacks_of_all,
        observing_callbacks,
    )

    checkpoints = folder / "checkpoints"
    bar = observer.terminal.bar("training") if observer else nullcontext(lambda *told: None)
    with bar as advance:
        spending = observer.spending if observer else JudgeUsage()
        callbacks = [*callbacks_of_all(spending), save_moments(scorer)]
        if observer:
            callbacks += observing_callbacks(spec, checkpoints, observer, advance)
        end = StopPrunedTrial(spec.eval.every, lambda: bool(observer and observer.hopeless))
        if is_trial():
            callbacks.append(end)
        if spec.guards.may_stop:
            callbacks.append(StopByGuard(lambda: bool(observer and observer.watcher.stopped)))
        if observer and observer.watcher.hears:
            scorer.heard = observer.watcher.hear
        training = Training(spec, policy, rows, checkpoints, bf16, callbacks, scorer)
        if observer:
            steps, batch = spec.train.max_steps, spec.train.batch_size
            whence = f", on from {resume.name}" if resume else ""
            observer.terminal.say(f"{'training':12} {steps} steps of {batch}{whence}")
        trainer = spec.algo.build_trainer(training)
        trainer.remove_callback(PrinterCallback)
        if resume:
            load_moments(scorer, resume)
        policy.model = trainer.model  # with the adapter, where there is one
        name_base(policy)
        with observer.phase("train") if observer else nullcontext():
            _train_from(resume, trainer, spec.train.max_steps)
        if end.step is not None:
            raise Pruned(end.step)
    # Accelerate's autocast stays on the model's forward: an evaluation after training would
    # otherwise be in another precision than the one before.
    policy.model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if observer:
        merged = spec.peft.kind != "none" and spec.peft.save == "merged"
        save_policy(policy, folder / "model", merged=merged)


def _train_from(checkpoint: Path | None, trainer: Any, steps: int) -> None:
    if checkpoint is None:
        trainer.train()
    elif step_of(checkpoint) < steps:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    else:  # only what comes after training is missing; trainers would add a step
        from rlexp.trainers.checkpoint import restore_policy

        restore_policy(trainer.model, checkpoint)
