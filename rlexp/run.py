"""The story of a run: read the data, load the policy, look at it, train it, look again, tell."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from rlexp import data as data_room
from rlexp.computer import is_main_process, join_processes, mixed_bf16, prepare
from rlexp.failures import explained
from rlexp.models.locate import fetch
from rlexp.offline import hub_closed, quieten, share_cores
from rlexp.rows import heldout_rows, training_rows
from rlexp.spec.algo import Head
from rlexp.spec.crosscheck import rows_are_sampled
from rlexp.spec.run import RunSpec


def run(spec: RunSpec, folder: Path, parent: str | None = None) -> None:
    """Run the spec in this process; the first one leaves `card.json` in the folder.

    Args:
        spec: what to do.
        folder: where everything goes; it exists and holds `config.yaml`.
        parent: MLflow run under which this one is nested.

    Raises:
        UserError: data, model or device that are not as the spec says.
        RunFailed: NaN, out of memory, a reward that breaks.
    """
    quieten()
    share_cores()
    sampled = rows_are_sampled(spec.algo, spec.data)
    # Before torch: mistakes in the data, and a hub that does not answer, are cheap to find.
    splits = data_room.load(spec.data, "prompts" if sampled else spec.algo.needs)
    fetch(spec.model)
    with ExitStack() as open_things:
        observer = None
        if is_main_process():
            from rlexp.observer import Observer

            observer = open_things.enter_context(Observer.open(spec, folder, splits, parent))
        open_things.enter_context(explained(spec))
        device = prepare(spec.hardware, spec.seed)
        processes = join_processes(device)
        policy = _load(spec, "language" if sampled else spec.algo.head, device, processes, observer)
        open_things.enter_context(hub_closed())
        with processes.main_process_first():
            rows = training_rows(spec, policy, splits, folder, observer)
        heldout = heldout_rows(spec, policy, splits, observer) if observer else []
        if sampled and spec.algo.head != "language":
            policy = _load(spec, spec.algo.head, device, processes, None)
        if observer:
            observer.look_before(policy, heldout)
        prepare(spec.hardware, spec.seed)  # training draws the same whatever came before it
        _train(spec, policy, rows, folder, mixed_bf16(spec.hardware, device), observer)
        if observer:
            observer.look_after()


def _load(spec: RunSpec, head: Head, device: Any, processes: Any, observer: Any) -> Any:
    from rlexp.models.load import load_policy
    from rlexp.models.locate import local_folder

    bar = observer.terminal.bar("pre-training") if observer else nullcontext(lambda *told: None)
    # The first process makes or fetches the weights; the others find them.
    with processes.main_process_first(), bar as advance:
        policy = load_policy(
            spec, head, device, lambda a, b, loss: advance(a, b, f"loss {loss:.3f}")
        )
        for part in (spec.algo, spec.reward):
            part.prepare(device, local_folder)
    if observer:
        observer.notes += policy.notes
    return policy


def _train(
    spec: RunSpec,
    policy: Any,
    rows: list[dict[str, Any]],
    folder: Path,
    bf16: bool,
    observer: Any,
) -> None:
    from transformers import PrinterCallback

    from rlexp.algos.base import Training
    from rlexp.callbacks import StopOnNaN, observing_callbacks

    checkpoints = folder / "checkpoints"
    bar = observer.terminal.bar("training") if observer else nullcontext(lambda *told: None)
    with bar as advance:
        callbacks = [StopOnNaN()]
        if observer:
            callbacks += observing_callbacks(spec, checkpoints, observer, advance)
        training = Training(spec, policy, rows, checkpoints, bf16, callbacks)
        if observer:
            steps, batch = spec.train.max_steps, spec.train.batch_size
            observer.terminal.say(f"{'training':12} {steps} steps of {batch}")
        trainer = spec.algo.build_trainer(training)
        trainer.remove_callback(PrinterCallback)
        policy.model = trainer.model  # with the adapter, where there is one
        with observer.clock.phase("train") if observer else nullcontext():
            trainer.train()
    # Accelerate's autocast stays on the model's forward: an evaluation after training would
    # otherwise be in another precision than the one before.
    policy.model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if observer:
        policy.model.save_pretrained(folder / "model")
        policy.tokenizer.save_pretrained(folder / "model")
