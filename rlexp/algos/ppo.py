"""Proximal policy optimisation with a critic (rlexp.trainers.ppo)."""

from __future__ import annotations

import copy
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from rlexp.algos.common.auxiliary_model import (
    auxiliary_model_problems,
    local_companion,
    other_vocabulary,
    policy_vocabulary,
)
from rlexp.algos.common.on_policy import on_policy_task
from rlexp.algos.common.rollouts import with_vllm
from rlexp.algos.common.trl import Training, whole_parts
from rlexp.spec.algo import RolloutAlgo
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import saved_path
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.train import TrainSpec

CRITIC = "algo.critic_path"
DECODER = (
    ("CausalLM", "LMHead", "ForSequenceClassification"),
    "a decoder: a causal language model, or a reward model made of one",
)
REMEDY = "Train a reward model from the policy's own weights, or set algo.critic_path=null."


class Ppo(RolloutAlgo):
    """Clipped policy gradient with advantages from a critic."""

    beta: float = Field(ge=0)
    """KL coefficient: what a nat of drift from the reference costs, in units of the reward."""
    kl_estimator: Literal["k1", "k2", "k3"]
    """How the KL divergence is estimated at a token (Schulman 2020): k1 = log ratio, unbiased; k2 =
    half its square; k3, never negative. As a penalty only k1 has the KL's own gradient."""
    kl_target: float | None = Field(gt=0)
    """KL divergence from the reference, in nats an answer, that `beta` is adapted to (Ziegler et
    al. 2019, arXiv:1909.08593); null keeps `beta`."""
    kl_horizon: int = Field(gt=0)
    """Answers over which an adaptive `beta` can change by a fifth."""
    early_stop_kl: float | None = Field(gt=0)
    """KL divergence from the policy that sampled, in nats a token, above which the rest of a
    batch's updates is left out; null never does."""
    gamma: float = Field(gt=0, le=1)
    """Discount of the reward a token; 1 for answers, whose reward comes at the end."""
    lam: float = Field(ge=0, le=1)
    """Lambda of generalised advantage estimation (arXiv:1506.02438): 0 trusts the critic, 1 the
    sampled return."""
    epsilon: float = Field(gt=0)
    """Clip range of the ratio of new to old policy."""
    value_epsilon: float | None = Field(gt=0)
    """Clip range of the critic's values around those at sampling, in units of the reward; null
    leaves them."""
    value_coefficient: float = Field(ge=0)
    """Weight of the critic's loss beside the policy's."""
    entropy_coefficient: float = Field(ge=0)
    """Weight of the policy's entropy as a bonus."""
    whiten_advantages: bool
    """Scale advantages to mean 0 and variance 1 over the tokens of a batch."""
    missing_end_penalty: float = Field(ge=0)
    """Taken from the reward of an answer that was cut at the length limit."""
    epochs: int = Field(gt=0)
    """Passes over each batch of answers."""
    minibatches: int = Field(gt=0)
    """Optimizer updates a pass; each sees as large a part of the batch."""
    critic: Literal["shared", "separate"]
    """`shared`: a small head on the policy's own body. `separate`: a body of its own, which costs
    as much memory as the policy (LoRA adapters where the policy has them)."""
    critic_path: str | None
    """What a separate critic starts from, such as a reward model with the policy's tokenizer: a
    model's folder, a run's folder, `run:ID`, or a hub id; null takes the policy's weights."""
    critic_learning_rate: float = Field(gt=0)
    """Peak learning rate of the critic's head, which starts from nothing. A separate body has
    `algo.learning_rate`."""
    rollout: Literal["fast", "vllm"]  # pyright: ignore[reportIncompatibleVariableOverride]
    """Who samples: rlexp's own loop, or vLLM, for models that are large on GPUs (it draws by its
    own random numbers, so that a seed does not repeat a run)."""
    trl: dict[str, Any] = Field(max_length=0)
    """Empty: the trainer is rlexp's own."""

    _critic_folder: Path | None = PrivateAttr(default=None)

    def problems(self) -> list[Problem]:
        """A critic's folder that is none, or that no critic reads; an adaptive KL that is off."""
        found = [*super().problems(), *self._problems_of_the_critic()]
        if self.kl_target is not None and self.beta == 0:
            remedy = "Set algo.beta=0.05, or algo.kl_target=null."
            want = "above 0 where kl_target is set: 0 can be adapted to nothing else"
            found.append(Problem("algo.beta", "0", want, remedy))
        return found

    def _problems_of_the_critic(self) -> list[Problem]:
        if self.critic_path is None:
            return []
        if self.critic == "shared":
            want = "null where critic=shared: it has the policy's body"
            remedy = "Set algo.critic=separate, or algo.critic_path=null."
            return [Problem(CRITIC, self.critic_path, want, remedy)]
        try:
            folder = local_companion(self.critic_path, CRITIC)
        except UserError as error:
            return list(error.problems)
        return auxiliary_model_problems(folder, CRITIC, *DECODER) if folder else []

    def fits_model(self, model: ModelSpec) -> list[Problem]:
        """The critic must read the policy's tokens."""
        if self.critic_path is None or self.problems():
            return []
        folder = local_companion(self.critic_path, CRITIC)
        return other_vocabulary(folder, CRITIC, policy_vocabulary(model), REMEDY) if folder else []

    def prepare(self, device: Any, local_folder: Any) -> None:
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

    def build_trainer(self, training: Training) -> Any:
        """PPO on prompts, with the run's reward."""
        from rlexp.trainers.ppo import PpoConfig, PpoTrainer

        body = self._critic_body(training.policy) if self.critic == "separate" else None
        knobs = PpoConfig(**{each.name: getattr(self, each.name) for each in fields(PpoConfig)})
        trainer = PpoTrainer(on_policy_task(self, training), knobs, body)
        return with_vllm(self, training, trainer)

    def _critic_body(self, policy: Any) -> Any:
        """A transformers model without a head, with adapters where the policy gets them.

        Raises:
            UserError: one that reads other tokens than the policy's.
        """
        from transformers import AutoModel

        # The run prepares its parts before it builds a trainer.
        assert self.critic_path is None or self._critic_folder is not None
        folder, pieces = self._critic_folder, policy.tokenizer.get_vocab()
        if folder and (wrong := other_vocabulary(folder, CRITIC, pieces, REMEDY)):
            raise UserError(wrong)
        body = AutoModel.from_pretrained(
            folder or policy.folder,
            dtype=policy.model.dtype,
            attn_implementation=policy.spec.attention,
            trust_remote_code=policy.spec.trust_remote_code,
            use_safetensors=True,
        ).to(policy.model.device)
        embedded = body.get_input_embeddings().num_embeddings
        if embedded <= max(pieces.values()):
            got = f"{self.critic_path}, which embeds {embedded} tokens"
            want = f"a model with the policy's tokenizer ({len(pieces)} tokens)"
            raise UserError(Problem(CRITIC, got, want, REMEDY))
        if policy.adapter is None:
            return body
        from peft import get_peft_model

        adapter = copy.copy(policy.adapter)
        adapter.task_type = "FEATURE_EXTRACTION"
        return get_peft_model(body, adapter)
