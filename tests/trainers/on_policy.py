"""A policy small enough that all its answers can be listed, for PPO and REINFORCE."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Qwen2ForCausalLM,
    TrainingArguments,
)

from rlexp.models.policy import AdapterOff
from rlexp.models.sampling.rollout import roll_out
from rlexp.runtime.paths import CONF
from rlexp.trainers.config import Baseline, PpoConfig, ReinforceConfig
from rlexp.trainers.groups import answer_rows
from rlexp.trainers.rollouts import GenerationConfig, Rollouts, TrainerInputs

PAD, END = 0, 1
SPECIAL = ["<pad>", "<end>", "p"]

DEFAULTS = yaml.safe_load((CONF / "algo" / "ppo.yaml").read_text(encoding="utf-8"))["algo"]


def ppo_config(**changed: Any) -> PpoConfig:
    defaults = {name: DEFAULTS[name] for name in PpoConfig.model_fields}
    return PpoConfig(**{**defaults, "beta": 0.1, **changed})


def reinforce_config(
    baseline: Baseline, beta: float, sync: int | None = None, mask: bool = False
) -> ReinforceConfig:
    return ReinforceConfig(
        baseline=baseline,
        beta=beta,
        baseline_decay=0.9,
        sync_reference=sync,
        sync_reference_mix=1.0,
        mask_truncated_completions=mask,
    )


def sample_rollouts(
    policy: Any, rows: list[Any], sampling: GenerationConfig, reward: Callable[..., list[float]]
) -> tuple[Rollouts, dict[str, float]]:
    """One answer to each row, with what is logged of them."""
    groups, metrics = answer_rows(policy, rows, 1, vars(sampling), reward)
    rollouts = Rollouts.from_groups(groups, PAD, "cpu")
    return rollouts, metrics | rollouts.metrics(1)


def save_tokenizer(folder: Path, words: list[str]) -> int:
    """A tokenizer of special tokens and words; how many pieces it has."""
    vocabulary = {piece: index for index, piece in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", padding_side="left"
    ).save_pretrained(folder)
    return len(vocabulary)


def save_model(folder: Path, words: list[str], seed: int = 0) -> Path:
    """A random model over special tokens and words, far from uniform, with its tokenizer."""
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, **heads}
    options = {"max_position_embeddings": 64, "initializer_range": 0.2}
    options |= {"tie_word_embeddings": False}
    return _save(Qwen2ForCausalLM, folder, words, seed, **sizes, **options)


def save_gpt2(folder: Path, words: list[str], seed: int = 0) -> Path:
    """The same with learned absolute positions and with dropout, so that errors in them show."""
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    return _save(GPT2LMHeadModel, folder, words, seed, **sizes, initializer_range=0.3)


def _save(model: Any, folder: Path, words: list[str], seed: int, **config: Any) -> Path:
    tokens = {"bos_token_id": None, "eos_token_id": END, "pad_token_id": PAD}
    pieces = save_tokenizer(folder, words)
    torch.manual_seed(seed)
    model(model.config_class(vocab_size=pieces, **tokens, **config)).save_pretrained(folder)
    return folder


class SmallPolicy:
    """What trainers ask of a policy, on a model of `save_model`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder)
        self.tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder)

    def roll_out(self, prompts: Any, **sampling: Any) -> Any:
        ids = self.tokenizer(prompts)["input_ids"]
        return roll_out(self.model, ids, eos_token_ids=[END], pad_token_id=PAD, **sampling)

    def reference(self) -> Any:
        if hasattr(self.model, "disable_adapter"):
            return nullcontext(AdapterOff(self.model))
        return nullcontext(AutoModelForCausalLM.from_pretrained(self.folder).eval())


def trainer_inputs(
    policy: Any,
    reward: Callable[..., list[float]],
    *,
    output: Path,
    max_new_tokens: int,
    steps: int = 1,
    batch: int = 64,
    micro: int | None = None,
    rate: float = 1e-2,
    generations: int = 1,
    prompts: tuple[str, ...] = ("p",),
    temperature: float = 1.0,
    callbacks: tuple[Any, ...] = (),
    **arguments: Any,
) -> TrainerInputs:
    micro = micro or batch
    return TrainerInputs(
        arguments=TrainingArguments(
            output_dir=str(output),
            use_cpu=True,
            bf16=False,
            report_to="none",
            max_steps=steps,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=batch // micro,
            learning_rate=rate,
            logging_steps=1,
            **{"save_strategy": "no", **arguments},
        ),
        policy=policy,
        rows=[{"prompt": prompt} for prompt in prompts],
        reward=reward,
        sampling=GenerationConfig(max_new_tokens, temperature, top_k=0, top_p=1.0),
        callbacks=list(callbacks),
        generations=generations,
        keeps_reference=True,
    )


def all_answers(vocabulary: int, longest: int) -> list[tuple[int, ...]]:
    """Every answer there is: those that end with END, and those cut at the longest length."""
    others = [token for token in range(vocabulary) if token != END]
    ended = [
        (*before, END)
        for length in range(longest)
        for before in itertools.product(others, repeat=length)
    ]
    return ended + list(itertools.product(others, repeat=longest))


def answer_log_probs(model: Any, prompt: int, answers: list[tuple[int, ...]]) -> Tensor:
    """log pi(answer | prompt) of each answer in float64; (len(answers),)."""
    log_probs = torch.empty(len(answers), dtype=torch.float64)
    for length in {len(answer) for answer in answers}:
        places = [i for i, answer in enumerate(answers) if len(answer) == length]
        ids = torch.tensor([[prompt, *answers[i]] for i in places])
        logits = model.eval()(ids).logits[:, :-1].double().log_softmax(-1)
        log_probs[places] = logits.gather(2, ids[:, 1:, None])[..., 0].sum(1)
    return log_probs


def divergence(p: Tensor, q: Tensor) -> float:
    """KL(p || q) in nats, from log-probabilities."""
    return float((p.exp() * (p - q)).sum())
