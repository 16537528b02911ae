"""PPO as the papers write it: one answer at a time, one token at a time, in float64, no padding.

Nothing is shared with rlexp.trainers, so that an error would have to be made twice.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """A prompt's tokens, an answer's tokens with its end, and the answer's reward."""

    prompt: list[int]
    tokens: list[int]
    reward: float
    ended: bool


@dataclass(frozen=True)
class Token:
    """What is known of a token before the policy learns."""

    log_prob: float
    value: float
    advantage: float
    ret: float


def log_probs_and_values(
    model: Any, head: Any, answer: Answer, temperature: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Of each token of the answer, from the prefix before it alone; models in float64."""
    logs, values = [], []
    for place, token in enumerate(answer.tokens):
        output = model(
            torch.tensor([answer.prompt + answer.tokens[:place]]), output_hidden_states=True
        )
        logits = output.logits[0, -1] / temperature
        logs.append(logits[token] - torch.logsumexp(logits, 0))
        state = head.norm(output.hidden_states[-1][0, -1]) * head.scale
        values.append(head.output(torch.tanh(head.inner(state)))[0])
    return logs, values


def kl_estimate(difference: float, estimator: str) -> float:
    if estimator == "k1":
        return difference
    if estimator == "k2":
        return 0.5 * difference**2
    return math.exp(-difference) - 1 + difference


def experience(
    model: Any, head: Any, reference: Any, answers: list[Answer], knobs: Any, temperature: float
) -> list[list[Token]]:
    """What PPO holds fixed, before whitening's mean and scale are applied to the advantages."""
    answers_tokens = []
    with torch.no_grad():
        for answer in answers:
            logs, values = log_probs_and_values(model, head, answer, temperature)
            reference_logs, _ = log_probs_and_values(reference, head, answer, temperature)
            last = len(answer.tokens) - 1
            kls = [
                kl_estimate(float(a - b), knobs.kl_estimator)
                for a, b in zip(logs, reference_logs, strict=True)
            ]
            score = answer.reward - (0 if answer.ended else knobs.missing_end_penalty)
            rewards = [-knobs.beta * kl + (score if t == last else 0) for t, kl in enumerate(kls)]
            v = [float(value) for value in values] + [0.0]
            deltas = [rewards[t] + knobs.gamma * v[t + 1] - v[t] for t in range(last + 1)]
            advantages = [
                sum((knobs.gamma * knobs.lam) ** (s - t) * deltas[s] for s in range(t, last + 1))
                for t in range(last + 1)
            ]
            answers_tokens.append(
                [
                    Token(float(logs[t]), v[t], advantages[t], advantages[t] + v[t])
                    for t in range(last + 1)
                ]
            )
    return answers_tokens


def whitened(tokens: list[list[Token]]) -> list[list[float]]:
    flat = [token.advantage for answer in tokens for token in answer]
    mean = sum(flat) / len(flat)
    variance = sum((advantage - mean) ** 2 for advantage in flat) / len(flat)
    return [
        [(token.advantage - mean) / math.sqrt(variance + 1e-8) for token in answer]
        for answer in tokens
    ]


def loss(
    model: Any,
    head: Any,
    answers: list[Answer],
    tokens: list[list[Token]],
    knobs: Any,
    temperature: float,
) -> Tensor:
    """PPO's loss of the model as it is now on answers that were looked back at before."""
    advantages = whitened(tokens)
    policy_loss, value_loss, count = torch.zeros((), dtype=torch.float64), 0.0, 0
    for answer, known, advantage in zip(answers, tokens, advantages, strict=True):
        logs, values = log_probs_and_values(model, head, answer, temperature)
        for t, token in enumerate(known):
            count += 1
            ratio = torch.exp(logs[t] - token.log_prob)
            limited = ratio.clamp(1 - knobs.epsilon, 1 + knobs.epsilon)
            policy_loss = policy_loss - torch.min(ratio * advantage[t], limited * advantage[t])
            low, high = token.value - knobs.value_epsilon, token.value + knobs.value_epsilon
            near = values[t].clamp(low, high)
            errors = (values[t] - token.ret) ** 2, (near - token.ret) ** 2
            value_loss = value_loss + 0.5 * torch.max(*errors)
    return (policy_loss + knobs.value_coefficient * value_loss) / count


def in_float64(module: Any) -> Any:
    """A copy without a gradient so far."""
    twin = copy.deepcopy(module).double().eval()
    twin.zero_grad()
    return twin
