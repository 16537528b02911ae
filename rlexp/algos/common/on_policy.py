"""From a run's parts to what the trainers of rlexp.trainers take."""

from __future__ import annotations

from typing import Any

from rlexp.algos.common.rollouts import sampling
from rlexp.algos.common.trl import Training, common_arguments


def on_policy_task(algo: Any, training: Training, *, generations: int = 1) -> Any:
    """Return the `TrainerInputs` of a run; the policy gets its adapter, where it has one.

    Args:
        algo: a `RolloutAlgo` with `beta`.
        training: the run's parts.
        generations: answers a prompt.
    """
    from transformers import TrainingArguments

    from rlexp.trainers.loop import TrainerInputs
    from rlexp.trainers.rollouts import GenerationConfig

    add_adapter(training.policy)
    return TrainerInputs(
        arguments=TrainingArguments(**common_arguments(algo, training)),
        policy=training.policy,
        rows=training.rows,
        reward=training.reward_function(),
        sampling=GenerationConfig(**sampling(algo)),
        callbacks=training.callbacks,
        generations=generations,
        keeps_reference=algo.beta > 0,
    )


def add_adapter(policy: Any) -> None:
    """Wrap the policy's model as its adapter's config says, if there is one."""
    if policy.adapter is None:
        return
    from peft import get_peft_model, prepare_model_for_kbit_training

    model = policy.model
    if getattr(model, "is_loaded_in_4bit", False):
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    policy.model = get_peft_model(model, policy.adapter)
