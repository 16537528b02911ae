"""TRL's log-probabilities by rlexp's function: the same numbers, without prompts and padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_models import small_model
from trl.kernels import ChunkedLogProbFunction
from trl.kernels.chunked_logprob import _use_triton
from trl.trainer import utils

from rlexp.algos.common import fused_head
from rlexp.algos.common.fused_head import score_labelled_positions
from rlexp.trainers.token_scores.token_log_probs import EXTRAS


@pytest.fixture
def plain_trl(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """TRL as it comes; what a test installs is taken away again."""
    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", ChunkedLogProbFunction)
    monkeypatch.setattr(utils, "_use_triton", _use_triton)
    return monkeypatch


def output_and_gradients(model: Any) -> tuple[Any, list[torch.Tensor]]:
    torch.manual_seed(1)
    ids = torch.randint(2, 50, (3, 9))
    mask = torch.tensor([[1] * 9, [0, 0] + [1] * 7, [1] * 6 + [0] * 3])
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :4] = -100
    output = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    loss = output.log_probs.square().sum() + output.entropy.sum()
    return output, list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("kind", ["qwen2", "gemma2", "cohere"])
def test_trainers_get_the_same_numbers(kind: str, plain_trl: pytest.MonkeyPatch) -> None:
    """TRL moved on: another order of arguments, or a head that is looked up elsewhere."""
    model = small_model(kind)
    utils.add_fused_lm_head(model, temperature=0.7, outputs=("log_probs", *EXTRAS))
    expected, gradients = output_and_gradients(model)
    calls: list[int] = []
    right = fused_head.LabelledLogProbs.apply

    def counted(states: torch.Tensor, *arguments: Any) -> Any:
        calls.append(len(states))
        return right(states, *arguments)

    plain_trl.setattr(fused_head.LabelledLogProbs, "apply", staticmethod(counted))
    score_labelled_positions()
    output, ours = output_and_gradients(model)
    assert calls == [int(expected.label_mask.sum())]
    for name in ("log_probs", "loss", *EXTRAS):
        torch.testing.assert_close(getattr(output, name), getattr(expected, name))
    for value, gradient in zip(ours, gradients, strict=True):
        torch.testing.assert_close(value, gradient, rtol=1e-3, atol=1e-4)


def test_gpus_keep_trls_kernels(plain_trl: pytest.MonkeyPatch) -> None:
    """Triton's kernels replaced by what is slower."""
    score_labelled_positions()
    before = _use_triton(torch.device("cuda"))
    assert utils._use_triton(torch.device("cuda")) == before  # pyright: ignore
    assert utils._use_triton(torch.device("cpu"))  # pyright: ignore
