"""Log-probabilities of tokens from hidden states, without the logits of a whole batch.

The logits of 16 answers of 256 tokens over 150,000 pieces fill 2.5 GB in float32, and their softmax
and gradient as much again. Here a few positions at a time are projected to the vocabulary and
reduced to what is wanted of them; the backward pass projects them once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SLICE_BYTES = 48 * 2**20
"""Of the float32 logits in memory at once; fewer and larger products are quicker, up to about
here."""
EXTRAS = ("entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
"""What can be told of each distribution beside the token's log-probability, in this order."""


@dataclass(frozen=True)
class Transform:
    """From a projection y to the logits whose softmax is taken: c tanh(s y / c) / T.

    Attributes:
        temperature: T, of the softmax.
        scale: s.
        softcap: c; None leaves out the tanh.
    """

    temperature: float = 1.0
    scale: float = 1.0
    softcap: float | None = None

    def __call__(self, projected: Tensor) -> Tensor:
        """Return the logits; a float32 or float64 projection is overwritten."""
        if self.softcap is None:
            factor = self.scale / self.temperature
            return projected if factor == 1 else projected.mul_(factor)
        projected.mul_(self.scale / self.softcap).tanh_()
        return projected.mul_(self.softcap / self.temperature)

    def backward(self, logits: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient of the projection; that of the logits is overwritten."""
        if self.softcap is None:
            factor = self.scale / self.temperature
            return gradient if factor == 1 else gradient.mul_(factor)
        tanh = logits * (self.temperature / self.softcap)
        slope = tanh.square_().neg_().add_(1)
        return gradient.mul_(slope).mul_(self.scale / self.temperature)


def token_log_probs(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    tokens: Tensor,
    transform: Transform,
    *extras: str,
) -> tuple[Tensor | None, ...]:
    """Return log-probabilities of tokens in nats, (n,), and of `EXTRAS` those that are wanted.

    They are float32 (float64 of float64 states), whatever precision the projection is in. All but
    the entropy's and the log-probabilities' gradients are left out.

    Args:
        states: (n, h), last hidden states before the tokens.
        weight: (v, h), of the output embeddings.
        bias: (v,), or None.
        tokens: (n,).
        transform: from the projection to logits.
        extras: names among `EXTRAS`; the others come back as None. `log_sum_sq_probs` is the
            logarithm of sum p^2, `is_top1` whether the token is the likeliest.
    """
    return _TokenLogProbs.apply(states, weight, bias, tokens, transform, extras)  # pyright: ignore


class _TokenLogProbs(torch.autograd.Function):
    """`token_log_probs` with a backward pass that recomputes the logits."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        transform: Transform,
        extras: tuple[str, ...],
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        kind, device = states.device.type, states.device
        autocast = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if autocast else states.dtype
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        count = len(states)
        sums: dict[str, Tensor] = {
            name: torch.empty(
                count, dtype=torch.bool if name == "is_top1" else exact, device=device
            )
            for name in ("log_probs", "log_z", *extras)
        }
        head = _head(weight, bias, dtype)
        for part in _slices(count, len(weight), exact):
            logits = transform(F.linear(states[part].to(dtype), *head).to(exact))
            of_tokens = logits.gather(1, tokens[part, None])[:, 0]
            if "mean_logits" in extras:
                sums["mean_logits"][part] = logits.mean(1)
            largest, likeliest = logits.max(1)
            if "is_top1" in extras:
                sums["is_top1"][part] = likeliest == tokens[part]
            logits -= largest[:, None]
            weights = logits.exp()
            total = weights.sum(1)
            log_z = total.log()
            if "entropy" in extras:  # log Z - sum p x
                sums["entropy"][part] = log_z - torch.linalg.vecdot(weights, logits) / total
            if "log_sum_sq_probs" in extras:
                squares = torch.linalg.vecdot(weights, weights)
                sums["log_sum_sq_probs"][part] = squares.log() - 2 * log_z
            sums["log_z"][part] = log_z + largest
            sums["log_probs"][part] = of_tokens - largest - log_z
        log_z = sums.pop("log_z")
        ctx.save_for_backward(states, weight, bias, tokens, log_z, sums.get("entropy"))
        ctx.dtype, ctx.exact, ctx.transform = dtype, exact, transform
        ctx.mark_non_differentiable(*(sums[name] for name in EXTRAS[1:] if name in sums))
        return sums["log_probs"], *(sums.get(name) for name in EXTRAS)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore
        of_log_probs, of_entropy = gradients[0], gradients[1]
        states, weight, bias, tokens, log_z, entropy = ctx.saved_tensors
        exact, wanted = ctx.exact, ctx.needs_input_grad[:3]
        if of_log_probs is None and of_entropy is None:
            return (None,) * 6
        d_states = torch.empty_like(states) if wanted[0] else None
        d_weight = torch.zeros_like(weight, dtype=exact) if wanted[1] else None
        d_bias = torch.zeros_like(bias, dtype=exact) if wanted[2] else None
        head = _head(weight, bias, ctx.dtype)
        for part in _slices(len(states), len(weight), exact):
            inputs = states[part].to(ctx.dtype)
            logits = ctx.transform(F.linear(inputs, *head).to(exact))
            gradient = _gradient_of_logits(
                logits,
                tokens[part],
                log_z[part],
                None if entropy is None else entropy[part],
                None if of_log_probs is None else of_log_probs[part].to(exact),
                None if of_entropy is None else of_entropy[part].to(exact),
                keep=ctx.transform.softcap is not None,
            )
            gradient = ctx.transform.backward(logits, gradient)
            projected = gradient.to(ctx.dtype)
            if d_states is not None:
                d_states[part] = projected @ head[0]
            if d_weight is not None and ctx.dtype == exact:
                d_weight.addmm_(projected.t(), inputs)
            elif d_weight is not None:
                d_weight += projected.t() @ inputs
            if d_bias is not None:
                d_bias += gradient.sum(0)
        weights = d_weight if d_weight is None else d_weight.to(weight.dtype)
        return d_states, weights, d_bias if d_bias is None else d_bias.to(bias.dtype), *(None,) * 3


def _head(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    return weight.to(dtype), bias if bias is None else bias.to(dtype)


def _slices(count: int, vocabulary: int, dtype: torch.dtype) -> list[slice]:
    """Return positions whose logits are in memory together."""
    size = max(1, SLICE_BYTES // (dtype.itemsize * vocabulary))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _gradient_of_logits(
    logits: Tensor,
    tokens: Tensor,
    log_z: Tensor,
    entropy: Tensor | None,
    of_log_probs: Tensor | None,
    of_entropy: Tensor | None,
    keep: bool,
) -> Tensor:
    """Return g (1[token] - p) - e p (log p + H) of (n, v) logits, which are kept or overwritten."""
    log_probs = logits - log_z[:, None] if keep else logits.sub_(log_z[:, None])
    if of_entropy is None:
        assert of_log_probs is not None
        gradient = log_probs.exp_().mul_(-of_log_probs[:, None])
    else:
        assert entropy is not None
        factor = (log_probs + entropy[:, None]).mul_(of_entropy[:, None])
        if of_log_probs is not None:
            factor += of_log_probs[:, None]
        gradient = log_probs.exp_().mul_(factor).neg_()
    if of_log_probs is not None:
        gradient[torch.arange(len(tokens), device=tokens.device), tokens] += of_log_probs
    return gradient
