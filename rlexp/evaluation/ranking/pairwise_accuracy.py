"""One evaluation of a reward model: does it put held-out pairs in the right order?

Accuracy and margin as in Lambert et al. 2024 (RewardBench, arXiv:2403.13787): the share of pairs
whose chosen answer scores higher than the rejected one (a tie counts half), and by how much on
average. Whether it is as sure as it may be says `rlexp.evaluation.ranking.calibration`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.evaluation.policy import preserve_rng_and_modes, readable_prompt
from rlexp.evaluation.ranking.calibration import calibration, pair_measures
from rlexp.evaluation.results import ANSWERS, Answer, Evaluation, Sample
from rlexp.spec.eval import EvalSpec
from rlexp.spec.reward import Scoring

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TextScorer(Protocol):
    """A model with one output, which scores texts, and its tokenizer."""

    @property
    def model(self) -> PreTrainedModel: ...
    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...


def evaluate_reward_model(
    policy: TextScorer,
    rows: Sequence[dict[str, Any]],
    reward: Scoring,
    texts: Sequence[str],
    spec: EvalSpec,
    *,
    trained: bool,
    grammatical: Callable[[str], float] | None,
) -> Evaluation:
    """Score both answers of the first `spec.prompts` framed pairs.

    What the model does next is unchanged. Reward, texts and the rest matter to models that write.

    Raises:
        ValueError: if there are no rows.
    """
    started = time.perf_counter()
    rows = rows[: spec.prompts]
    if not rows:
        raise ValueError("an evaluation needs held-out pairs, got none")
    answers = list(product(range(len(rows)), ANSWERS))
    ids = [_token_ids(policy.tokenizer, rows[place], answer) for place, answer in answers]
    with preserve_rng_and_modes(policy.model):
        scores = _scores(policy, ids, spec.batch_size)
    margins = [good - bad for good, bad in zip(scores[::2], scores[1::2], strict=True)]
    measured = pair_measures(margins)
    ones = [1.0] * len(rows)
    metrics = {name: sum(values) / len(values) for name, values in measured.items()}
    intervals = {
        name: bootstrap_ratio(values, ones, spec.bootstrap, spec.seed)
        for name, values in measured.items()
    }
    calibrated = calibration(margins, spec.bootstrap, spec.seed)
    if calibrated.low is not None and calibrated.high is not None:
        intervals["calibration_error"] = calibrated.low, calibrated.high
    return Evaluation(
        ratios={name: (values, ones) for name, values in measured.items()},
        metrics={**metrics, "calibration_error": calibrated.error},
        intervals={name: ends for name, ends in intervals.items() if ends},
        per_prompt_reward=[],
        samples=[
            _sample(rows[place], score, len(tokens), place, answer)
            for (place, answer), score, tokens in zip(answers, scores, ids, strict=True)
        ],
        seconds=time.perf_counter() - started,
    )


def _token_ids(tokenizer: Any, row: dict[str, Any], answer: Answer) -> list[int]:
    """Tokenize as TRL's RewardTrainer does: the end token after plain texts."""
    whole = row["prompt"] + row[answer]
    if isinstance(whole, str):
        return tokenizer(whole + tokenizer.eos_token)["input_ids"]
    return tokenizer.apply_chat_template(whole, tokenize=True, return_dict=True)["input_ids"]


def _scores(policy: TextScorer, texts: list[list[int]], batch_size: int) -> list[float]:
    import torch

    scores: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            rows = {"input_ids": texts[start : start + batch_size]}
            padded = policy.tokenizer.pad(rows, return_tensors="pt", padding_side="right")
            logits = policy.model(**padded.to(policy.model.device), use_cache=False).logits
            scores += logits[:, 0].float().tolist()
    return scores


def _sample(
    row: dict[str, Any], score: float, length: int, prompt_id: int, answer: Answer
) -> Sample:
    prompt, text = readable_prompt(row), row[answer]
    completion = text if isinstance(text, str) else text[-1]["content"]
    return Sample(prompt, completion, score, {}, length, True, None, {}, prompt_id, answer)
