"""A policy small enough to be checked by hand, with real generation, and exact slow measures."""

import copy
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from runs import spec_of
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from rlexp.models.policy import Policy
from rlexp.spec.policy import Completion
from rlexp.spec.reward import RewardSpec

END = 1
WORDS = ["<pad>", "<end>", *(f"w{index}" for index in range(48))]
TEXTS = ["w1 w2 w3", "w4 w5 w6 w7 w8 w9", "w3 w1"]


class TinyPolicy:
    """Random Qwen2 with two layers of width 16; the reference is another one."""

    def __init__(self, seed: int = 0):
        torch.manual_seed(seed)
        config = Qwen2Config(
            vocab_size=len(WORDS),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
            initializer_range=0.5,  # peaked distributions, so that errors show
        )
        self.model: Any = Qwen2ForCausalLM(config)
        self.initial = Qwen2ForCausalLM(config).eval()
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<pad>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", padding_side="left"
        )

    def complete(self, prompts, *, completions, max_new_tokens, temperature, seed, batch_size):
        groups = []
        for index, prompt in enumerate(prompts):
            ids = self.tokenizer(prompt)["input_ids"]
            torch.manual_seed(seed + index)
            rows = self.model.generate(
                torch.tensor([ids] * completions),
                max_new_tokens=max_new_tokens,
                do_sample=True,
                top_k=0,
                temperature=temperature,
                eos_token_id=END,
                pad_token_id=0,
            )[:, len(ids) :].tolist()
            groups.append([self._completion(ids, row) for row in rows])
        return groups

    def _completion(self, prompt_ids, row):
        ended = END in row
        ids = row[: row.index(END) + 1] if ended else row
        return Completion(
            str(self.tokenizer.decode(ids, skip_special_tokens=True)), prompt_ids, ids, ended
        )

    def reference(self):
        return nullcontext(self.initial)


@torch.no_grad()
def slow_kl(policy, completion):
    """Sum over positions and vocabulary in float64, one unpadded sequence, prefix by prefix."""
    policy_model, reference_model = (
        copy.deepcopy(policy.model).double(),
        copy.deepcopy(policy.initial).double(),
    )
    policy_model.eval()
    total = 0.0
    for position in range(len(completion.token_ids)):
        prefix = torch.tensor([completion.prompt_ids + completion.token_ids[:position]])
        p, q = (
            model(prefix).logits[0, -1].softmax(-1) for model in (policy_model, reference_model)
        )
        total += sum(a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True))
    return total


PROMPTS = [[5, 6, 7, 8], [9], [10, 11], [9]]


def policy_of(tiny: TinyPolicy, folder: Path, adapter: Any = None) -> Policy:
    """A policy whose initial weights are on disk, where trainers look for the reference."""
    tiny.model.save_pretrained(folder)
    tiny.model.config._name_or_path = tiny.model.name_or_path = str(folder)
    spec = spec_of("model=local", f"model.path={folder}").model
    return Policy(tiny.model, tiny.tokenizer, folder, spec, False, adapter, 1.0, [])


class Recording(RewardSpec):
    """Rewards long answers, and keeps what it was called with."""

    calls: list[Any]

    def __call__(self, prompts, completions, **columns):
        self.calls.append((prompts, completions, columns))
        return [float(len(str(answer))) for answer in completions]
