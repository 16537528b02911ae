"""Group-relative policy optimisation (Shao et al. 2024, arXiv:2402.03300) and its descendants.

For each prompt a group of answers is sampled; an answer's advantage is its reward minus the
group's mean, so that no critic is needed. A KL penalty holds the policy to the reference.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from rlexp.algos.base import OWNED, Training, as_dataset, common_arguments
from rlexp.algos.reward_function import RewardFunction
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec, TrainSpec

Loss = Literal[
    "grpo",  # mean over an answer's tokens, then over answers: favours short answers
    "dapo",  # mean over all tokens of the batch, arXiv:2503.14476
    "dr_grpo",  # sum over tokens divided by a constant length, arXiv:2503.20783
    "bnpo",  # mean over the tokens of a micro-batch
    "cispo",  # clipped importance weights, arXiv:2506.13585
    "sapo",  # soft adaptive clipping, arXiv:2511.20347
    "luspo",  # length-unbiased sequence weights
    "vespo",  # variational sequence-level weights
]


class Grpo(AlgoSpec):
    """Policy gradient with the group's mean as baseline."""

    needs: ClassVar[Kind] = "prompts"
    needs_reward: ClassVar[bool] = True
    trl_config: ClassVar[tuple[str, str]] = ("trainer/grpo_config.py", "GRPOConfig")
    owned: ClassVar[dict[str, str]] = {
        **{name: key for name, key in OWNED.items() if name != "max_length"},
        "num_generations": "algo.num_generations",
        "max_completion_length": "algo.max_completion_length",
        "temperature": "algo.temperature",
        "top_p": "algo.top_p",
        "top_k": "algo.top_k",
        "loss_type": "algo.loss_type",
        "scale_rewards": "algo.scale_rewards",
        "epsilon": "algo.epsilon",
        "epsilon_high": "algo.epsilon_high",
        "num_iterations": "algo.num_iterations",
        "mask_truncated_completions": "algo.mask_truncated_completions",
        "reward_weights": "reward=mix and reward.terms.<name>.weight",
    }

    beta: float = Field(ge=0)
    """KL coefficient against the reference. 0 loads no reference, and nothing keeps the model
    writing well: it will find what the reward forgets to ask."""
    num_generations: int = Field(ge=2)
    """Completions a prompt: the group whose mean is the baseline."""
    max_completion_length: int = Field(gt=0)
    """Longest completion, in tokens."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the rollouts."""
    top_p: float = Field(gt=0, le=1)
    """Nucleus sampling keeps the most likely tokens of this total probability; 1 keeps all."""
    top_k: int = Field(ge=0)
    """Most likely tokens kept; 0 keeps all."""
    loss_type: Loss
    """How token losses are averaged and ratios bounded; papers beside the names in the source."""
    scale_rewards: Literal["group", "batch", "none"]
    """What the advantages are divided by: the group's standard deviation (the paper), the batch's
    (arXiv:2508.08221) or nothing (Dr. GRPO: easy and hard prompts weigh the same)."""
    epsilon: float = Field(gt=0)
    """Clip range of the ratio of new to old policy."""
    epsilon_high: float | None = Field(gt=0)
    """Upper clip range; null takes `epsilon` (DAPO takes 0.28)."""
    num_iterations: int = Field(gt=0)
    """Optimizer passes over each batch of rollouts (mu in the paper)."""
    mask_truncated_completions: bool
    """Leave completions without an end token out of the loss (DAPO)."""

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Whole groups fill the batch."""
        if train.batch_size % self.num_generations == 0:
            return []
        want = f"a divisor of train.batch_size ({train.batch_size})"
        divisors = [n for n in range(2, train.batch_size + 1) if train.batch_size % n == 0]
        if not divisors:
            return [Problem("train.batch_size", str(train.batch_size), "at least 2 for a group")]
        near = min(divisors, key=lambda n: abs(n - self.num_generations))
        remedy = f"{near} is the nearest."
        return [Problem("algo.num_generations", str(self.num_generations), want, remedy)]

    def build_trainer(self, training: Training) -> Any:
        """TRL's GRPOTrainer on prompts, with the run's reward."""
        from trl import GRPOConfig, GRPOTrainer

        arguments = GRPOConfig(
            beta=self.beta,
            num_generations=self.num_generations,
            max_completion_length=self.max_completion_length,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            loss_type=self.loss_type,
            scale_rewards=self.scale_rewards,
            epsilon=self.epsilon,
            epsilon_high=self.epsilon_high,
            num_iterations=self.num_iterations,
            mask_truncated_completions=self.mask_truncated_completions,
            **common_arguments(self, training),
        )
        return GRPOTrainer(
            model=training.policy.model,
            args=arguments,
            reward_funcs=RewardFunction(training.spec.reward),
            train_dataset=as_dataset(training.rows),
            processing_class=training.policy.tokenizer,
            peft_config=training.policy.adapter,
            callbacks=training.callbacks,
        )
