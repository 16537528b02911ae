"""Sampling a token: frequencies and log-probabilities against exact, slow computations."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from tiny_policy import TinyPolicy

from rlexp.models.sampling.rollout import roll_out, sample_tokens


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exact_distribution(logits: list[float], temperature: float, top_k: int, top_p: float) -> Any:
    """The distribution by a slow loop: temperature, then the k likeliest, then the nucleus."""
    weights = [math.exp(logit / temperature) for logit in logits]
    order = sorted(range(len(logits)), key=lambda i: -weights[i])[: top_k or None]
    total, kept, mass = sum(weights[i] for i in order), [], 0.0
    for i in order:
        if mass < top_p * total:
            kept.append(i)
            mass += weights[i]
    return [weights[i] / mass if i in kept else 0.0 for i in range(len(logits))]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 0, 1.0), (0.6, 0, 1.0), (1.7, 5, 1.0), (1.0, 0, 0.8), (1.3, 9, 0.7), (1.0, 1, 1.0)],
)
def test_sampled_frequencies_are_the_exact_probabilities(temperature, top_k, top_p):
    """Catches a biased draw, temperature after the cut instead of before, a nucleus that lacks the
    token which crosses its edge, and tokens drawn from what was cut."""
    logits = (torch.randn(12, generator=seeded(3)) * 2).tolist()
    draws = 40_000
    uniforms = torch.rand(draws, dtype=torch.float64, generator=seeded(4))
    rows = torch.tensor(logits).expand(draws, -1)
    tokens, log_probs = sample_tokens(rows, uniforms, temperature, top_k, top_p)
    exact = exact_distribution(logits, temperature, top_k, top_p)
    counts = tokens.bincount(minlength=len(logits)).tolist()
    possible = [i for i, p in enumerate(exact) if p > 0]
    assert sum(counts[i] for i in possible) == draws
    if len(possible) > 1:
        expected = [exact[i] * draws for i in possible]
        assert chisquare([counts[i] for i in possible], expected).pvalue > 1e-3
    uncut = (torch.tensor(logits, dtype=torch.float64) / temperature).log_softmax(-1)
    torch.testing.assert_close(log_probs.double(), uncut[tokens], atol=1e-6, rtol=0)


def test_two_steps_have_their_joint_distribution():
    """Catches uniform numbers that are shared between steps or rows: each token's own frequencies
    would still be right."""
    model, prompt, n = TinyPolicy().model, [7, 3, 9], 20_000
    cut: dict[str, Any] = dict(temperature=2.0, top_k=4, top_p=1.0)

    def following(*tokens: int) -> dict[int, float]:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, -1].tolist()
        return {i: p for i, p in enumerate(exact_distribution(logits, **cut)) if p > 0}

    first = following()
    end = next(iter(first))
    exact = {(end,): first.pop(end)}
    for one, p in first.items():
        exact |= {(one, two): p * q for two, q in following(one).items()}
    rollout = roll_out(
        model,
        [prompt] * n,
        max_new_tokens=2,
        eos_token_ids=[end],
        pad_token_id=0,
        generator=seeded(0),
        **cut,
    )
    counts = Counter(map(tuple, rollout.completions()))
    assert set(counts) <= set(exact) and min(exact.values()) * n > 5
    wanted = [p * n for p in exact.values()]
    assert chisquare([counts[answer] for answer in exact], wanted).pvalue > 1e-3


def test_the_edges_of_the_uniform_numbers_give_possible_tokens():
    """Catches an impossible token at 0, and one beyond the vocabulary just below 1."""
    logits = torch.tensor([[-math.inf, 0.3, -math.inf, 1.1, -math.inf]]).expand(2, -1)
    uniforms = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert sample_tokens(logits, uniforms, 1.0, 0, 1.0)[0].tolist() == [1, 3]


def test_rare_tokens_of_a_large_vocabulary_are_drawn():
    """Catches a cumulative sum in float32: of 100,000 tokens of 1e-9 each behind a certain one,
    its rounding would give all probability to one in a hundred."""
    rare, odds = 100_000, 1e-9
    logits = torch.cat([torch.zeros(1), torch.full((rare,), math.log(odds))])[None]
    for wanted in (30_011, 50_077, 70_033):
        inside = (1 + (wanted - 0.5) * odds) / (1 + rare * odds)
        token = sample_tokens(logits, torch.tensor([inside], dtype=torch.float64), 1.0, 0, 1.0)[0]
        assert abs(token.item() - wanted) <= 2
