"""Proximal policy optimisation with a critic (rlexp.trainers.ppo)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PrivateAttr

from rlexp.algos.common.auxiliary_model import (
    auxiliary_model_problems,
    local_model_folder,
    policy_vocabulary,
    vocabulary_problems,
)
from rlexp.algos.common.on_policy import trainer_inputs
from rlexp.algos.common.policy import PolicyToTrain
from rlexp.algos.common.rollouts import with_vllm
from rlexp.algos.common.trl import Training, whole_parts
from rlexp.spec.algo import RolloutAlgo, TrainerLike
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.loading import load_whole
from rlexp.spec.files.model_folder import saved_path
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.train import TrainSpec
from rlexp.trainers.config import PpoConfig

if TYPE_CHECKING:
    import torch

CRITIC = "algo.critic_path"
DECODER = (
    ("CausalLM", "LMHead", "ForSequenceClassification"),
    "a decoder: a causal language model, or a reward model made of one",
)
REMEDY = "Train a reward model from the policy's own weights, or set algo.critic_path=null."


class Ppo(PpoConfig, RolloutAlgo):
    """Clipped policy gradient with advantages from a critic.

    What the trainer is told stands in `PpoConfig`; here is what it takes to set the trainer up.
    """

    critic: Literal["shared", "separate"]
    """`shared`: a small head on the policy's own body. `separate`: a body of its own, which costs
    as much memory as the policy (LoRA adapters where the policy has them)."""
    critic_path: str | None
    """What a separate critic starts from, such as a reward model with the policy's tokenizer: a
    model's folder, a run's folder, `run:ID`, or a hub id; null takes the policy's weights."""
    rollout: Literal["fast", "vllm"]  # pyright: ignore[reportIncompatibleVariableOverride]
    """Who samples: rlexp's own loop, or vLLM, for models that are large on GPUs (it draws by its
    own random numbers, so that a seed does not repeat a run)."""
    trl: dict[str, Any] = Field(max_length=0)
    """Empty: the trainer is rlexp's own."""

    _critic_folder: Path | None = PrivateAttr(default=None)

    def problems(self) -> list[Problem]:
        """A critic's folder that is none, or that no critic reads; an adaptive KL that is off."""
        problems = [*super().problems(), *self._critic_problems()]
        if self.kl_target is not None and self.beta == 0:
            remedy = "Set algo.beta=0.05, or algo.kl_target=null."
            want = "above 0 where kl_target is set: 0 can be adapted to nothing else"
            problems.append(Problem("algo.beta", "0", want, remedy))
        return problems

    def _critic_problems(self) -> list[Problem]:
        if self.critic_path is None:
            return []
        if self.critic == "shared":
            want = "null where critic=shared: it has the policy's body"
            remedy = "Set algo.critic=separate, or algo.critic_path=null."
            return [Problem(CRITIC, self.critic_path, want, remedy)]
        try:
            folder = local_model_folder(self.critic_path, CRITIC)
        except UserError as error:
            return list(error.problems)
        return auxiliary_model_problems(folder, CRITIC, *DECODER) if folder else []

    def fits_model(self, model: ModelSpec) -> list[Problem]:
        """The critic must read the policy's tokens."""
        if self.critic_path is None or self.problems():
            return []
        folder = local_model_folder(self.critic_path, CRITIC)
        return (
            vocabulary_problems(folder, CRITIC, policy_vocabulary(model), REMEDY) if folder else []
        )

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Fetch what the critic starts from."""
        if self.critic_path is None:
            return
        folder = local_folder(saved_path(self.critic_path, CRITIC), None, CRITIC)
        if wrong := auxiliary_model_problems(folder, CRITIC, *DECODER):
            raise UserError(wrong)
        self._critic_folder = folder

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Each process's share fills the minibatches."""
        return whole_parts("algo.minibatches", self.minibatches, train, hardware)

    def build_trainer(self, training: Training) -> TrainerLike:
        """PPO on prompts, with the run's reward."""
        from rlexp.trainers.ppo import PpoTrainer

        body = self._critic_body(training.policy) if self.critic == "separate" else None
        inputs = trainer_inputs(self, training, with_reference=self.beta > 0)
        trainer = PpoTrainer(inputs, self, body)
        return with_vllm(self, training, trainer)

    def _critic_body(self, policy: PolicyToTrain) -> torch.nn.Module:
        """A transformers model without a head, with adapters where the policy gets them.

        Raises:
            UserError: one that reads other tokens than the policy's.
        """
        # The run prepares its parts before it builds a trainer.
        assert self.critic_path is None or self._critic_folder is not None
        folder, vocabulary = self._critic_folder, policy.tokenizer.get_vocab()
        if folder and (wrong := vocabulary_problems(folder, CRITIC, vocabulary, REMEDY)):
            raise UserError(wrong)
        body, _ = load_whole(
            "AutoModel",
            folder or policy.folder,
            CRITIC if folder else "model.path",
            dtype=policy.model.dtype,
            attn_implementation=policy.spec.attn_implementation,
            trust_remote_code=policy.spec.trust_remote_code,
        )
        body = body.to(policy.model.device)
        policy.treat_padding(body)
        embedded = body.get_input_embeddings().num_embeddings
        if embedded <= max(vocabulary.values()):
            got = f"{self.critic_path}, which embeds {embedded} tokens"
            want = f"a model with the policy's tokenizer ({len(vocabulary)} tokens)"
            raise UserError(Problem(CRITIC, got, want, REMEDY))
        if policy.adapter is None:
            return body
        from peft import get_peft_model

        adapter = copy.copy(policy.adapter)
        adapter.task_type = "FEATURE_EXTRACTION"
        return get_peft_model(body, adapter)
