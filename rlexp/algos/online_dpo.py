"""Online DPO (Guo et al. 2024, arXiv:2402.04792), with TRL's OnlineDPOTrainer.

At each step two answers to each prompt are sampled from the policy as it is, the reward says which
one is better, and DPO's loss is taken on that pair: pairs that never go stale, for the price of
generation at each step.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from rlexp.algos.base import OWNED, Training, as_dataset, common_arguments
from rlexp.algos.reward_function import RewardFunction
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import Kind


class OnlineDpo(AlgoSpec):
    """DPO on pairs that the policy samples and the reward judges while it trains."""

    needs: ClassVar[Kind] = "prompts"
    needs_reward: ClassVar[bool] = True
    trl_config: ClassVar[tuple[str, str]] = (
        "experimental/online_dpo/online_dpo_config.py",
        "OnlineDPOConfig",
    )
    owned: ClassVar[dict[str, str]] = {
        **{name: key for name, key in OWNED.items() if name != "max_length"},
        "loss_type": "algo.loss_type",
        "max_new_tokens": "algo.max_completion_length",
        "temperature": "algo.temperature",
        "top_p": "algo.top_p",
        "top_k": "algo.top_k",
        "missing_eos_penalty": "algo.missing_eos_penalty",
        "reward_model_path": "reward=model and reward.path",
        "reward_weights": "reward=mix and reward.terms.<name>.weight",
    }

    beta: float = Field(gt=0)
    """KL coefficient: the larger, the nearer the policy stays to the reference. (For `ipo` it is
    the regularisation tau.)"""
    loss_type: Literal["sigmoid", "ipo"]
    """`sigmoid` (arXiv:2305.18290) or `ipo` (arXiv:2310.12036)."""
    max_completion_length: int = Field(gt=0)
    """Longest completion, in tokens."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the rollouts."""
    top_p: float = Field(gt=0, le=1)
    """Nucleus sampling keeps the most likely tokens of this total probability; 1 keeps all."""
    top_k: int = Field(ge=0)
    """Most likely tokens kept; 0 keeps all."""
    missing_eos_penalty: float | None = Field(gt=0)
    """Taken off the reward of an answer that was cut at the length limit; null takes nothing."""

    def build_trainer(self, training: Training) -> Any:
        """TRL's OnlineDPOTrainer on prompts, with the run's reward as the judge."""
        from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

        common = common_arguments(self, training)
        prompt_and_answer = training.spec.data.max_prompt_length + self.max_completion_length
        arguments = OnlineDPOConfig(
            beta=[self.beta],
            loss_type=self.loss_type,
            max_new_tokens=self.max_completion_length,
            max_length=prompt_and_answer,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            missing_eos_penalty=self.missing_eos_penalty,
            **common,
        )
        reward: Any = RewardFunction(training.spec.reward)  # TRL's type wants None allowed
        trainer = OnlineDPOTrainer(
            model=training.policy.model,
            args=arguments,
            reward_funcs=reward,
            train_dataset=as_dataset(training.rows),
            processing_class=training.policy.tokenizer,
            peft_config=training.policy.adapter,
            callbacks=training.callbacks,
        )
        # Its training step leaves the division by the accumulation steps to accelerate, which
        # transformers sets to 1: micro-batches would add up where they should be averaged.
        trainer.accelerator.gradient_accumulation_steps = arguments.gradient_accumulation_steps
        return trainer
