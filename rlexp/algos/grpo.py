"""Group-relative policy optimisation (Shao et al. 2024, arXiv:2402.03300) and its descendants.

For each prompt a group of answers is sampled; an answer's advantage is its reward minus the
group's mean, so that no critic is needed. A KL penalty holds the policy to the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rlexp.algos.common.pairings import CISPO_CAP, LEVELS, grpo_problems
from rlexp.algos.common.reference import REFERENCE_OF_TRL, with_reference_sync
from rlexp.algos.common.rollouts import (
    dynamic_sampling_problems,
    explain_missing_server,
    rollout_arguments,
    sampling,
    with_dynamic_sampling,
)
from rlexp.algos.common.trl import OWNED_OF_ROLLOUTS, Training, whole_groups
from rlexp.spec.algo import RolloutAlgo, TrainerLike, TrlField
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.train import TrainSpec
from rlexp.trainers.group_config import GrpoLossConfig

PARTS = {"steps_per_generation", "generation_batch_size"}
"""TRL's fields by which a batch of rollouts is learnt from in several updates."""


class Grpo(GrpoLossConfig, RolloutAlgo):
    """Policy gradient with the group's mean as baseline."""

    trl_runs_vllm: ClassVar[bool] = True
    adapts_head: ClassVar[bool] = False
    trl_config: ClassVar[tuple[str, str]] = ("trainer/grpo_config.py", "GRPOConfig")
    owned: ClassVar[dict[str, str]] = (
        OWNED_OF_ROLLOUTS | REFERENCE_OF_TRL | {"use_adaptive_entropy": "algo.entropy_target"}
    )

    beta: Annotated[float, TrlField()] = Field(ge=0)
    """KL coefficient against the reference. 0 loads no reference, and nothing keeps the model
    writing well: it will find what the reward forgets to ask."""
    kl_importance_weights: Annotated[bool, TrlField("use_bias_correction_kl")]
    """Multiply the estimate in the loss by the ratio of new to old policy (DeepSeek-V3.2,
    arXiv:2512.02556). Without it k3 has the gradient of KL(reference || policy), and k1 none."""
    num_generations: Annotated[int, TrlField()] = Field(ge=2)
    """Completions a prompt: the group whose mean is the baseline."""
    scale_rewards: Annotated[Literal["group", "batch", "none"], TrlField()]
    """What the advantages are divided by: the group's standard deviation (the paper), the batch's
    (arXiv:2508.08221) or nothing (Dr. GRPO: easy and hard prompts weigh the same)."""
    num_iterations: Annotated[int, TrlField()] = Field(gt=0)
    """Optimizer passes over each batch of rollouts (mu in the paper)."""
    mask_truncated_completions: Annotated[bool, TrlField()]
    """Leave completions without an end token out of the loss (DAPO)."""
    dynamic_sampling: int = Field(ge=0)
    """Times at most that prompts whose answers all earn the same, and so teach nothing, are
    replaced by others before a step (DAPO, arXiv:2503.14476); 0 keeps them."""

    def problems(self) -> list[Problem]:
        """What would mean something else for this loss, or nothing at all."""
        again = self.num_iterations > 1 or self.rollout == "vllm" or bool(PARTS & self.trl.keys())
        return [*super().problems(), *grpo_problems(self, self.trl, again)]

    def loss_arguments(self) -> dict[str, Any]:
        """What TRL's config is told so that the loss is that of its paper."""
        level = self.importance_sampling_level or LEVELS.get(self.loss_type, "token")
        arguments: dict[str, Any] = {"importance_sampling_level": level}
        if self.loss_type == "cispo" and self.epsilon_high is None:
            arguments["epsilon_high"] = CISPO_CAP
        if self.trust_region != "ratio":
            arguments |= {"epsilon": math.inf, "epsilon_high": math.inf}
        if self.entropy_target is not None:
            arguments |= {"use_adaptive_entropy": True, "entropy_target": self.entropy_target}
        return arguments

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Whole groups fill the batch, and can be replaced where they are to be."""
        problems = whole_groups(train, self.num_generations)
        return problems or dynamic_sampling_problems(self, train, hardware)

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's GRPOTrainer on prompts, with the run's reward."""
        from trl import GRPOConfig

        from rlexp.trainers.group_policy import RegularizedGrpoTrainer

        arguments = GRPOConfig(**(rollout_arguments(self, training) | self.loss_arguments()))
        reward = training.reward_function()
        rollout_func = self._rollout_func(training) if self.rollout == "fast" else None
        more = {"reward_funcs": reward, "rollout_func": rollout_func, "knobs": self}
        with explain_missing_server(self):
            trainer = with_reference_sync(self, RegularizedGrpoTrainer, arguments, training, **more)
        return with_dynamic_sampling(self, training, trainer, reward)

    def _rollout_func(self, training: Training) -> Callable[[list[Any], Any], dict[str, Any]]:
        """Return what TRL calls, with each prompt as often as its group has answers, to sample."""

        def answer(prompts: list[Any], trainer: Any) -> dict[str, Any]:
            rollout = training.policy.roll_out(prompts, **sampling(self))
            return {
                "prompt_ids": rollout.prompts(),
                "completion_ids": rollout.completions(),
                "logprobs": rollout.completion_log_probs(),
            }

        return answer
