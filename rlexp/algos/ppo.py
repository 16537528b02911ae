"""Proximal policy optimisation with a critic (rlexp.trainers.ppo)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import PrivateAttr

from rlexp.algos.common.auxiliary_model import AuxiliaryModel
from rlexp.algos.common.on_policy import OnPolicyAlgo, trainer_inputs
from rlexp.algos.common.policy import PolicyToTrain
from rlexp.algos.common.reference import check_reference_sync
from rlexp.algos.common.rollouts import with_vllm
from rlexp.algos.common.trl import Training, whole_parts
from rlexp.spec.algo import TrainerLike
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.loading import load_whole
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.train import TrainSpec
from rlexp.trainers.config import PpoConfig

if TYPE_CHECKING:
    import torch

CRITIC = AuxiliaryModel(
    "algo.critic_path",
    ("CausalLM", "LMHead", "ForSequenceClassification"),
    "a decoder: a causal language model, or a reward model made of one",
    "Train a reward model from the policy's own weights, or set algo.critic_path=null.",
)


class Ppo(PpoConfig, OnPolicyAlgo):
    """Clipped policy gradient with advantages from a critic; its trainer's knobs: `PpoConfig`."""

    critic: Literal["shared", "separate"]
    """`shared`: a small head on the policy's own body. `separate`: a body of its own, which costs
    as much memory as the policy (LoRA adapters where the policy has them)."""
    critic_path: str | None
    """What a separate critic starts from, such as a reward model with the policy's tokenizer: a
    model's folder, a run's folder, `run:ID`, or a hub id; null takes the policy's weights."""

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
            return [Problem(CRITIC.key, self.critic_path, want, remedy)]
        return CRITIC.problems(self.critic_path)

    def fits_model(self, model: ModelSpec) -> list[Problem]:
        """The critic must read the policy's tokens."""
        if self.critic_path is None or self.problems():
            return []
        return CRITIC.token_problems(self.critic_path, model)

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Fetch what the critic starts from."""
        if self.critic_path is not None:
            self._critic_folder = CRITIC.fetch(self.critic_path, None, local_folder)

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Each process's share fills the minibatches, and whole groups fill it."""
        parts = whole_parts("algo.minibatches", self.minibatches, train, hardware)
        return [*parts, *super().fits(train, hardware)]

    def build_trainer(self, training: Training) -> TrainerLike:
        """PPO on prompts, with the run's reward."""
        from rlexp.trainers.ppo import PpoTrainer

        check_reference_sync(self, training.policy)
        body = self._critic_body(training.policy) if self.critic == "separate" else None
        inputs = trainer_inputs(self, training, with_reference=self.beta > 0)
        return with_vllm(self, training, PpoTrainer(inputs, self, body))

    def _critic_body(self, policy: PolicyToTrain) -> torch.nn.Module:
        """A transformers model without a head, with adapters where the policy gets them.

        Raises:
            UserError: one that reads other tokens than the policy's.
        """
        # The run prepares its parts before it builds a trainer.
        assert self.critic_path is None or self._critic_folder is not None
        folder, vocabulary = self._critic_folder, policy.tokenizer.get_vocab()
        if folder:
            CRITIC.check_tokens(folder, vocabulary)
        body, _ = load_whole(
            "AutoModel",
            folder or policy.initial_folder,
            CRITIC.key if folder else "model.path",
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
            raise UserError(Problem(CRITIC.key, got, want, CRITIC.remedy))
        if policy.adapter is None:
            return body
        from peft import get_peft_model

        adapter = copy.copy(policy.adapter)
        adapter.task_type = "FEATURE_EXTRACTION"
        return get_peft_model(body, adapter)
