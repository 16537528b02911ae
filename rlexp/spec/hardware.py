"""Where a run computes, and how much of it at once."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from rlexp.spec.errors import Problem
from rlexp.spec.gold import gold_rewards
from rlexp.spec.judge import JudgeSpec, judge_of
from rlexp.spec.part import Part
from rlexp.spec.reward import RewardSpec


class HardwareSpec(Part):
    """Devices and processes of one run."""

    name: str
    """What cards and tables call it."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """`auto` takes CUDA, then MPS (Apple), then the CPU."""
    processes: int = Field(gt=0)
    """Data-parallel processes on this machine; rlexp starts them itself."""
    mixed_precision: Literal["auto", "no", "bf16"]
    """Autocast of the training step; `auto` takes bf16 on a GPU that has it. Weights keep
    `model.dtype`."""
    threads: int | None = Field(gt=0)
    """CPU threads a process; null shares the cores among the processes."""


class TrainSpec(Part):
    """The optimisation, whatever the algorithm."""

    max_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(gt=0)
    """Sequences (pairs, for algorithms that learn from pairs) an optimizer step, over all
    processes."""
    micro_batch_size: int | None = Field(gt=0)
    """Sequences in memory at once on one device; null takes all of a process's share."""
    lr_scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    """How the learning rate goes down after warm-up."""
    warmup_steps: int = Field(ge=0)
    """Steps in which the learning rate rises from 0."""
    weight_decay: float = Field(ge=0)
    """Of AdamW."""
    max_grad_norm: float = Field(ge=0)
    """Gradients are clipped to this norm; 0 leaves them as they are."""
    gradient_checkpointing: bool
    """Recompute activations in the backward pass: less memory, about a third more time."""
    checkpoint_every: int = Field(gt=0)
    """Steps between checkpoints."""
    keep_checkpoints: int = Field(gt=0)
    """The newest checkpoints that stay on disk."""
    best_metric: str | None
    """Tracked metric by which the best checkpoint is kept as well (`eval/reward`, `rollout/kl`);
    null keeps the newest only."""
    best_mode: Literal["max", "min"]
    """Whether more of that metric is better, or less."""


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

    @cached_property
    def gold_checked(self) -> tuple[dict[str, RewardSpec], list[Problem]]:
        """The rewards of `gold`, and what is wrong with them."""
        return gold_rewards(self.gold)

    @cached_property
    def judge_checked(self) -> tuple[JudgeSpec | None, list[Problem]]:
        """The judge, and what is wrong with it."""
        return judge_of(self.judge)


class TrackingSpec(Part):
    """Where metrics, samples and checkpoints go. The run's own folder always has them."""

    name: str
    """What cards and tables call it."""
    uri: str | None
    """MLflow tracking store: a `sqlite:///` file or a server; null tracks in the run's folder
    only."""
    registry: str | None
    """MLflow's model registry that `registry:NAME` paths mean, in the form of `uri`."""
    experiment: str = Field(min_length=1)
    """MLflow experiment."""
    tags: dict[str, str]
    """Further tags of the MLflow run."""
    log_model: bool
    """Upload the final weights as an artifact too (they are in the run's folder anyway)."""
