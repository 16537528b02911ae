"""REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024, arXiv:2402.14740), as TRL has it.

For each prompt k answers are sampled; an answer's advantage is its reward minus the mean reward of
the k - 1 others. The KL to the reference is taken off the reward of the whole answer, which makes
the policy's optimum exactly reference * exp(reward / beta), up to a constant.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from rlexp.algos.base import OWNED, Training, as_dataset, common_arguments, whole_groups
from rlexp.algos.reward_function import RewardFunction
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec, TrainSpec


class Rloo(AlgoSpec):
    """Policy gradient on whole answers, each compared with the others to the same prompt."""

    needs: ClassVar[Kind] = "prompts"
    needs_reward: ClassVar[bool] = True
    trl_config: ClassVar[tuple[str, str]] = ("trainer/rloo_config.py", "RLOOConfig")
    owned: ClassVar[dict[str, str]] = {
        **{name: key for name, key in OWNED.items() if name != "max_length"},
        "num_generations": "algo.num_generations",
        "max_completion_length": "algo.max_completion_length",
        "temperature": "algo.temperature",
        "top_p": "algo.top_p",
        "top_k": "algo.top_k",
        "epsilon": "algo.epsilon",
        "epsilon_high": "algo.epsilon_high",
        "num_iterations": "algo.num_iterations",
        "normalize_advantages": "algo.normalize_advantages",
        "mask_truncated_completions": "algo.mask_truncated_completions",
        "reward_weights": "reward=mix and reward.terms.<name>.weight",
    }

    beta: float = Field(ge=0)
    """KL coefficient: the answer's log-ratio to the reference, times this, is taken off its
    reward. 0 loads no reference, and nothing keeps the model writing well."""
    num_generations: int = Field(ge=2)
    """Completions a prompt: each has the mean of the others as its baseline."""
    max_completion_length: int = Field(gt=0)
    """Longest completion, in tokens."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the rollouts."""
    top_p: float = Field(gt=0, le=1)
    """Nucleus sampling keeps the most likely tokens of this total probability; 1 keeps all."""
    top_k: int = Field(ge=0)
    """Most likely tokens kept; 0 keeps all."""
    epsilon: float = Field(gt=0)
    """Clip range of the ratio of new to old policy, of whole answers; matters from the second
    pass over a batch on."""
    epsilon_high: float | None = Field(gt=0)
    """Upper clip range; null takes `epsilon`."""
    num_iterations: int = Field(gt=0)
    """Optimizer passes over each batch of rollouts."""
    normalize_advantages: bool
    """Divide the advantages by the batch's standard deviation."""
    mask_truncated_completions: bool
    """Leave completions without an end token out of the loss (DAPO, arXiv:2503.14476)."""

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Whole groups fill the batch."""
        return whole_groups(train, self.num_generations)

    def build_trainer(self, training: Training) -> Any:
        """TRL's RLOOTrainer on prompts, with the run's reward."""
        from trl import RLOOConfig, RLOOTrainer

        arguments = RLOOConfig(
            beta=self.beta,
            num_generations=self.num_generations,
            max_completion_length=self.max_completion_length,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            epsilon=self.epsilon,
            epsilon_high=self.epsilon_high,
            num_iterations=self.num_iterations,
            normalize_advantages=self.normalize_advantages,
            mask_truncated_completions=self.mask_truncated_completions,
            **common_arguments(self, training),
        )
        reward: Any = RewardFunction(training.spec.reward)  # TRL's type wants None allowed
        return RLOOTrainer(
            model=training.policy.model,
            args=arguments,
            reward_funcs=reward,
            train_dataset=as_dataset(training.rows),
            processing_class=training.policy.tokenizer,
            peft_config=training.policy.adapter,
            callbacks=training.callbacks,
        )
