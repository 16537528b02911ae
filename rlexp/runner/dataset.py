"""From splits to the rows that a trainer and the evaluations see: framed, short enough, sampled.

Every process calls these functions. Rows that the policy must sample are sampled by all of them,
which all compute the same, judged and written by the first one, and read by all.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import compress
from math import ceil
from typing import Any

from rlexp.curriculum.batches import allot
from rlexp.data.derived.label_pairs import label_pairs
from rlexp.data.derived.preference_sampling import sample_rows
from rlexp.data.load import Splits
from rlexp.data.prompt_templates import frame
from rlexp.data.rendering.learnable import keep_learnable
from rlexp.data.rendering.lengths import is_over_limit, no_prompt_left, over_prompt_note
from rlexp.models.policy import Policy
from rlexp.runner.parts import RunParts
from rlexp.runner.sampling.answers import AnswerSampler, Drawing
from rlexp.runtime.collective import compute_on_first
from rlexp.scoring import Scorer
from rlexp.spec.data import SOURCE
from rlexp.spec.errors import UserError
from rlexp.spec.files.rated_run import HELDOUT
from rlexp.spec.model_kind import ModelKind
from rlexp.spec.rows import pairs_are_matched
from rlexp.spec.run import RunSpec
from rlexp.spec.schedule import mean_shares

Rows = list[dict[str, Any]]

LABELS_COMPARED = 200


class DatasetBuilder:
    """Builds the rows of one run; its policy samples, and its scorer judges, what data lack."""

    def __init__(self, parts: RunParts, policy: Policy, scorer: Scorer) -> None:
        self.parts, self.spec, self.splits = parts, parts.spec, parts.splits
        self.policy, self.recorder, self.scorer = policy, parts.recorder, scorer
        self._mixed = bool(parts.spec.data.source_names)

    def eval_rows(self, kind: ModelKind) -> Rows:
        """Return what evaluations of a kind of model look at: prompts, or pairs."""
        spec, splits = self.spec, self.splits
        if kind.writes:
            return self._framed(splits.heldout)
        if splits.heldout_pairs:
            return self._framed(splits.heldout_pairs)
        if pairs_are_matched(spec.algo, spec.data):
            labelled = self._framed(splits.heldout_labelled)
            # By the evaluation's seed: runs of different seeds are compared on the same pairs.
            pairs, note = label_pairs(labelled, spec.eval.seed, None, by_source=self._mixed)
            self.recorder.notes.append(f"held out: {note}")
            return pairs
        prompts = self._framed(splits.heldout[: spec.eval.prompts], told=False)
        return self._sampled_rows(HELDOUT, prompts, "held out: ")

    def training_rows(self) -> Rows:
        """Return rows of the kind that the algorithm needs, framed for the model.

        Raises:
            UserError: `algo.max_length` leaves nothing of them.
        """
        rows, places = self._needed_rows()
        kept, notes = keep_learnable(rows, self.spec, self.policy.tokenizer, places.__getitem__)
        self.recorder.notes += notes
        return kept

    def _needed_rows(self) -> tuple[Rows, list[str]]:
        """Return rows and where they stand; those that are made, not read, are numbered."""
        spec, splits = self.spec, self.splits
        rows, places = self._framed_with_places(splits.train, self.recorder.notes)
        if splits.kind == spec.algo.needs:
            if splits.kind == "unpaired" and spec.reward.scores_anything:
                self.recorder.notes.append(compute_on_first(lambda: self._agreement(rows)))
            return rows, places
        if pairs_are_matched(spec.algo, spec.data):
            wanted = spec.train.max_steps * spec.train.batch_size
            made, note = label_pairs(rows, spec.seed, wanted, by_source=self._mixed)
            self.recorder.notes.append(note)
        else:
            name = f"{spec.algo.needs}.jsonl"
            made = self._sampled_rows(name, self._as_many_as_needed(rows))
        return made, [f"row {number}" for number in range(1, len(made) + 1)]

    def _framed(self, rows: Rows, *, told: bool = True) -> Rows:
        """Return held-out rows, framed."""
        notes: list[str] = []
        framed, _ = self._framed_with_places(rows, notes)
        if told:
            self.recorder.notes += [f"held out: {note}" for note in notes]
        return framed

    def _framed_with_places(self, rows: Rows, notes: list[str]) -> tuple[Rows, list[str]]:
        framed = frame(rows, self.spec.data, self.policy.chat)
        kept = _short_enough([framed], [self.policy], self.spec, notes)
        places = [self.splits.place_of(row) for row in compress(rows, kept)]
        return list(compress(framed, kept)), places

    def _sampled_rows(self, name: str, prompts: Rows, prefix: str = "") -> Rows:
        """Return rows made of the policy's own answers, once for all attempts at a run."""
        spec, sampling = self.spec, self.spec.algo.sampling
        assert sampling is not None  # the spec lets no other algorithm come here
        longest = spec.data.max_completion_length
        drawing = Drawing(sampling.completions, longest, sampling.temperature)
        sampler = AnswerSampler(self.parts, self.policy, self.scorer, drawing)
        complete = partial(sampler.complete, name=name)

        def sample() -> tuple[Rows, str]:
            rows, note = sample_rows(spec.algo.needs, prompts, complete, sampler.score)
            return rows, f"{prefix}{note}"

        return sampler.rows_once(name, sample)

    def _agreement(self, rows: Rows) -> str:
        """Return how far the data's labels and the reward ask for the same, in words."""
        spec = self.spec
        chosen = random.Random(spec.seed).sample(rows, min(LABELS_COMPARED, len(rows)))
        names = [name for name in chosen[0] if name not in ("prompt", "completion", "label")]
        columns = {name: [row[name] for row in chosen] for name in names}
        prompts, completions = ([row[name] for row in chosen] for name in ("prompt", "completion"))
        scores = zip(self.scorer.once(prompts, completions, columns).total, chosen, strict=True)
        known = [(score, row["label"]) for score, row in scores if score is not None]
        good = [score for score, label in known if label]
        bad = [score for score, label in known if not label]
        won = [float(a > b) + 0.5 * (a == b) for a in good for b in bad]
        if not won:
            return "labels: the data's own"
        return (
            f"labels: the data's own; the reward {spec.reward.name} puts a good answer above a bad "
            f"one in {sum(won) / len(won):.0%} of cases (algo.labels=reward would follow it)"
        )

    def _as_many_as_needed(self, rows: Rows) -> Rows:
        spec, sampling = self.spec, self.spec.algo.sampling
        assert sampling is not None  # the spec lets no other algorithm come here
        rows_a_prompt = sampling.completions if spec.algo.needs == "unpaired" else 1
        needed = ceil(spec.train.max_steps * spec.train.batch_size / rows_a_prompt)
        return drawn_rows(rows, min(sampling.prompts, needed), spec)


