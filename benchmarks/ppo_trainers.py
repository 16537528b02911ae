"""One training by TRL's last PPO, by rlexp's, and stripped to what cannot be left out."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainingArguments,
)

VERSION = "1.12.0"
"""Of TRL: the last release with a PPO trainer."""
BATCH, LONGEST, EPOCHS, BETA = 64, 48, 4, 0.05


@dataclass
class Job:
    """What every trainer is given, and what is seen of it.

    Attributes:
        folder: of the policy.
        scorer: `model`, a random reward model of the policy's size, or `sentiment`, VADER.
        ends: times at which steps ended.
        scores: mean score of each batch of answers.
    """

    folder: Path
    scratch: str
    steps: int
    learning_rate: float
    seed: int
    scorer: str
    ends: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @cached_property
    def tokenizer(self) -> Any:
        return PreTrainedTokenizerFast.from_pretrained(self.folder, padding_side="left")

    def policy(self) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32)

    def classifier(self) -> Any:
        """The policy's body with a random head: a reward model, or a critic."""
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_pretrained(
            self.folder, num_labels=1, dtype=torch.float32, pad_token_id=self.tokenizer.pad_token_id
        )

    def prompts(self, count: int) -> list[str]:
        """Openings of film reviews."""
        from rlexp.builtin import grammar

        reviews = grammar.sample_reviews(count, seed=1)
        return [" ".join(each.text.split()[:5]) for each in reviews]

    def score(self, texts: list[str]) -> list[float]:
        """How positive each text is; the mean is noted."""
        from rlexp.rewards.sentiment import analyzer

        found = [analyzer().polarity_scores(text)["compound"] for text in texts]
        self.scores.append(sum(found) / len(found))
        return found

    def stopwatch(self) -> TrainerCallback:
        ends = self.ends

        class Stopwatch(TrainerCallback):
            def on_step_end(self, *given: Any, **named: Any) -> None:
                ends.append(time.perf_counter())

        return Stopwatch()

    def common(self) -> dict[str, Any]:
        """Arguments that both trainers take."""
        return {
            "output_dir": self.scratch,
            "per_device_train_batch_size": BATCH,
            "learning_rate": self.learning_rate,
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "save_strategy": "no",
            "logging_steps": 1,
            "seed": self.seed,
        }


class Reader(nn.Module):
    """VADER in the form in which TRL asks a reward model: a body, whose states a head scores.

    The states are the tokens; the head says at each what the whole text is worth.
    """

    base_model_prefix = "body"

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    def body(self, input_ids: torch.Tensor, **given: Any) -> Any:
        return SimpleNamespace(hidden_states=[input_ids])

    def score(self, states: torch.Tensor) -> torch.Tensor:
        texts = self.job.tokenizer.batch_decode(states, skip_special_tokens=True)
        return torch.tensor(self.job.score(texts))[:, None, None].expand(*states.shape, 1)


def with_trl(job: Job) -> None:
    """TRL's PPO."""
    import trl
    from datasets import Dataset
    from trl.experimental.ppo import PPOConfig, PPOTrainer  # pyright: ignore[reportMissingImports]

    assert trl.__version__ == VERSION, trl.__version__
    policy = job.policy()
    arguments = PPOConfig(
        **job.common(),
        gradient_accumulation_steps=1,
        num_mini_batches=1,
        num_ppo_epochs=EPOCHS,
        total_episodes=BATCH * job.steps,
        local_rollout_forward_batch_size=BATCH,
        num_sample_generations=0,
        response_length=LONGEST,
        stop_token="eos",
        temperature=1.0,
        kl_coef=BETA,
        disable_tqdm=True,
    )
    ids = job.tokenizer(job.prompts(2048))["input_ids"]
    PPOTrainer(
        args=arguments,
        processing_class=job.tokenizer,
        model=policy,
        ref_model=copy.deepcopy(policy),
        reward_model=Reader(job) if job.scorer == "sentiment" else job.classifier().eval(),
        value_model=job.classifier(),
        train_dataset=Dataset.from_dict({"input_ids": ids}),
        eval_dataset=Dataset.from_dict({"input_ids": ids[:8]}),
        callbacks=[job.stopwatch()],
    ).train()


