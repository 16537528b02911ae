"""On-policy distillation (Agarwal et al. 2024, arXiv:2306.13649), with TRL's DistillationTrainer.

The policy samples an answer to each prompt and learns, at each of its tokens, from the whole
distribution that the teacher gives there: a reward at every token, where a run of GRPO has one an
answer. What is minimised lies between the forward and the reverse KL divergence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PrivateAttr

from rlexp.algos.common.auxiliary_model import AuxiliaryModel
from rlexp.algos.common.rollouts import explain_missing_server, rollout_arguments, with_rollouts
from rlexp.algos.common.trl import OWNED_OF_ROLLOUTS, Training, trl_trainer
from rlexp.spec.algo import RolloutAlgo, TrainerLike, TrlField
from rlexp.spec.errors import Problem
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import KINDS

if TYPE_CHECKING:
    import torch

TEACHER = AuxiliaryModel(
    "algo.teacher",
    ("CausalLM", "LMHead"),
    "a causal language model",
    "Choose a teacher of the policy's family, or sft on texts that the teacher wrote.",
)


class Distill(RolloutAlgo):
    """A policy that learns from a teacher with the same vocabulary."""

    needs_reward: ClassVar[bool] = False
    trl_runs_vllm: ClassVar[bool] = True
    trl_config: ClassVar[tuple[str, str]] = ("trainer/distillation_config.py", "DistillationConfig")
    owned: ClassVar[dict[str, str]] = {
        **OWNED_OF_ROLLOUTS,
        "teacher_model_name_or_path": "algo.teacher",
        "teacher_model_revision": "algo.teacher_revision",
    }

    teacher: str = Field(min_length=1)
    """Who is imitated: a model's folder, a run's folder, `run:ID`, or a hub id. Its tokenizer must
    be the policy's: probabilities are compared token by token."""
    teacher_revision: str | None
    """Hub branch, tag or commit of the teacher; null takes the main branch."""
    divergence: Annotated[float, TrlField("beta")] = Field(ge=0, le=1)
    """0 is the forward KL(teacher || policy), which covers all that the teacher might say; 1 the
    reverse KL(policy || teacher), which keeps to what it would; between them the generalised
    Jensen-Shannon divergence."""
    temperature: Annotated[float, TrlField()] = Field(gt=0)
    """Softmax temperature of the rollouts, and of both models in the divergence."""

    _folder: Path | None = PrivateAttr(default=None)

    def problems(self) -> list[Problem]:
        """The teacher must be there, and write."""
        return [*super().problems(), *TEACHER.problems(self.teacher)]

    def fits_model(self, model: ModelSpec) -> list[Problem]:
        """The teacher must read the policy's tokens."""
        return TEACHER.token_problems(self.teacher, model)

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Fetch the teacher."""
        self._folder = TEACHER.fetch(self.teacher, self.teacher_revision, local_folder)

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's DistillationTrainer on prompts.

        Raises:
            UserError: a teacher with another vocabulary.
        """
        assert self._folder is not None  # the run prepares its parts before it builds a trainer
        policy = training.policy
        TEACHER.check_tokens(self._folder, policy.tokenizer.get_vocab())
        from trl import DistillationConfig, DistillationTrainer

        arguments = DistillationConfig(**rollout_arguments(self, training))
        teacher, _ = KINDS["language"].load(self._folder, TEACHER.key, dtype=policy.model.dtype)
        policy.treat_padding(teacher)
        teacher = teacher.to(policy.model.device)
        with explain_missing_server(self):
            trainer = trl_trainer(DistillationTrainer, arguments, training, teacher_model=teacher)
        return with_rollouts(self, training, trainer)
