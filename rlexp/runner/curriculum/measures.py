"""What a curriculum measures of rows before the training: their tokens, and the policy's answers.

Answers are sampled once for all attempts at a run, and kept in its folder; in the cache they stay
for other runs of the same policy, prompts, reward and sampling.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

from rlexp.data.derived.split import canonical_json
from rlexp.data.parsing.conversations import assistant_turn
from rlexp.models.policy import Policy
from rlexp.runner.parts import RunParts
from rlexp.runner.sampling.answers import AnswerSampler, Drawing
from rlexp.runtime.cache import cache_folder
from rlexp.runtime.collective import broadcast
from rlexp.runtime.device import is_main_process
from rlexp.runtime.files import write_atomically
from rlexp.scoring import Scorer
from rlexp.spec.reward import ENDED, TOKENS
from rlexp.spec.text import Text, content_of
from rlexp.tracking.provenance.manifest import describe_weights

Rows = list[dict[str, Any]]

FILE = "difficulty.jsonl"
"""File of a run's folder: the rewards of the answers to each prompt, a line each."""


class PolicyMeasures:
    """Measures rows by a run's policy and its reward."""

    def __init__(self, parts: RunParts, policy: Policy, scorer: Scorer) -> None:
        self.parts, self.spec, self.policy, self.scorer = parts, parts.spec, policy, scorer

    def lengths(self, texts: Sequence[Text]) -> list[int]:
        """Return the tokens of what each text or conversation says."""
        said = [
            text if isinstance(text, str) else "\n".join(map(content_of, text)) for text in texts
        ]
        encoded = self.policy.tokenizer(said, add_special_tokens=False)["input_ids"]
        return [len(ids) for ids in encoded]

    def sampled_rewards(
        self, rows: Sequence[dict[str, Any]], completions: int, temperature: float
    ) -> list[list[float]]:
        """Return the rewards of the policy's own answers to each row's prompt, those it has."""
        longest = self.spec.data.max_completion_length
        drawing = Drawing(completions, longest, temperature)
        sampler = AnswerSampler(self.parts, self.policy, self.scorer, drawing)
        cached = cache_folder() / "difficulty" / f"{self._key(rows, drawing)}.jsonl"
        made = sampler.rows_once(FILE, lambda: self._rated(rows, sampler, cached))
        return [line["rewards"] for line in made]

    def _rated(
        self, rows: Sequence[dict[str, Any]], sampler: AnswerSampler, cached: Path
    ) -> tuple[Rows, str]:
        known = cached.read_text(encoding="utf-8") if cached.is_file() else None
        text = broadcast(known)
        if text is None:
            rewards = self._sampled(rows, sampler)
            text = "".join(json.dumps({"rewards": values}) + "\n" for values in rewards)
            if is_main_process():
                cached.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(cached, text)
        made = [json.loads(line) for line in text.splitlines()]
        values = list(chain.from_iterable(line["rewards"] for line in made))
        alike = sum(len(set(line["rewards"])) < 2 for line in made)
        note = (
            f"curriculum={self.spec.curriculum.name}: {len(made)} prompts rated by "
            f"{sampler.drawing.completions} answers each before the training, mean reward "
            f"{fmean(values) if values else float('nan'):.3f}; to {alike} prompts all earn the same"
        )
        return made, note

    def _sampled(self, rows: Sequence[dict[str, Any]], sampler: AnswerSampler) -> list[list[float]]:
        answers = sampler.complete([row["prompt"] for row in rows], FILE)
        repeated = [row for row, group in zip(rows, answers, strict=True) for _ in group]
        texts = [
            answer.text if isinstance(row["prompt"], str) else assistant_turn(answer.text)
            for row, answer in zip(repeated, chain.from_iterable(answers), strict=True)
        ]
        names = [name for name in rows[0] if name != "prompt"]
        columns = {name: [row[name] for row in repeated] for name in names}
        columns[TOKENS] = [answer.token_ids for answer in chain.from_iterable(answers)]
        columns[ENDED] = [answer.ended for answer in chain.from_iterable(answers)]
        scores = iter(sampler.score([row["prompt"] for row in repeated], texts, columns))
        grouped = [[next(scores) for _ in group] for group in answers]
        return [[score for score in group if score is not None] for group in grouped]

    def _key(self, rows: Sequence[dict[str, Any]], drawing: Drawing) -> str:
        """Return the digest of all that decides what the answers earn."""
        decides = {
            "weights": describe_weights(self.policy.initial_folder)["digest"],
            "model": self.spec.model.model_dump(mode="json"),
            "rows": list(rows),
            "reward": self.spec.reward.model_dump(mode="json"),
            "code": [
                sha256(path.read_bytes()).hexdigest() for path in self.spec.reward.code_files()
            ],
            "drawing": vars(drawing),
            "seed": self.spec.seed,
            "batch": self.spec.eval.batch_size,
        }
        return sha256(canonical_json(decides)).hexdigest()[:32]
