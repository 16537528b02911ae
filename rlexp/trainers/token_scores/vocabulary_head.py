"""Whether a model's logits are its last hidden states times its output embeddings, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rlexp.trainers.token_scores.token_log_probs import Transform, token_log_probs

LENGTH = 8
"""Tokens on which a model's own logits are compared with the projection."""
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3}
"""Share of the largest logit by which rounding may move one; 0.03 in coarser precisions."""


@dataclass(frozen=True)
class VocabularyHead:
    """What makes logits of last hidden states: a projection, scaled and bounded.

    Attributes:
        scale: of the projection (Cohere, Granite); 1 for most.
        softcap: bound of the logits (Gemma 2); None where they have none.
    """

    scale: float
    softcap: float | None

    def log_probs(
        self, model: Any, states: Tensor, tokens: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return log-probabilities of tokens and, where wanted, entropies, in nats, each (n,).

        Args:
            model: whose output embeddings are taken; of the architecture it was found in.
            states: (n, h), last hidden states before the tokens.
            tokens: (n,).
            temperature: of the softmax.
            entropy: whether the entropies are wanted.
        """
        projection = _plain(model).get_output_embeddings()
        how = Transform(temperature, self.scale, self.softcap)
        extras = ("entropy",) if entropy else ()
        weights = projection.weight, projection.bias
        log_probs, entropies, *_ = token_log_probs(states, *weights, tokens, how, *extras)
        assert log_probs is not None
        return log_probs, entropies


def read_body(model: Any, **inputs: Tensor) -> Tensor:
    """Return the last hidden states (n, t, h) of a transformers or PEFT model, without logits."""
    return _plain(model).base_model(**inputs, use_cache=False).last_hidden_state


def vocabulary_head(model: Any) -> VocabularyHead | None:
    """Return the head of a causal LM, or a PEFT model around one, by a few tokens.

    None where it does more than scale and bound, or where an adapter sits on it: such a model is
    asked for its logits. Nothing is drawn, and the model stays as it is.
    """
    plain = _plain(model)
    projection = plain.get_output_embeddings()
    if type(projection) is not nn.Linear:
        return None
    softcap = getattr(plain.config.get_text_config(), "final_logit_softcapping", None)
    embedded = plain.get_input_embeddings().num_embeddings
    step = max(1, embedded // (LENGTH + 1))
    ids = torch.arange(LENGTH, device=plain.device)[None] * step % embedded
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            states = read_body(model, input_ids=ids)
            logits = plain(input_ids=ids, use_cache=False).logits.double()
            projected = projection(states).double()
    finally:
        for module, training in modes:
            module.training = training
    tolerance, scale = TOLERANCE.get(plain.dtype, 0.03), 1.0
    if softcap is None:
        measured = ((logits * projected).sum() / projected.square().sum()).item()
        scale = scale if abs(measured - 1) < tolerance else measured
    again = Transform(scale=scale, softcap=softcap)(projected)
    limit = tolerance * logits.abs().max()
    return VocabularyHead(scale, softcap) if bool((again - logits).abs().max() <= limit) else None


def _plain(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
