"""REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024, arXiv:2402.14740), as TRL has it.

For each prompt k answers are sampled; an answer's advantage is its reward minus the mean reward of
the k - 1 others. The KL to the reference is taken off the reward of the whole answer, which makes
the policy's optimum exactly reference * exp(reward / beta), up to a constant.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from rlexp.algos.common.pairings import kl_problems
from rlexp.algos.common.reference import REFERENCE_OF_TRL, with_reference_sync
from rlexp.algos.common.rollouts import (
    dynamic_sampling_problems,
    explain_missing_server,
    rollout_arguments,
    with_dynamic_sampling,
    with_rollouts,
)
from rlexp.algos.common.trl import OWNED_OF_ROLLOUTS, Training, whole_groups
from rlexp.spec.algo import RolloutAlgo, TrainerLike, TrlField
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.train import TrainSpec
from rlexp.trainers.config import KlConfig


class Rloo(KlConfig, RolloutAlgo):
    """Policy gradient on whole answers, each compared with the others to the same prompt."""

    trl_runs_vllm: ClassVar[bool] = True
    adapts_head: ClassVar[bool] = False
    trl_config: ClassVar[tuple[str, str]] = ("trainer/rloo_config.py", "RLOOConfig")
    owned: ClassVar[dict[str, str]] = OWNED_OF_ROLLOUTS | REFERENCE_OF_TRL

    beta: Annotated[float, TrlField()] = Field(ge=0)
    """KL coefficient: the answer's KL divergence from the reference, times this, is taken off its
    reward, or added to the loss. 0 loads no reference, and nothing keeps the model writing well."""
    num_generations: Annotated[int, TrlField()] = Field(ge=2)
    """Completions a prompt: each has the mean of the others as its baseline."""
    epsilon: Annotated[float, TrlField()] = Field(gt=0)
    """Clip range of the ratio of new to old policy, of whole answers; matters from the second
    pass over a batch on."""
    epsilon_high: Annotated[float | None, TrlField()] = Field(gt=0)
    """Upper clip range; null takes `epsilon`."""
    num_iterations: Annotated[int, TrlField()] = Field(gt=0)
    """Optimizer passes over each batch of rollouts."""
    normalize_advantages: Annotated[bool, TrlField()]
    """Divide the advantages by the batch's standard deviation."""
    mask_truncated_completions: Annotated[bool, TrlField()]
    """Leave completions without an end token out of the loss (DAPO, arXiv:2503.14476)."""
    dynamic_sampling: int = Field(ge=0)
    """Times at most that prompts whose answers all earn the same, and so teach nothing, are
    replaced by others before a step (DAPO, arXiv:2503.14476); 0 keeps them."""

    def problems(self) -> list[Problem]:
        """A KL divergence without a gradient."""
        return [*super().problems(), *kl_problems(self)]

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Whole groups fill the batch, and can be replaced where they are to be."""
        problems = whole_groups(train, self.num_generations)
        return problems or dynamic_sampling_problems(self, train, hardware)

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's RLOOTrainer on prompts, with the run's reward."""
        from trl import RLOOConfig

        from rlexp.trainers.group_policy import RegularizedRlooTrainer

        arguments = RLOOConfig(**rollout_arguments(self, training))
        reward = training.reward_function()
        more = {"reward_funcs": reward, "knobs": self}
        with explain_missing_server(self):
            trainer = with_reference_sync(self, RegularizedRlooTrainer, arguments, training, **more)
        trainer = with_rollouts(self, training, trainer)
        return with_dynamic_sampling(self, training, trainer, reward)
