"""How long a training goes on, in what batches, and which checkpoints stay."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlexp.spec.part import Part


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
