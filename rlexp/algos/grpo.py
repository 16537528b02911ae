"""Group-relative policy optimisation (Shao et al. 2024, arXiv:2402.03300) and its descendants.

For each prompt a group of answers is sampled; an answer's advantage is its reward minus the
group's mean, so that no critic is needed. A KL penalty holds the policy to the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rlexp.algos.common.rollouts import (
    dynamic_sampling_problems,
    explain_missing_server,
    rollout_arguments,
    sampling,
    with_dynamic_sampling,
)
from rlexp.algos.common.trl import OWNED_OF_ROLLOUTS, Training, trl_trainer, whole_groups
from rlexp.spec.algo import RolloutAlgo, TrainerLike, TrlField
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.train import TrainSpec

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

CISPO_CAP = 5.0
"""Largest importance weight of `cispo` where nothing else is said: what ScaleRL recommends
(arXiv:2510.13786) and TRL's documentation repeats."""
CLIPPING = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
KNOBS_OF_LOSSES = {
    "delta": CLIPPING,
    "sapo_temperature_pos": ("sapo",),
    "sapo_temperature_neg": ("sapo",),
    "vespo_k_pos": ("vespo",),
    "vespo_lambda_pos": ("vespo",),
    "vespo_k_neg": ("vespo",),
    "vespo_lambda_neg": ("vespo",),
}
"""Fields of TRL's config that only some losses read."""
LEVELS = {"luspo": "sequence", "vespo": "token"}
"""The level of importance sampling that a loss is defined for."""
LENGTH_WEIGHTED = ("bnpo", "dr_grpo", "dapo", "cispo")
"""Losses that would weigh a sequence's one ratio by its length."""


class Grpo(RolloutAlgo):
    """Policy gradient with the group's mean as baseline."""

    trl_runs_vllm: ClassVar[bool] = True
    adapts_head: ClassVar[bool] = False
    trl_config: ClassVar[tuple[str, str]] = ("trainer/grpo_config.py", "GRPOConfig")
    owned: ClassVar[dict[str, str]] = OWNED_OF_ROLLOUTS

    beta: Annotated[float, TrlField()] = Field(ge=0)
    """KL coefficient against the reference. 0 loads no reference, and nothing keeps the model
    writing well: it will find what the reward forgets to ask."""
    num_generations: Annotated[int, TrlField()] = Field(ge=2)
    """Completions a prompt: the group whose mean is the baseline."""
    loss_type: Annotated[Loss, TrlField()]
    """How token losses are averaged and ratios bounded; papers beside the names in the source."""
    scale_rewards: Annotated[Literal["group", "batch", "none"], TrlField()]
    """What the advantages are divided by: the group's standard deviation (the paper), the batch's
    (arXiv:2508.08221) or nothing (Dr. GRPO: easy and hard prompts weigh the same)."""
    epsilon: Annotated[float, TrlField()] = Field(gt=0)
    """Clip range of the ratio of new to old policy."""
    epsilon_high: Annotated[float | None, TrlField()] = Field(gt=0)
    """Upper clip range; null takes `epsilon` (DAPO takes 0.28). With `cispo` it is the largest
    importance weight itself, and null takes 5."""
    num_iterations: Annotated[int, TrlField()] = Field(gt=0)
    """Optimizer passes over each batch of rollouts (mu in the paper)."""
    mask_truncated_completions: Annotated[bool, TrlField()]
    """Leave completions without an end token out of the loss (DAPO)."""
    dynamic_sampling: int = Field(ge=0)
    """Times at most that prompts whose answers all earn the same, and so teach nothing, are
    replaced by others before a step (DAPO, arXiv:2503.14476); 0 keeps them."""

    def problems(self) -> list[Problem]:
        """What would mean something else for this loss, or nothing at all."""
        loss, problems = self.loss_type, super().problems()
        if loss == "cispo" and self.epsilon_high is not None and self.epsilon_high < 1:
            want = "1 or more with loss_type=cispo, which caps the weight itself there"
            remedy = f"Set algo.epsilon_high={CISPO_CAP:g}, or algo.epsilon_high=null for that."
            problems.append(Problem("algo.epsilon_high", str(self.epsilon_high), want, remedy))
        for name in KNOBS_OF_LOSSES.keys() & self.trl.keys():
            if loss not in KNOBS_OF_LOSSES[name]:
                want = f"nothing with loss_type={loss}, which does not read it"
                remedy = f"Leave it out, or set algo.loss_type={KNOBS_OF_LOSSES[name][0]}."
                problems.append(Problem(f"algo.trl.{name}", str(self.trl[name]), want, remedy))
        level = self.trl.get("importance_sampling_level")
        right = "token" if loss in LENGTH_WEIGHTED else LEVELS.get(loss, level)
        if level is not None and level != right:
            want = f"{right} with loss_type={loss}"
            remedy = "Leave it out. GSPO is algo.loss_type=grpo with sequence (arXiv:2507.18071)."
            problems.append(Problem("algo.trl.importance_sampling_level", level, want, remedy))
        return problems

    def loss_arguments(self) -> dict[str, Any]:
        """What TRL's config is told so that the loss is that of its paper."""
        arguments: dict[str, Any] = {}
        if self.loss_type == "cispo" and self.epsilon_high is None:
            arguments["epsilon_high"] = CISPO_CAP
        if self.loss_type in LEVELS:
            arguments["importance_sampling_level"] = LEVELS[self.loss_type]
        return arguments

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Whole groups fill the batch, and can be replaced where they are to be."""
        problems = whole_groups(train, self.num_generations)
        return problems or dynamic_sampling_problems(self, train, hardware)

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's GRPOTrainer on prompts, with the run's reward."""
        from trl import GRPOConfig, GRPOTrainer

        arguments = GRPOConfig(**(rollout_arguments(self, training) | self.loss_arguments()))
        reward = training.reward_function()
        rollout_func = self._rollout_func(training) if self.rollout == "fast" else None
        more = {"reward_funcs": reward, "rollout_func": rollout_func}
        with explain_missing_server(self):
            trainer = trl_trainer(GRPOTrainer, arguments, training, **more)
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
