"""One evaluation of a policy: sample held-out prompts, score the samples, measure the drift.

The same prompts and the same random numbers serve before, during and after training, so that two
evaluations differ by the policy only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from rlexp.evaluation.undisturbed import undisturbed
from rlexp.intervals import bootstrap_ratio
from rlexp.spec.hardware import EvalSpec
from rlexp.spec.policy import Completion, PolicyLike
from rlexp.spec.reward import RewardSpec, Scores
from rlexp.spec.text import Text, content_of, joined

Grammatical = Callable[[str], float]


@dataclass(frozen=True)
class Sample:
    """One completion and what was found about it."""

    prompt: str
    """For people: the text's opening, or the prompt, or the conversation's turns."""
    completion: str
    reward: float | None
    """None where the run has no reward."""
    terms: dict[str, float]
    """The reward's terms before their weights."""
    length: int
    """Tokens, end token included."""
    ended: bool
    """False when it was cut at the length limit."""
    grammatical: float | None
    """Share of grammatical sentences; None where the data cannot tell."""


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found; metric names without their group."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    """95 % intervals over the prompts."""
    per_prompt_reward: list[float]
    """Mean reward of each prompt; empty without a reward."""
    samples: list[Sample] = field(repr=False)
    """All of them, the completions to one prompt next to each other."""
    seconds: float = 0.0
    """What it took."""

    def to_json(self, path: Path) -> None:
        """Write all of it to a file, in one step; floats come back with the same bits."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".new")
        # Python's words for what is not finite, which `json.loads` reads: only rlexp reads this.
        draft.write_text(json.dumps(asdict(self), ensure_ascii=False), encoding="utf-8")
        draft.replace(path)

    @classmethod
    def from_json(cls, path: Path) -> Evaluation:
        """Read what `to_json` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        content["samples"] = [Sample(**sample) for sample in content["samples"]]
        content["intervals"] = {name: tuple(ends) for name, ends in content["intervals"].items()}
        return cls(**content)


def evaluate(
    policy: PolicyLike,
    rows: Sequence[dict[str, Any]],
    reward: RewardSpec,
    texts: Sequence[str],
    spec: EvalSpec,
    *,
    trained: bool,
    grammatical: Grammatical | None,
) -> Evaluation:
    """Sample, score and measure; model modes and random states are left as they were.

    Args:
        rows: framed held-out rows; the first `spec.prompts` are taken.
        reward: scores the samples, unless it `scores_anything` not.
        texts: held-out texts for perplexity; the first `spec.texts` are taken.
        trained: False while the policy still is its reference: KL is 0 without a forward.
        grammatical: share of a text's sentences that are grammatical, where the data can tell.

    Raises:
        ValueError: if there are no rows.
    """
    from rlexp.evaluation.likelihood import kl_nats, perplexity

    started = time.perf_counter()
    rows, texts = rows[: spec.prompts], texts[: spec.texts]
    if not rows:
        raise ValueError("an evaluation needs held-out prompts, got none")
    with undisturbed(policy.model):
        groups = _sampled(policy, rows, spec)
        completions = [completion for group in groups for completion in group]
        asked = [row for row, group in zip(rows, groups, strict=True) for _ in group]
        scores = _score(reward, asked, completions) if reward.scores_anything else None
        samples = _samples(asked, completions, scores, grammatical)
        drift = kl_nats(policy, completions, spec.batch_size) if trained else [0.0] * len(samples)
        forgetting = perplexity(policy, texts, spec.batch_size) if texts else None

    sizes = [len(group) for group in groups]
    metrics, intervals = _averages(_measured(samples, drift), sizes, spec)
    metrics |= {f"distinct_{n}": _distinct(completions, n) for n in (1, 2)}
    metrics |= {"perplexity": forgetting} if forgetting is not None else {}
    totals = scores.total if scores else []
    return Evaluation(
        metrics=metrics,
        intervals=intervals,
        per_prompt_reward=[sum(each) / len(each) for each in _by_prompt(totals, sizes) if each],
        samples=samples,
        seconds=time.perf_counter() - started,
    )


def win_rate(before: Evaluation, after: Evaluation) -> float | None:
    """Share of prompts whose mean reward is higher after; ties count half. None without reward."""
    won = wins(before, after)
    return sum(won) / len(won) if won else None


def wins(before: Evaluation, after: Evaluation) -> list[float]:
    """For each prompt 1 if its mean reward is higher after, 0.5 on a tie, 0 otherwise.

    Raises:
        ValueError: if the two evaluations are not of the same prompts.
    """
    pairs = zip(before.per_prompt_reward, after.per_prompt_reward, strict=True)
    return [0.5 if old == new else float(new > old) for old, new in pairs]


def _sampled(
    policy: PolicyLike, rows: Sequence[dict[str, Any]], spec: EvalSpec
) -> list[list[Completion]]:
    return policy.complete(
        [row["prompt"] for row in rows],
        completions=spec.completions,
        max_new_tokens=spec.max_completion_length,
        temperature=spec.temperature,
        seed=spec.seed,
        batch_size=spec.batch_size,
    )


def _score(
    reward: RewardSpec, rows: Sequence[dict[str, Any]], completions: Sequence[Completion]
) -> Scores:
    """As TRL calls a reward: a conversation is completed by messages, a text by a text."""
    prompts: list[Text] = [row["prompt"] for row in rows]
    answers: list[Text] = [
        completion.text
        if isinstance(prompt, str)
        else [{"role": "assistant", "content": completion.text}]
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
    names = dict.fromkeys(
        name for row in rows for name in row if name not in ("prompt", "completion")
    )
    columns = {name: [row.get(name) for row in rows] for name in names}
    return reward.score(prompts, answers, columns)


def _samples(
    rows: Sequence[dict[str, Any]],
    completions: Sequence[Completion],
    scores: Scores | None,
    grammatical: Grammatical | None,
) -> list[Sample]:
    return [
        Sample(
            prompt=for_people(row),
            completion=completion.text,
            reward=float(scores.total[index]) if scores else None,
            terms={name: float(each[index]) for name, each in scores.terms.items()}
            if scores
            else {},
            length=len(completion.token_ids),
            ended=completion.ended,
            grammatical=grammatical(joined(row.get("opening") or "", completion.text))
            if grammatical
            else None,
        )
        for index, (row, completion) in enumerate(zip(rows, completions, strict=True))
    ]


def for_people(row: dict[str, Any]) -> str:
    """A row's prompt as people read it: the text's opening, or what was said."""
    prompt = row.get("opening") or row["prompt"]
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return content_of(prompt[0])
    return "\n".join(f"{message['role']}: {content_of(message)}" for message in prompt)


Ratio = tuple[list[float], list[float]]
"""Numerators and denominators, one a completion; the metric is the ratio of their sums."""


def _measured(samples: Sequence[Sample], drift: Sequence[float]) -> dict[str, Ratio]:
    """What is averaged over completions: each counts 1, but KL is averaged over tokens."""
    ones = [1.0] * len(samples)
    lengths = [float(sample.length) for sample in samples]
    ended = [float(sample.ended) for sample in samples]
    measured: dict[str, Ratio] = {
        "kl": (list(drift), lengths),
        "length": (lengths, ones),
        "ended": (ended, ones),
    }
    grammatical = [sample.grammatical for sample in samples if sample.grammatical is not None]
    if grammatical:
        measured["grammatical"] = (grammatical, ones)
    rewards = [sample.reward for sample in samples if sample.reward is not None]
    if rewards:
        measured["reward"] = (rewards, ones)
    for term in samples[0].terms:
        measured[f"reward_{term}"] = ([sample.terms[term] for sample in samples], ones)
    return measured


def _averages(
    measured: dict[str, Ratio], sizes: Sequence[int], spec: EvalSpec
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for name, (numerators, denominators) in measured.items():
        sums = [sum(each) for each in _by_prompt(numerators, sizes)]
        counts = [sum(each) for each in _by_prompt(denominators, sizes)]
        metrics[name] = sum(sums) / sum(counts)
        interval = bootstrap_ratio(sums, counts, spec.bootstrap, spec.seed)
        if interval:
            intervals[name] = interval
    return metrics, intervals


def _by_prompt(values: Sequence[float], sizes: Iterable[int]) -> Iterable[Sequence[float]]:
    start = 0
    for size in sizes:
        yield values[start : start + size]
        start += size


def _distinct(completions: Sequence[Completion], n: int) -> float:
    """Distinct n-grams of tokens over all n-grams (Li et al. 2016, arXiv:1510.03055).

    Tokens, not words, so that languages without spaces count alike; the end token is left out. The
    share falls as texts grow, so compare it at the same number of completions only.
    """
    grams: list[Any] = []
    for completion in completions:
        tokens = completion.token_ids[: -1 if completion.ended else None]
        grams += tokens if n == 1 else pairwise(tokens)
    return len(set(grams)) / len(grams) if grams else 0.0
