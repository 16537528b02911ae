"""On what, and how carefully, a policy is evaluated."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pydantic import Field

from rlexp.spec.benchmarks import BenchmarksSpec
from rlexp.spec.errors import Problem
from rlexp.spec.gold import gold_rewards
from rlexp.spec.judge import JudgeSpec, judge_of
from rlexp.spec.part import Part
from rlexp.spec.reward import RewardSpec


class EvalSpec(Part):
    """The card that every run ends with."""

    name: str
    """What cards and tables call it."""
    prompts: int = Field(gt=0)
    """Held-out prompts, the same before, during and after training."""
    completions: int = Field(gt=0)
    """Completions sampled for each prompt."""
    every: int = Field(ge=0)
    """Steps between evaluations while training; 0 evaluates before and after only."""
    texts: int = Field(ge=0)
    """Held-out texts for perplexity; 0 leaves it out."""
    max_completion_length: int = Field(gt=0)
    """Longest completion, in tokens."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the samples; 1 samples the policy itself."""
    batch_size: int = Field(gt=0)
    """Sequences generated or scored at once."""
    seed: int = Field(ge=0)
    """Of the samples; the same for each evaluation, so that they differ by the policy only."""
    bootstrap: int = Field(gt=0)
    """Resamples of the prompts behind the 95 % intervals."""
    gold: dict[str, dict[str, Any]]
    """Rewards by name that are measured and never trained on: what gaming the training's reward
    does not push up. Each is a choice of the group `reward`."""

    judge: dict[str, Any] | None
    """A choice of the group `reward` that can compare two texts: it says which of the completions
    before and after training is better. Null asks nobody."""
    judge_prompts: int = Field(gt=0)
    """Prompts, the first of them, whose first completions the judge compares, in both orders."""
    texts_path: str | None
    """A file of texts (txt, jsonl, csv or parquet) on which forgetting is measured; null takes the
    data's own held-out texts. A txt holds paragraphs with empty lines between them, the others a
    column `text`."""
    slices: list[str]
    """Columns of the data by whose values the card tells rewards apart, beside the prompts' length.
    """
    best_of: int = Field(ge=0)
    """Completions a prompt, of the policy before training, from which best-of-n is estimated: the
    yardstick of what training bought beyond sampling more. 0 leaves it out."""
    best_of_prompts: int = Field(gt=1)
    """Prompts, the first of them, on which it is."""
    benchmarks: BenchmarksSpec
    """Held-out benchmarks, for forgetting by a real measure."""
    budget: float | None = Field(gt=0)
    """What the card may cost, as a share of the training's work: evaluations, best-of-n and guards'
    looks above it become smaller, as docs/evaluation.md says; null never cuts them."""

    @cached_property
    def gold_checked(self) -> tuple[dict[str, RewardSpec], list[Problem]]:
        """The rewards of `gold`, and what is wrong with them."""
        return gold_rewards(self.gold)

    @cached_property
    def judge_checked(self) -> tuple[JudgeSpec | None, list[Problem]]:
        """The judge, and what is wrong with it."""
        return judge_of(self.judge)