class OurPolicy:
    """What rlexp's trainers ask of a policy."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.folder, self.tokenizer, self.model = job.folder, job.tokenizer, job.policy()
        self.initial = copy.deepcopy(self.model).eval()
        self.rewarding = job.classifier().eval() if job.scorer == "model" else None

    def roll_out(self, prompts: list[str], **sampling: Any) -> Any:
        from rlexp.models.sampling.rollout import roll_out

        ids, pad = self.tokenizer(prompts)["input_ids"], self.tokenizer.pad_token_id
        end = [self.tokenizer.eos_token_id]
        return roll_out(self.model, ids, eos_token_ids=end, pad_token_id=pad, **sampling)

    def reference(self) -> Any:
        return nullcontext(self.initial)

    def reward(self, prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        texts = [p + c for p, c in zip(prompts, completions, strict=True)]
        if self.rewarding is None:
            return self.job.score(texts)
        with torch.no_grad():
            batch = self.tokenizer(texts, padding=True, return_tensors="pt")
            names = ("input_ids", "attention_mask")
            return self.rewarding(**{name: batch[name] for name in names}).logits[:, 0].tolist()


def with_rlexp(job: Job, critic: str) -> None:
    """rlexp's PPO, its critic `shared` or `separate`."""
    from rlexp.runtime.device import keep_freed_memory
    from rlexp.runtime.paths import CONF
    from rlexp.trainers.config import PpoConfig
    from rlexp.trainers.ppo import PpoTrainer
    from rlexp.trainers.rollouts import GenerationConfig, TrainerInputs

    keep_freed_memory()
    policy = OurPolicy(job)
    inputs = TrainerInputs(
        TrainingArguments(**job.common(), max_steps=job.steps),
        policy,
        [{"prompt": prompt} for prompt in job.prompts(2048)],
        policy.reward,
        GenerationConfig(LONGEST, 1.0, 0, 1.0),
        [job.stopwatch()],
        generations=1,
        keeps_reference=True,
    )
    config = yaml.safe_load((CONF / "algo" / "ppo.yaml").read_text(encoding="utf-8"))["algo"]
    knobs = {name: config[name] for name in PpoConfig.model_fields}
    knobs |= {"epochs": EPOCHS, "beta": BETA}
    body = AutoModel.from_pretrained(job.folder) if critic == "separate" else None
    torch.manual_seed(job.seed)
    PpoTrainer(inputs, PpoConfig(**knobs), body).train()


def floor(job: Job) -> None:
    """What cannot be left out, with a shared critic, written down bare.

    The rollout, the reward, a forward pass of policy and reference, and a forward and a backward
    pass for each epoch.
    """
    from rlexp.runtime.device import keep_freed_memory
    from rlexp.trainers.token_scores.sequences import Sequences, score_tokens

    keep_freed_memory()
    policy = OurPolicy(job)
    prompts = job.prompts(BATCH * job.steps)
    policy.model.eval()
    for step in range(job.steps):
        chosen = prompts[step * BATCH : (step + 1) * BATCH]
        rollout = policy.roll_out(
            chosen, max_new_tokens=LONGEST, temperature=1.0, top_k=0, top_p=1.0
        )
        texts = policy.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
        policy.reward(chosen, texts)
        sequences = Sequences.from_rollout(rollout)
        pieces = [
            sequences.rows(index)
            for index in sequences.microbatches(torch.arange(BATCH), BATCH // 2)
        ]
        with torch.no_grad():
            for piece in pieces:
                score_tokens(policy.model, piece, 1.0, None)
                score_tokens(policy.initial, piece, 1.0, None)
        for _ in range(EPOCHS):
            for piece in pieces:
                (
                    score_tokens(policy.model, piece, 1.0, None).log_probs * piece.mask
                ).sum().backward()
            policy.model.zero_grad()
        job.ends.append(time.perf_counter())


TRAINERS: dict[str, Callable[[Job], None]] = {
    "trl": with_trl,
    "shared": lambda job: with_rlexp(job, "shared"),
    "separate": lambda job: with_rlexp(job, "separate"),
    "floor": floor,
}