def drawn_rows(rows: Rows, count: int, spec: RunSpec) -> Rows:
    """Return so many rows at random, if there are so many; of a mix as many of each source as it
    has of the training."""
    draw = random.Random(spec.seed)
    if not spec.data.source_names:
        return draw.sample(rows, min(count, len(rows)))
    chosen = []
    shares = mean_shares(spec.data.weights(), spec.train.max_steps)
    for name, of_source in allot(count, shares, {}).items():
        known = [row for row in rows if row[SOURCE] == name]
        chosen += draw.sample(known, min(of_source, len(known)))
    return chosen


def shared_prompts(
    policies: Sequence[Policy], spec: RunSpec, splits: Splits, notes: list[str]
) -> list[Rows]:
    """Return the held-out prompts as each policy reads them: those short enough for all."""
    framed = [frame(splits.heldout, spec.data, policy.chat) for policy in policies]
    kept = _short_enough(framed, policies, spec, notes)
    return [list(compress(rows, kept)) for rows in framed]


def _short_enough(
    framed: Sequence[Rows], policies: Sequence[Policy], spec: RunSpec, notes: list[str]
) -> list[bool]:
    """Return which rows, framed for each policy, have prompts that are short enough for all."""
    longest = [0] * len(framed[0])
    for rows, policy in zip(framed, policies, strict=True):
        lengths = [len(ids) for ids in policy.encode([row["prompt"] for row in rows])]
        if problems := no_prompt_left(lengths, rows, spec.data):
            raise UserError(problems)
        longest = [max(pair) for pair in zip(longest, lengths, strict=True)]
    over = [is_over_limit(*pair, spec.data) for pair in zip(longest, framed[0], strict=True)]
    dropped = Counter(spec.data.name_of(row) for row in compress(framed[0], over))
    notes += [over_prompt_note(count, name, spec.data) for name, count in dropped.items()]
    return [not too_long for too_long in over]
