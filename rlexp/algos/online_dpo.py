"""Online DPO (Guo et al. 2024, arXiv:2402.04792), with TRL's OnlineDPOTrainer.

At each step two answers to each prompt are sampled from the policy as it is, the reward says which
one is better, and DPO's loss is taken on that pair: pairs that never go stale, for the price of
generation at each step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rlexp.algos.common.rollouts import longest_sequence, rollout_arguments, with_rollouts
from rlexp.algos.common.trl import OWNED_OF_ROLLOUTS, Training, trl_trainer
from rlexp.spec.algo import RolloutAlgo, RowFormat, TrainerLike, TrlField


class OnlineDpo(RolloutAlgo):
    """DPO on pairs that the policy samples and the reward judges while it trains."""

    row_format: ClassVar[RowFormat] = "bare_prompts"
    trl_config: ClassVar[tuple[str, str]] = (
        "experimental/online_dpo/online_dpo_config.py",
        "OnlineDPOConfig",
    )
    owned: ClassVar[dict[str, str]] = OWNED_OF_ROLLOUTS | {
        "reward_model_path": "reward=model and reward.path"
    }

    beta: Annotated[float, TrlField()] = Field(gt=0)
    """KL coefficient: the larger, the nearer the policy stays to the reference. (For `ipo` it is
    the regularisation tau.)"""
    loss_type: Annotated[Literal["sigmoid", "ipo"], TrlField()]
    """`sigmoid` (arXiv:2305.18290) or `ipo` (arXiv:2310.12036)."""
    missing_eos_penalty: Annotated[float | None, TrlField()] = Field(gt=0)
    """Taken off the reward of an answer that was cut at the length limit; null takes nothing."""
    max_completion_length: Annotated[int, TrlField("max_new_tokens")] = Field(gt=0)
    """Longest completion, in tokens."""

    @property
    def answers_a_prompt(self) -> int:
        return 2

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's OnlineDPOTrainer on prompts, with the run's reward as the judge."""
        from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

        from rlexp.algos.common.online_dpo_log import OnlineDpoLog

        longest: dict[str, Any] = {"max_length": longest_sequence(self, training)}
        arguments = OnlineDPOConfig(**(longest | rollout_arguments(self, training)))
        log = OnlineDpoLog(training.reward_function(), training.policy.eos_token_ids)
        training = replace(training, callbacks=[log, *training.callbacks])
        trainer = trl_trainer(OnlineDPOTrainer, arguments, training, reward_funcs=log.score)
        # Its training step leaves the division by the accumulation steps to accelerate, which
        # transformers sets to 1: micro-batches would add up where they should be averaged.
        trainer.accelerator.gradient_accumulation_steps = arguments.gradient_accumulation_steps
        return with_rollouts(self, training, trainer)
