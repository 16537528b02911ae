"""Weights that are read in bfloat16 for a while, and are what they were afterwards."""

from __future__ import annotations

import copy

import pytest
import torch
from small_models import small_model

from rlexp.models.sampling.rounded_weights import rounded_weights


def test_the_block_reads_what_a_rounded_model_reads() -> None:
    """Weights that are left out, or head and embedding that part ways."""
    model = small_model("qwen2", tie_word_embeddings=True)
    half, ids = copy.deepcopy(model), torch.tensor([[3, 4, 5]])
    for parameter in half.parameters():  # rotations stay in float32, as in models that are loaded
        parameter.data = parameter.data.to(torch.bfloat16)
    exact = model(ids).logits
    with rounded_weights(model), torch.no_grad():
        assert model.lm_head.weight is model.model.embed_tokens.weight
        assert torch.equal(model(ids).logits, half(ids).logits)
    assert torch.equal(model(ids).logits, exact)


def test_parameters_and_their_hooks_are_the_same_afterwards() -> None:
    """What gradients are exchanged by, or an optimizer, cut off from the weights; also where the
    sampling fails."""
    model = small_model("qwen2")
    before = dict(model.named_parameters())
    seen: list[torch.Tensor] = []
    weight = model.model.layers[0].mlp.up_proj.weight
    weight.register_post_accumulate_grad_hook(seen.append)
    with pytest.raises(KeyError), rounded_weights(model):
        raise KeyError
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())
    model(torch.tensor([[3, 4, 5]])).logits.sum().backward()
    assert len(seen) == 1 and seen[0] is weight
