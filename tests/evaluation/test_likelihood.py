"""KL and perplexity against slow exact computations and closed forms."""

import copy
import random

import numpy as np
import pytest
import torch
from tiny_policy import TEXTS, TinyPolicy, slow_kl

from rlexp.evaluation import likelihood
from rlexp.spec.policy import Completion


def sequences(lengths, seed=0):
    """Completions of given prompt and answer lengths."""
    draw = random.Random(seed)
    return [
        Completion("", draw.choices(range(2, 50), k=a), draw.choices(range(2, 50), k=b), False)
        for a, b in lengths
    ]


@pytest.mark.parametrize("logits_bytes", [2**28, 4 * 50 * 2 * 7, 1])
def test_kl_is_that_of_a_slow_float64_loop(monkeypatch, logits_bytes):
    """Catches padding that leaks in, a shift by one, a token of the prompt or an end token too
    many, columns lost where a long sequence is looked at in parts, and KL taken backwards."""
    monkeypatch.setattr(likelihood, "LOGITS_BYTES", logits_bytes)
    monkeypatch.setattr(likelihood, "SLICE_BYTES", 4 * 50 * 3)
    policy = TinyPolicy()
    policy.model.eval()
    completions = sequences([(3, 5), (1, 9), (6, 1), (2, 20), (4, 4)])
    found = likelihood.kl_and_surprise(policy, completions, batch_size=3, trained=True)[0]
    assert found == pytest.approx([slow_kl(policy, each) for each in completions], rel=1e-4)
    assert min(found) > 0.1


def test_kl_has_its_closed_form_where_the_models_differ_by_a_bias_only():
    """Two models that ignore their input: KL a token is sum p log p/q of two known vectors."""
    policy = TinyPolicy()
    logits = torch.randn(2, 50, generator=torch.Generator().manual_seed(3))
    for model, wanted in zip((policy.model, policy.initial), logits, strict=True):
        constant_logits(model, wanted)
    p, q = logits.double().softmax(-1)
    found = likelihood.kl_and_surprise(
        policy, sequences([(2, 5), (3, 8)]), batch_size=8, trained=True
    )[0]
    exact = float((p * (p / q).log()).sum())
    assert found == pytest.approx([5 * exact, 8 * exact], rel=1e-5)


def constant_logits(model, wanted):
    """The last norm gives all ones whatever the input, and the head maps them to `wanted`."""
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(1.0)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight = torch.nn.Parameter(wanted[:, None] / 16 * torch.ones(1, 16))


def test_logits_in_memory_stay_under_the_limit(monkeypatch):
    """A vocabulary of 152,000 must not fill the memory: no forward returns more than its share."""
    monkeypatch.setattr(likelihood, "LOGITS_BYTES", 2 * 4 * 50 * 10)
    policy = TinyPolicy()
    positions = []
    policy.model.register_forward_hook(
        lambda *call: positions.append(call[2].logits.shape[:2].numel())
    )
    likelihood.kl_and_surprise(
        policy, sequences([(2, 3), (2, 4), (2, 25)]), batch_size=64, trained=True
    )[0]
    assert max(positions) <= 10


def perplexity(policy):
    nats, predicted = likelihood.text_nats(policy, TEXTS, batch_size=2)
    return np.exp(sum(nats) / sum(predicted))


def test_perplexity_is_that_of_a_slow_loop():
    """Catches padding, the shift, and a mean over texts in place of one over tokens."""
    policy = TinyPolicy()
    model = copy.deepcopy(policy.model).double().eval()
    nats, predicted = 0.0, 0
    for text in TEXTS:
        ids = policy.tokenizer(text)["input_ids"]
        for position in range(1, len(ids)):
            with torch.no_grad():
                logits = model(torch.tensor([ids[:position]])).logits[0, -1]
            nats -= float(logits.log_softmax(-1)[ids[position]])
            predicted += 1
    found = perplexity(policy)
    assert found == pytest.approx(np.exp(nats / predicted), rel=1e-5)


def test_perplexity_of_a_uniform_model_is_the_size_of_its_vocabulary():
    policy = TinyPolicy()
    torch.nn.init.zeros_(policy.model.lm_head.weight)
    found = perplexity(policy)
    assert found == pytest.approx(50, rel=1e-6)
