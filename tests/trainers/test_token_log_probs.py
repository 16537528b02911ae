"""Log-probabilities in slices: exactly the plain ones, with their gradients and without memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rlexp.trainers.token_scores import token_log_probs as sliced
from rlexp.trainers.token_scores.token_log_probs import EXTRAS, Transform, token_log_probs

TRANSFORMS = [Transform(), Transform(0.7, 1.6), Transform(1.3, 0.5, 3.0)]


def plain(
    states: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor, how: Transform
) -> tuple[Tensor, ...]:
    logits = torch.nn.functional.linear(states, weight, bias) * how.scale
    if how.softcap is not None:
        logits = how.softcap * (logits / how.softcap).tanh()
    logits = logits / how.temperature
    log_probs = logits.log_softmax(1)
    probs = log_probs.exp()
    return (
        log_probs.gather(1, tokens[:, None])[:, 0],
        -(probs * log_probs).sum(1),
        probs.square().sum(1).log(),
        logits.mean(1),
        logits.argmax(1) == tokens,
    )


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    states, weight, bias = (torch.randn(*shape, dtype=dtype) for shape in ((7, 5), (11, 5), (11,)))
    return states, weight, bias, torch.tensor([0, 10, 3, 3, 7, 1, 10])


@pytest.mark.parametrize("how", TRANSFORMS)
@pytest.mark.parametrize("with_bias", [True, False])
def test_slices_equal_the_whole(
    how: Transform, with_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice's own maximum in the log-sum, or a temperature that one of the sums forgets."""
    monkeypatch.setattr(sliced, "SLICE_BYTES", 3 * 11 * 8)  # slices of 3, 3 and 1
    states, weight, bias, tokens = inputs()
    head = weight, bias if with_bias else None
    values = token_log_probs(states, *head, tokens, how, *EXTRAS)
    for value, expected in zip(values, plain(states, *head, tokens, how), strict=True):
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("how", TRANSFORMS)
@pytest.mark.parametrize("parts", [(1, 0), (0, 1), (1, 1)])
def test_gradients_are_the_plain_ones(
    how: Transform, parts: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The softcap's slope left out, or the entropy's gradient in the log-probability's place."""
    monkeypatch.setattr(sliced, "SLICE_BYTES", 3 * 11 * 8)
    *given, tokens = inputs()
    weights = torch.randn(2, 7, dtype=torch.float64)

    def gradients(way: Any) -> tuple[Tensor, ...]:
        leaves = [leaf.clone().requires_grad_() for leaf in given]
        log_probs, entropy, *_ = way(*leaves, tokens, how)
        terms = [(weights[0] * log_probs).sum(), (weights[1] * entropy).sum()]
        loss: Any = sum(term for term, wanted in zip(terms, parts, strict=True) if wanted)
        return torch.autograd.grad(loss, leaves)

    ours = gradients(lambda *arguments: token_log_probs(*arguments, "entropy"))
    for gradient, expected in zip(ours, gradients(plain), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_no_positions_give_no_gradient() -> None:
    """A micro-batch whose answers are all masked."""
    states, weight, bias, tokens = inputs()
    weight.requires_grad_()
    log_probs, *_ = token_log_probs(states[:0], weight, bias, tokens[:0], Transform())
    assert log_probs is not None
    log_probs.sum().backward()
    assert weight.grad is not None and not weight.grad.any()


def test_bfloat16_gives_float32_sums() -> None:
    """Sums over a vocabulary that are rounded to two digits."""
    states, weight, bias, tokens = inputs(torch.bfloat16)
    log_probs, entropy, *_ = token_log_probs(states, weight, bias, tokens, Transform(), "entropy")
    logits = torch.nn.functional.linear(states, weight, bias).float()
    expected = logits.log_softmax(1).gather(1, tokens[:, None])[:, 0]
    assert log_probs is not None and entropy is not None
    torch.testing.assert_close(log_probs, expected)
    assert entropy.dtype == torch.float32


class LargestTensor(TorchDispatchMode):
    """Notes the elements of the largest tensor that an operation makes."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = result if isinstance(result, tuple | list) else [result]
        made = [tensor.numel() for tensor in tensors if isinstance(tensor, Tensor)]
        self.largest = max(self.largest, *made, 0)
        return result


@pytest.mark.parametrize("vocabulary", [50_000, 150_000])
def test_the_logits_of_a_batch_are_never_there(vocabulary: int) -> None:
    """A softmax over all positions at once, forwards or backwards."""
    states = torch.randn(2_000, 2, requires_grad=True)
    weight = torch.randn(vocabulary, 2, requires_grad=True)
    tokens = torch.arange(2_000)
    with LargestTensor() as seen:
        log_probs, entropy, *_ = token_log_probs(
            states[:512], weight, None, tokens[:512], Transform(), "entropy"
        )
        assert log_probs is not None and entropy is not None
        (log_probs.sum() + entropy.sum()).backward()
    assert seen.largest * 4 <= sliced.SLICE_BYTES < 512 * vocabulary * 4
