"""Random language models of several architectures, each with another way to take padding badly."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

WIDE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2}
KINDS = {
    "qwen2": {**WIDE, **HEADS},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "gemma2": {**WIDE, **HEADS},
    "cohere": {**WIDE, **HEADS},
    "recurrent_gemma": {**WIDE, **HEADS, "lru_width": 16, "attention_window_size": 32},
    "rwkv": {**WIDE, "attention_hidden_size": 16, "context_length": 64},
    "openai-gpt": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "gptj": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "rotary_dim": 4},
    "mixtral": {**WIDE, **HEADS, **EXPERTS},
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
    "modernbert-decoder": {**WIDE, "num_attention_heads": 2},
}
TOKENS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}


def small_model(kind: str, vocabulary: int = 50, **config: Any) -> Any:
    """Return a random model of a type of transformers, in eval mode, with peaked distributions."""
    about = {**TOKENS, **KINDS[kind], "vocab_size": vocabulary, "initializer_range": 0.4, **config}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **about)).eval()
