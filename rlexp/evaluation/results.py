"""The result of an evaluation: samples, metrics with intervals, and what they are ratios of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from rlexp.runtime.files import write_atomically
from rlexp.spec.thinking import Thought

Answer = Literal["", "chosen", "rejected"]
"""Which answer of a pair a completion is; empty where it is none of a pair's."""

ANSWERS: tuple[Answer, Answer] = ("chosen", "rejected")

T = TypeVar("T")

_MARKED = re.compile(r"(.*) \((chosen|rejected)\)", re.DOTALL)


def mark_answer(prompt: str, answer: str) -> str:
    """Return a prompt as people see it: with which of its answers is meant, where it has a pair.

    >>> mark_answer("2 + 2?", "chosen"), mark_answer("2 + 2?", "")
    ('2 + 2? (chosen)', '2 + 2?')
    """
    return f"{prompt} ({answer})" if answer else prompt


def split_marked(prompt: str) -> tuple[str, str]:
    """Undo `mark_answer`, for records of before samples had `prompt_id` and `answer`.

    >>> split_marked("2 + 2? (chosen)"), split_marked("2 + 2?")
    (('2 + 2?', 'chosen'), ('2 + 2?', ''))
    """
    marked = _MARKED.fullmatch(prompt)
    return (marked[1], marked[2]) if marked else (prompt, "")


@dataclass(frozen=True)
class Sample:
    """One completion and what was measured of it."""

    prompt: str
    """For people: the text's opening, or the prompt, or the conversation's turns."""
    completion: str
    reward: float | None
    """None where the run has no reward, or where something of it is missing."""
    terms: dict[str, float | None]
    """The reward's terms as they gave it, before normalisation and weight; None where missing."""
    length: int
    """Tokens, end token included; of what rewards see."""
    ended: bool
    """False when it was cut at the length limit."""
    grammatical: float | None
    """Share of grammatical sentences; None where the data cannot tell."""
    gold: dict[str, float | None] = field(default_factory=dict)
    """What the rewards of `eval.gold` say."""
    prompt_id: int | None = None
    """Place of the prompt's row among the held-out rows; None in records of before it was kept."""
    answer: Answer = ""
    thought: Thought | None = None
    """Its thinking, where rewards are not to see that."""

    @property
    def final_answer(self) -> str:
        """What rewards see of the completion."""
        return self.completion[self.thought.characters :] if self.thought else self.completion

    @property
    def tokens(self) -> int:
        """All tokens that were written."""
        return self.length + (self.thought.tokens if self.thought else 0)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Sample:
        """Read what JSON made of one."""
        fields, thought = _with_answer(content), content.get("thought")
        return cls(**{**fields, "thought": Thought(**thought) if thought else None})


@dataclass(frozen=True)
class BenchmarkScore:
    """What a metric `benchmark_…` is a score of."""

    task: str
    """The task's name, or the group's, as lm-eval has it."""
    metric: str
    """With the filter of the answers in brackets, where there is one."""
    documents: int
    few_shot: int | None
    """Solved examples before each question; None where a group's tasks differ."""
    higher_is_better: bool | None
    """None where lm-eval does not say."""


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation; metric names are without their group."""

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
    """The sums of which metrics are ratios, by prompt; of `perplexity` by text, of benchmarks by
    document."""
    benchmarks: dict[str, BenchmarkScore] = field(default_factory=dict)
    """What the metrics of benchmarks are scores of."""

    @property
    def by_prompt(self) -> list[Sequence[Sample]]:
        """The samples of each prompt; none without a reward."""
        prompts = len(self.per_prompt_reward)
        size = len(self.samples) // prompts if prompts else 0
        return list(in_groups(self.samples, [size] * prompts))

    @property
    def rewards(self) -> list[list[float | None]]:
        """The rewards of each prompt's completions; none without a reward."""
        return [[sample.reward for sample in samples] for samples in self.by_prompt]

    def to_json(self, path: Path) -> None:
        """Write all of it to a file, in one step; floats come back with the same bits."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # Python's words for what is not finite, which `json.loads` reads: only rlexp reads this.
        write_atomically(path, json.dumps(asdict(self), ensure_ascii=False))

    @classmethod
    def from_json(cls, path: Path) -> Evaluation:
        """Read what `to_json` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        content["samples"] = [Sample.from_dict(sample) for sample in content["samples"]]
        for field_name in ("intervals", "ratios"):
            pairs = content.get(field_name, {})
            content[field_name] = {name: tuple(pair) for name, pair in pairs.items()}
        scores = content.get("benchmarks", {})
        content["benchmarks"] = {name: BenchmarkScore(**score) for name, score in scores.items()}
        return cls(**content)


Ratio = tuple[list[float], list[float]]
"""Numerators and denominators; the metric is the ratio of their sums."""


def in_groups(values: Sequence[T], sizes: Sequence[int]) -> Iterator[Sequence[T]]:
    """Yield neighbours, as many at a time as the sizes say."""
    start = 0
    for size in sizes:
        yield values[start : start + size]
        start += size


@dataclass(frozen=True)
class Pair:
    """Two completions, and what the reward says of them; None where there is none."""

    prompt: str
    before: str | None
    after: str | None
    reward_before: float | None
    reward_after: float | None
    answer: Answer = ""

    @property
    def shown_prompt(self) -> str:
        """The prompt as people see it."""
        return mark_answer(self.prompt, self.answer)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Pair:
        """Read what JSON made of one."""
        return cls(**_with_answer(content))


def _with_answer(content: dict[str, Any]) -> dict[str, Any]:
    if "answer" in content:
        return content
    prompt, answer = split_marked(content["prompt"])
    return content | {"prompt": prompt, "answer": answer}
