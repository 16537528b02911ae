"""The story of a run: read the data, load the policy, look at it, train it, look again, tell."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from rlexp import data as data_room
from rlexp.computer import is_main_process, join_processes, mixed_bf16, prepare
from rlexp.data.sampled import sample_pairs
from rlexp.failures import explained
from rlexp.offline import hub_closed, quieten
from rlexp.spec.algo import PairAlgo
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.policy import Completion
from rlexp.spec.reward import Text
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
    splits = data_room.load(spec.data, spec.algo.needs)  # before torch: its mistakes are cheap
    with ExitStack() as open_things:
        observer = None
        if is_main_process():
            from rlexp.observer import Observer

            observer = open_things.enter_context(Observer.open(spec, folder, splits, parent))
        open_things.enter_context(explained(spec))
        device = prepare(spec.hardware, spec.seed)
        processes = join_processes(device)
        policy = _load(spec, device, processes, observer)
        open_things.enter_context(hub_closed())
        if observer:
            heldout = data_room.frame(splits.heldout, spec.data, policy.chat)
            observer.look_before(policy, _short_enough(heldout, spec, policy, observer.notes))
        with processes.main_process_first():
            rows = _training_rows(spec, policy, splits, folder, observer)
        prepare(spec.hardware, spec.seed)  # training draws the same whatever came before it
        _train(spec, policy, rows, folder, mixed_bf16(spec.hardware, device), observer)
        if observer:
            observer.look_after()


def _load(spec: RunSpec, device: Any, processes: Any, observer: Any) -> Any:
    from rlexp.models.load import load_policy

    bar = observer.terminal.bar("pre-training") if observer else nullcontext(lambda *told: None)
    # The first process makes or fetches the weights; the others find them.
    with processes.main_process_first(), bar as advance:
        policy = load_policy(spec, device, lambda a, b, loss: advance(a, b, f"loss {loss:.3f}"))
    if observer:
        observer.notes += policy.notes
    return policy


def _training_rows(
    spec: RunSpec, policy: Any, splits: Any, folder: Path, observer: Any
) -> list[dict[str, Any]]:
    """Rows of the kind that the algorithm needs, framed for the model."""
    notes: list[str] = observer.notes if observer else []
    rows = data_room.frame(splits.train, spec.data, policy.chat)
    rows = _short_enough(rows, spec, policy, notes)
    if splits.kind == spec.algo.needs:
        return rows
    sampled = folder / "pairs.jsonl"
    if observer:
        with observer.clock.phase("pairs"), observer.terminal.bar("sampling") as advance:
            pairs, note = _sample_pairs(spec, policy, rows, advance)
        notes.append(note)
        lines = [json.dumps(pair, ensure_ascii=False) for pair in pairs]
        sampled.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [json.loads(line) for line in sampled.read_text(encoding="utf-8").splitlines()]


def _sample_pairs(spec: RunSpec, policy: Any, rows: list[Any], advance: Any) -> tuple[list, str]:
    """Pairs of the policy's own answers, as many as the training can use."""
    assert isinstance(spec.algo, PairAlgo)  # the spec lets no other come here without pairs
    pairs = spec.algo.pairs
    wanted = min(pairs.prompts, spec.train.max_steps * spec.train.batch_size, len(rows))
    chosen = random.Random(spec.seed).sample(rows, wanted)
    chunk = max(1, spec.eval.batch_size // pairs.completions)

    def complete(prompts: Sequence[Text]) -> list[list[Completion]]:
        answers: list[list[Completion]] = []
        for start in range(0, len(prompts), chunk):
            advance(start, len(prompts), "prompts answered")
            answers += policy.complete(
                prompts[start : start + chunk],
                completions=pairs.completions,
                max_new_tokens=spec.data.max_completion_length,
                temperature=pairs.temperature,
                seed=spec.seed + start * pairs.completions,
                batch_size=spec.eval.batch_size,
            )
        advance(len(prompts), len(prompts), "prompts answered")
        return answers

    def score(prompts: list[Text], answers: list[Text], columns: dict[str, Any]) -> list[float]:
        return spec.reward.score(prompts, answers, columns).total

    return sample_pairs(chosen, complete, score)


def _short_enough(
    rows: list[dict[str, Any]], spec: RunSpec, policy: Any, notes: list[str]
) -> list[dict[str, Any]]:
    """The rows whose prompt is within `data.max_prompt_length`."""
    limit = spec.data.max_prompt_length
    lengths = [len(ids) for ids in policy.encode([row["prompt"] for row in rows])]
    kept = [row for row, length in zip(rows, lengths, strict=True) if length <= limit]
    if not kept:
        got = f"{limit} tokens; the shortest prompt has {min(lengths)}"
        raise UserError(Problem("data.max_prompt_length", got, "a limit that some prompts pass"))
    if dropped := len(rows) - len(kept):
        notes.append(f"{dropped} prompts longer than {limit} tokens were left out")
    return kept


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
    if observer:
        policy.model.save_pretrained(folder / "model")
        policy.tokenizer.save_pretrained(folder / "model")
