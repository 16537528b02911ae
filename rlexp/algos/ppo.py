"""Proximal policy optimisation with a critic (rlexp.trainers.ppo)."""

from __future__ import annotations

import copy
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from rlexp.algos.base import Training
from rlexp.algos.on_policy import on_policy_task
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.hardware import HardwareSpec, TrainSpec


class Ppo(AlgoSpec):
    """Clipped policy gradient with advantages from a critic."""

    needs: ClassVar[Kind] = "prompts"
    needs_reward: ClassVar[bool] = True

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
    """Folder of the weights that a separate critic starts from, such as a reward model with the
    policy's tokenizer; null takes the policy's."""
    critic_learning_rate: float = Field(gt=0)
    """Peak learning rate of the critic's head, which starts from nothing. A separate body has
    `algo.learning_rate`."""
    max_completion_length: int = Field(gt=0)
    """Longest completion, in tokens."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the rollouts."""
    top_p: float = Field(gt=0, le=1)
    """Nucleus sampling keeps the most likely tokens of this total probability; 1 keeps all."""
    top_k: int = Field(ge=0)
    """Most likely tokens kept; 0 keeps all."""
    trl: dict[str, Any] = Field(max_length=0)
    """Empty: the trainer is rlexp's own."""

    def problems(self) -> list[Problem]:
        """A critic's folder that is none, or that no critic reads; an adaptive KL that is off."""
        found = []
        if self.critic_path is not None:
            remedy = "Set algo.critic=separate, or algo.critic_path=null."
            folder = Path(self.critic_path).expanduser()
            if self.critic == "shared":
                want = "null where critic=shared: it has the policy's body"
                found.append(Problem("algo.critic_path", self.critic_path, want, remedy))
            elif not (folder / "config.json").is_file():
                want = "a folder that save_pretrained wrote"
                found.append(Problem("algo.critic_path", self.critic_path, want))
        if self.kl_target is not None and self.beta == 0:
            remedy = "Set algo.beta=0.05, or algo.kl_target=null."
            want = "above 0 where kl_target is set: 0 can be adapted to nothing else"
            found.append(Problem("algo.beta", "0", want, remedy))
        return found

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Each process's share fills the minibatches."""
        share = train.batch_size // hardware.processes
        if share % self.minibatches == 0:
            return []
        want = f"a divisor of the {share} sequences of a process (train.batch_size / processes)"
        near = min(
            (n for n in range(1, share + 1) if share % n == 0),
            key=lambda n: abs(n - self.minibatches),
        )
        return [Problem("algo.minibatches", str(self.minibatches), want, f"{near} is the nearest.")]

    def build_trainer(self, training: Training) -> Any:
        """PPO on prompts, with the run's reward."""
        from rlexp.trainers.ppo import PpoKnobs, PpoTrainer

        body = self._critic_body(training.policy) if self.critic == "separate" else None
        knobs = PpoKnobs(**{each.name: getattr(self, each.name) for each in fields(PpoKnobs)})
        return PpoTrainer(on_policy_task(self, training), knobs, body)

    def _critic_body(self, policy: Any) -> Any:
        """A transformers model without a head, with adapters where the policy gets them."""
        from transformers import AutoModel

        body = AutoModel.from_pretrained(
            Path(self.critic_path).expanduser() if self.critic_path else policy.folder,
            dtype=policy.model.dtype,
            attn_implementation=policy.spec.attention,
            trust_remote_code=policy.spec.trust_remote_code,
            use_safetensors=True,
        ).to(policy.model.device)
        ours, its = (model.get_input_embeddings().num_embeddings for model in (policy.model, body))
        if its != ours:
            got = f"{self.critic_path}, which embeds {its} tokens"
            want = f"a model with the policy's tokenizer ({ours} tokens)"
            raise UserError(Problem("algo.critic_path", got, want))
        if policy.adapter is None:
            return body
        from peft import get_peft_model

        adapter = copy.copy(policy.adapter)
        adapter.task_type = "FEATURE_EXTRACTION"
        return get_peft_model(body, adapter)
