"""A bandit that language models play: one prompt, one token of answer, arms with known rewards.

Its policy is a model of one layer over eleven tokens; runs of it are made as all runs are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from runs import spec_of
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from rlexp.algos.common.trl import Training
from rlexp.models.load import load_policy
from rlexp.models.locate import local_folder
from rlexp.runtime.environment import silence_libraries
from rlexp.spec.reward import RewardSpec, Text
from rlexp.spec.run import RunSpec

ARMS = [0.0, 0.1, 0.25, 0.4, 0.5, 0.65, 0.8, 1.0]
PIECES = ["<pad>", "<eos>", "p", *(f"a{arm}" for arm in range(len(ARMS)))]
PROMPT, FIRST_ARM, END = 2, 3, 1
ONE_TOKEN = "algo.max_completion_length=1 data.max_completion_length=1"
REWARDS = torch.tensor([-1.0] * FIRST_ARM + ARMS, dtype=torch.float64)


class ArmReward(RewardSpec):
    """What the pulled arm pays; -1 for a token that is no arm."""

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: list[Any]
    ) -> list[float]:
        return [
            ARMS[int(str(text).strip()[1:])] if str(text).strip().startswith("a") else -1.0
            for text in completions
        ]


def save_bandit(folder: Path, seed: int) -> Path:
    """A random model of one layer over eleven tokens, far from uniform, with its tokenizer."""
    words = Tokenizer(
        models.WordLevel({piece: i for i, piece in enumerate(PIECES)}, unk_token="<pad>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<eos>", pad_token="<pad>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(PIECES),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=16,
        tie_word_embeddings=False,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=0,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    (folder / "prompts.jsonl").write_text(json.dumps({"prompt": "p"}) + "\n")
    return folder


def bandit_spec(folder: Path, overrides: str) -> RunSpec:
    """The spec of a command line with these overrides, and the arms' reward."""
    spec = spec_of(
        "model=local",
        f"model.path={folder}",
        "model.chat=false",
        "data=file",
        f"data.path={folder / 'prompts.jsonl'}",
        "reward=length",
        "tracking=none",
        "hardware=cpu",
        "train.batch_size=64",
        "train.micro_batch_size=null",
        "train.checkpoint_every=1000",
        *overrides.split(),
    )
    return spec.model_copy(update={"reward": ArmReward(name="arm")})


def policy_and_training(spec: RunSpec, rows: list[dict[str, Any]], folder: Path) -> Training:
    """All that a trainer of the run is built from, with the policy on the CPU."""
    silence_libraries()
    torch.manual_seed(spec.seed)
    policy = load_policy(spec, "language", torch.device("cpu"), lambda *progress: None)
    spec.algo.prepare(torch.device("cpu"), local_folder)
    return Training(spec, policy, rows, folder, False, [])


def trained(spec: RunSpec, rows: list[dict[str, Any]], folder: Path) -> Any:
    """The model after the training that `rlexp.run` would give it, evaluations left out."""
    training = policy_and_training(spec, rows, folder)
    trainer = spec.algo.build_trainer(training)
    training.policy.model = trainer.model
    trainer.train()
    return training.policy.model


def log_probs(model: Any) -> Tensor:
    """Of each first token of the answer, in float64."""
    with torch.no_grad():
        return model.eval()(torch.tensor([[PROMPT]])).logits[0, -1].double().log_softmax(-1)


def joint_log_probs(model: Any) -> Tensor:
    """Of each arm followed by the end token, normalised over the arms, in float64."""
    answers = torch.tensor([[PROMPT, arm, END] for arm in range(FIRST_ARM, len(PIECES))])
    with torch.no_grad():
        steps = model.eval()(answers).logits.double().log_softmax(-1)
    arm = steps[:, 0].gather(1, answers[:, 1:2])[:, 0]
    end = steps[:, 1].gather(1, answers[:, 2:3])[:, 0]
    return (arm + end).log_softmax(-1)


def kl(policy: Tensor, optimum: Tensor) -> float:
    return float((policy.exp() * (policy - optimum)).sum())


def reference(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder)
