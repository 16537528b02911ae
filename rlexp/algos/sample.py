"""No training: answers sampled and rated, as rows for runs that train.

Rejection sampling and best-of-n fine-tuning (`keep=best`, then `algo=sft`: RAFT, Dong et al. 2023,
arXiv:2304.06767; STaR, Zelikman et al. 2022, arXiv:2203.14465, with `least_reward`) and iterated
preference optimisation (`keep=all`, then `algo=dpo`: Yuan et al. 2024, arXiv:2401.10020) are this
and a training in turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from rlexp.spec.algo import UntrainedAlgo


class SampleAnswers(UntrainedAlgo):
    """Answers of a model to the training prompts, each with what the reward says of it."""

    needs_reward: ClassVar[bool] = True
    evaluates: ClassVar[bool] = False
    run_by: ClassVar[str] = "rlexp.runner.sampling.run_sampling.run_sampling"

    prompts: int | None = Field(gt=0)
    """Prompts of the training rows, drawn by the seed; null takes all."""
    completions: int = Field(ge=2)
    """Completions sampled a prompt. A judge that compares is asked about each two of them, in both
    orders."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the samples."""
    top_p: float = Field(gt=0, le=1)
    """Nucleus sampling keeps the most likely tokens of this total probability; 1 keeps all."""
    max_completion_length: int = Field(gt=0)
    """Longest completion, in tokens."""
    keep: Literal["all", "best"]
    """`all`: each row has all answers with their rewards; trainings on pairs take the best and the
    worst, and others make of these what they need. `best`: each row has its best answer as the
    demonstration."""
    least_reward: float | None
    """What a prompt's best answer must earn for its row to be kept; null takes any."""
    least_margin: float = Field(ge=0)
    """By how much a prompt's best answer must earn more than its worst for its row to be kept.
    Prompts whose answers all earn the same are left out of pairs in any case."""

    @classmethod
    def sentence(cls, config: Mapping[str, Any]) -> str:
        model, data, reward = (config[part]["name"] for part in ("model", "data", "reward"))
        count = config["algo"]["completions"]
        return (
            f"{count} answers of {model} (`{config['model']['path']}`) to each training prompt of "
            f"{data}, rated by the reward {reward}: rows for other runs."
        )
