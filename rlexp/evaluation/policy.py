"""One evaluation of a policy: sample held-out prompts, score the samples, measure the drift.

The same prompts and the same random numbers serve before, during and after training, so that two
evaluations differ by the policy only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from rlexp.evaluation.preserved_state import undisturbed
from rlexp.evaluation.ratios import Ratio, averages, grouped, in_groups, of_samples
from rlexp.spec.hardware import EvalSpec
from rlexp.spec.policy import Completion, PolicyLike
from rlexp.spec.reward import Scores, Scoring, Value
from rlexp.spec.text import Text, content_of, joined

Grammatical = Callable[[str], float]


@dataclass(frozen=True)
class Sample:
    """One completion and what was found about it."""

    prompt: str
    """For people: the text's opening, or the prompt, or the conversation's turns."""
    completion: str
    reward: float | None
    """None where the run has no reward, or where something of it is missing."""
    terms: dict[str, float | None]
    """The reward's terms as they gave it, before normalisation and weight; None where missing."""
    length: int
    """Tokens, end token included."""
    ended: bool
    """False when it was cut at the length limit."""
    grammatical: float | None
    """Share of grammatical sentences; None where the data cannot tell."""
    gold: dict[str, float | None] = field(default_factory=dict)
    """What the rewards of `eval.gold` say."""


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found; metric names without their group."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    """95 % intervals over the prompts."""
    per_prompt_reward: list[float | None]
    """Mean reward of each prompt, of the completions that have one; empty without a reward."""
    samples: list[Sample] = field(repr=False)
    """All of them, the completions to one prompt next to each other."""
    seconds: float = 0.0
    """What it took."""
    ratios: dict[str, Ratio] = field(default_factory=dict, repr=False)
    """The sums of which metrics are ratios, by prompt; of `perplexity` by text."""

    @property
    def rewards(self) -> list[list[float | None]]:
        """Of each prompt, the rewards of its completions; none without a reward."""
        if not self.per_prompt_reward:
            return []
        size = len(self.samples) // len(self.per_prompt_reward)
        sizes = [size] * len(self.per_prompt_reward)
        return [[each.reward for each in group] for group in in_groups(self.samples, sizes)]

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
        for pairs in ("intervals", "ratios"):
            found = content.get(pairs, {})
            content[pairs] = {name: tuple(each) for name, each in found.items()}
        return cls(**content)


def evaluate(
    policy: PolicyLike,
    rows: Sequence[dict[str, Any]],
    reward: Scoring,
    texts: Sequence[str],
    spec: EvalSpec,
    *,
    trained: bool,
    grammatical: Grammatical | None,
) -> Evaluation:
    """Sample, score and measure; model modes and random states are left as they were.

    Args:
        rows: framed held-out rows; the first `spec.prompts` are taken.
        reward: scores the samples, unless it `scores_anything` not. What is missing is left out of
            means, and its share is a metric: `reward_missing`, and `reward_<term>_missing`.
        texts: held-out texts for perplexity; the first `spec.texts` are taken.
        trained: False while the policy still is its reference: KL is 0 without a forward.
        grammatical: share of a text's sentences that are grammatical, where the data can tell.

    Raises:
        ValueError: if there are no rows.
    """
    from rlexp.evaluation.likelihood import drift, text_nats

    started = time.perf_counter()
    rows, texts = rows[: spec.prompts], texts[: spec.texts]
    if not rows:
        raise ValueError("an evaluation needs held-out prompts, got none")
    with undisturbed(policy.model):
        groups = sampled(policy, rows, spec)
        completions = [completion for group in groups for completion in group]
        asked = [row for row, group in zip(rows, groups, strict=True) for _ in group]
        scores = score(reward, asked, completions) if reward.scores_anything else None
        gold = {
            name: score(each, asked, completions).total
            for name, each in spec.gold_checked[0].items()
        }
        samples = _samples(asked, completions, scores, grammatical, gold)
        kl, surprises = drift(policy, completions, spec.batch_size, trained=trained)
        forgetting = text_nats(policy, texts, spec.batch_size) if texts else None

    sizes = [len(group) for group in groups]
    ratios = grouped(of_samples(samples, kl, surprises), sizes)
    ratios |= {"perplexity": forgetting} if forgetting is not None else {}
    metrics, intervals = averages(ratios, spec.bootstrap, spec.seed)
    metrics |= {f"distinct_{n}": _distinct(completions, n) for n in (1, 2)}
    totals = scores.total if scores else []
    return Evaluation(
        metrics=metrics,
        intervals=intervals,
        per_prompt_reward=[_mean(each) for each in in_groups(totals, sizes) if each],
        samples=samples,
        seconds=time.perf_counter() - started,
        ratios=ratios,
    )


def sampled(
    policy: PolicyLike, rows: Sequence[dict[str, Any]], spec: EvalSpec
) -> list[list[Completion]]:
    """`spec.completions` answers to each prompt."""
    return policy.complete(
        [row["prompt"] for row in rows],
        completions=spec.completions,
        max_new_tokens=spec.max_completion_length,
        temperature=spec.temperature,
        seed=spec.seed,
        batch_size=spec.batch_size,
    )


def score(
    reward: Scoring, rows: Sequence[dict[str, Any]], completions: Sequence[Completion]
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
    gold: Mapping[str, Sequence[float | None]],
) -> list[Sample]:
    return [
        Sample(
            prompt=for_people(row),
            completion=completion.text,
            reward=scores.total[index] if scores else None,
            terms={name: each[index] for name, each in scores.terms.items()} if scores else {},
            length=len(completion.token_ids),
            ended=completion.ended,
            grammatical=grammatical(joined(row.get("opening") or "", completion.text))
            if grammatical
            else None,
            gold={name: each[index] for name, each in gold.items()},
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


def _mean(values: Sequence[Value]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _distinct(completions: Sequence[Completion], n: int) -> float:
    """`distinct` of completions without their end tokens."""
    return distinct(
        [each.token_ids[: -1 if each.ended else None] for each in completions],
        n,
    )


def distinct(texts: Iterable[Sequence[int]], n: int) -> float:
    """Distinct n-grams of tokens over all n-grams (Li et al. 2016, arXiv:1510.03055), n 1 or 2.

    Tokens, not words, so that languages without spaces count alike. The share falls as texts grow,
    so compare it at the same number of texts only.
    """
    grams: list[Any] = []
    for tokens in texts:
        grams += tokens if n == 1 else pairwise(tokens)
    return len(set(grams)) / len(grams) if grams else 0.0
