"""Benchmarks that a model is measured on beside the run's own evaluation, by lm-eval."""

from __future__ import annotations

from pydantic import Field

from rlexp.spec.part import Part


class BenchmarksSpec(Part):
    """Tasks of lm-eval's format (https://github.com/EleutherAI/lm-evaluation-harness), measured
    before and after the training as its own command line measures them."""

    tasks: list[str]
    """Names of lm-eval's own tasks and groups, whose data must be on this machine, or yaml files of
    its format. Their relative data files stand beside the yaml. Empty measures none."""
    limit: int | None = Field(gt=0)
    """Documents of each task, the first ones; null takes all."""
    num_fewshot: int | None = Field(ge=0)
    """Solved examples before each question; null takes what the task says."""
    batch_size: int = Field(gt=0)
    """Requests in memory at once. Their logits over the whole vocabulary are."""
    apply_chat_template: bool
    """Whether questions are put as a user's turn of the model's chat template."""
