"""From a run's parts to what the trainers of rlexp.trainers take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rlexp.algos.common.policy import PolicyToTrain
from rlexp.algos.common.rollouts import dynamic_sampling_problems, sampling
from rlexp.algos.common.trl import Training, common_arguments, whole_parts
from rlexp.spec.algo import RolloutAlgo
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.train import TrainSpec

if TYPE_CHECKING:
    from rlexp.trainers.rollouts import TrainerInputs


class OnPolicyAlgo(RolloutAlgo):
    """An algorithm with a trainer of rlexp's own."""

    rollout: Literal["fast", "vllm"]  # pyright: ignore[reportIncompatibleVariableOverride]
    """Who samples: rlexp's own loop, or vLLM, for models that are large on GPUs (it draws by its
    own random numbers, so that a seed does not repeat a run)."""
    num_generations: int = Field(gt=0)
    """Completions a prompt; at least 2 for what compares them (`leave_one_out`, dynamic sampling,
    `reward.normalize=group`)."""
    dynamic_sampling: int = Field(ge=0)
    """Times at most that prompts whose answers all earn the same, and so teach nothing, are
    replaced by others before a step (DAPO, arXiv:2503.14476); 0 keeps them."""
    trl: dict[str, Any] = Field(max_length=0)
    """Empty: the trainer is rlexp's own."""

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Each process answers whole prompts, whose groups can be replaced where they are to be."""
        key, answers = "algo.num_generations", self.num_generations
        problems = whole_parts(key, answers, train, hardware)
        return problems or dynamic_sampling_problems(self, train, hardware)


def trainer_inputs(
    algo: OnPolicyAlgo, training: Training, *, with_reference: bool
) -> TrainerInputs:
    """Return the `TrainerInputs` of a run; the policy gets its adapter, where it has one."""
    from transformers import TrainingArguments

    from rlexp.trainers.rollouts import GenerationConfig, TrainerInputs

    add_adapter(training.policy)
    reward = training.reward_function()
    return TrainerInputs(
        arguments=TrainingArguments(**common_arguments(algo, training)),
        policy=training.policy,
        rows=training.rows,
        reward=reward.draw,
        sampling=GenerationConfig(**sampling(algo)),
        callbacks=training.callbacks,
        generations=algo.num_generations,
        keeps_reference=with_reference,
        curriculum=training.curriculum,
        attempts=algo.dynamic_sampling,
        whiten=reward.scorer.whiten_totals,
    )


def add_adapter(policy: PolicyToTrain) -> None:
    """Wrap the policy's model as its adapter's config says, if there is one to be added."""
    if policy.adapter is None or policy.continues:
        return
    from peft import get_peft_model, prepare_model_for_kbit_training

    model = policy.model
    if getattr(model, "is_loaded_in_4bit", False):
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    policy.model = get_peft_model(model, policy.adapter)
