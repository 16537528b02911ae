"""What a run hands to the trainers here, beside the algorithm's own knobs."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import TrainerCallback, TrainingArguments

from rlexp.trainers.rollouts import GenerationConfig, Reward, Row, TrainablePolicy


@dataclass(frozen=True)
class TrainerInputs:
    """What is trained, on what and how.

    Attributes:
        arguments: transformers' own; those that the loop reads are the output folder, batch sizes,
            steps, learning rate and its schedule, AdamW's constants, gradient clipping and
            checkpointing, logging and saving, precision and seed.
        policy: its model has the adapter, where there is one.
        rows: with a `prompt` (text or messages) and the columns that the reward reads.
        reward: called as TRL calls reward functions.
        callbacks: transformers', called as its Trainer calls them.
        generations: answers a prompt.
        keeps_reference: whether the model as it was before training is wanted.
    """

    arguments: TrainingArguments
    policy: TrainablePolicy
    rows: list[Row]
    reward: Reward
    sampling: GenerationConfig
    callbacks: list[TrainerCallback]
    generations: int
    keeps_reference: bool
