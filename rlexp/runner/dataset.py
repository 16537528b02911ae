"""From splits to the rows that a trainer and the evaluations see: framed, short enough, sampled."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from rlexp.data.derived.label_pairs import label_pairs
from rlexp.data.derived.preference_sampling import sample_rows
from rlexp.data.prompt_templates import frame
from rlexp.scoring import Scorer
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.policy import Completion
from rlexp.spec.reward import Text, Value
from rlexp.spec.rows import pairs_are_matched
from rlexp.spec.run import RunSpec

Rows = list[dict[str, Any]]

LABELS_COMPARED = 200


def eval_rows(spec: RunSpec, policy: Any, splits: Any, observer: Any, scorer: Scorer) -> Rows:
    """What evaluations look at: prompts, or pairs for a model that scores texts."""
    if spec.algo.head == "language":
        framed = frame(splits.heldout, spec.data, policy.chat)
        return filter_by_prompt_length(framed, spec, policy, observer.notes)
    if splits.heldout_pairs:
        framed = frame(splits.heldout_pairs, spec.data, policy.chat)
        return filter_by_prompt_length(framed, spec, policy, observer.notes)
    if pairs_are_matched(spec.algo, spec.data):
        framed = frame(splits.heldout_labelled, spec.data, policy.chat)
        labelled = filter_by_prompt_length(framed, spec, policy, observer.notes)
        # By the evaluation's seed: runs of different seeds are compared on the same pairs.
        pairs, note = label_pairs(labelled, spec.eval.seed, None)
        observer.notes.append(f"held out: {note}")
        return pairs
    framed = frame(splits.heldout[: spec.eval.prompts], spec.data, policy.chat)
    asked = filter_by_prompt_length(framed, spec, policy, [])

    def make() -> tuple[Rows, str]:
        rows, note = _sampled(spec, policy, asked, observer, scorer)
        return rows, f"held out: {note}"

    return cached_rows(observer.folder / "heldout.jsonl", make, observer)


def training_rows(
    spec: RunSpec, policy: Any, splits: Any, folder: Path, observer: Any, scorer: Scorer
) -> Rows:
    """Rows of the kind that the algorithm needs, framed for the model."""
    notes: list[str] = observer.notes if observer else []
    rows = frame(splits.train, spec.data, policy.chat)
    rows = filter_by_prompt_length(rows, spec, policy, notes)
    if splits.kind == spec.algo.needs:
        if observer and splits.kind == "unpaired" and spec.reward.scores_anything:
            notes.append(_agreement(spec, rows, scorer))
        return rows
    if pairs_are_matched(spec.algo, spec.data):
        pairs, note = label_pairs(rows, spec.seed, spec.train.max_steps * spec.train.batch_size)
        notes.append(note)
        return pairs

    def make() -> tuple[Rows, str]:
        return _sampled(spec, policy, _as_many_as_needed(spec, rows), observer, scorer)

    return cached_rows(folder / f"{spec.algo.needs}.jsonl", make, observer)


def cached_rows(file: Path, make: Callable[[], tuple[Rows, str]], observer: Any) -> Rows:
    """Rows that the first process samples, once for all attempts at a run, and the others read.

    The spool tells when the file is whole, and the note that goes into the card.
    """
    if observer:
        told = observer.tracker.told.events.get("sampled", []) if observer.tracker.told else []
        notes = [event["note"] for event in told if event["file"] == file.name]
        if not notes:
            rows, note = make()
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
            observer.tracker.event("sampled", file=file.name, note=note)
            notes = [note]
        observer.notes.append(notes[-1])
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def _agreement(spec: RunSpec, rows: Rows, scorer: Scorer) -> str:
    """How far the data's labels and the reward ask for the same, in words."""
    some = random.Random(spec.seed).sample(rows, min(LABELS_COMPARED, len(rows)))
    names = [name for name in some[0] if name not in ("prompt", "completion", "label")]
    columns = {name: [row[name] for row in some] for name in names}
    asked, said = ([row[name] for row in some] for name in ("prompt", "completion"))
    scores = zip(scorer.once(asked, said, columns).total, some, strict=True)
    known = [(score, row["label"]) for score, row in scores if score is not None]
    good = [score for score, label in known if label]
    bad = [score for score, label in known if not label]
    won = [float(a > b) + 0.5 * (a == b) for a in good for b in bad]
    if not won:
        return "labels: the data's own"
    return (
        f"labels: the data's own; the reward {spec.reward.name} puts a good answer above a bad one "
        f"in {sum(won) / len(won):.0%} of cases (algo.labels=reward would follow it)"
    )


def _as_many_as_needed(spec: RunSpec, rows: Rows) -> Rows:
    sampling = spec.algo.sampling
    assert sampling is not None  # the spec lets no other algorithm come here
    answers = (
        sampling.completions if spec.algo.needs == "unpaired" else 1
    )  # rows that a prompt makes
    needed = ceil(spec.train.max_steps * spec.train.batch_size / answers)
    return random.Random(spec.seed).sample(rows, min(sampling.prompts, needed, len(rows)))


def _sampled(
    spec: RunSpec, policy: Any, rows: Rows, observer: Any, scorer: Scorer
) -> tuple[Rows, str]:
    """Rows made of the policy's own answers to the rows' prompts."""
    sampling = spec.algo.sampling
    assert sampling is not None
    chunk = max(1, spec.eval.batch_size // sampling.completions)

    def complete(prompts: Sequence[Text]) -> list[list[Completion]]:
        answers: list[list[Completion]] = []
        with observer.terminal.bar("sampling") as advance:
            for start in range(0, len(prompts), chunk):
                advance(start, len(prompts), "prompts answered")
                answers += policy.complete(
                    prompts[start : start + chunk],
                    completions=sampling.completions,
                    max_new_tokens=spec.data.max_completion_length,
                    temperature=sampling.temperature,
                    seed=spec.seed + start * sampling.completions,
                    batch_size=spec.eval.batch_size,
                )
            advance(len(prompts), len(prompts), "prompts answered")
        return answers

    def score(prompts: list[Text], answers: list[Text], columns: dict[str, Any]) -> list[Value]:
        return list(scorer.once(prompts, answers, columns).total)

    with observer.phase("sampling"):
        return sample_rows(spec.algo.needs, rows, complete, score)


def filter_by_prompt_length(rows: Rows, spec: RunSpec, policy: Any, notes: list[str]) -> Rows:
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
