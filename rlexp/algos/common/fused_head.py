"""Whether the head that TRL computes log-probabilities by is the model's own.

TRL multiplies the body's last hidden states with the output embeddings, without the model's own
forward (`add_fused_lm_head`). A head that does more, such as ModernBERT's dense layer, is left out
then, and the training is one of another model.
"""

from __future__ import annotations

import inspect
from typing import Any

from rlexp.algos.common.policy import PolicyToTrain
from rlexp.spec.errors import Problem, UserError

TOLERANCE = 0.1
"""Nats by which bfloat16 may round; in float32 the two differ by a millionth."""
LENGTH = 8
"""Tokens that they are compared on."""


def check_fused_head(trainer: Any, policy: PolicyToTrain, algo: str) -> None:
    """Compare the two on a few tokens; nothing is drawn, and the model stays as it is.

    Args:
        trainer: built by TRL.
        policy: whose tokens they are.
        algo: the algorithm's name.

    Raises:
        UserError: log-probabilities that are not the model's.
    """
    import torch

    model = trainer.model
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    if "fused_lm_head" not in inspect.signature(plain.forward, follow_wrapped=False).parameters:
        return
    embedded = plain.get_input_embeddings().num_embeddings
    ids = torch.arange(LENGTH, device=plain.device)[None] * (embedded // (LENGTH + 1)) + 1
    mode = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(**mode).logits[:, :-1].float()
        fused = model(**mode, labels=ids, fused_lm_head=True).log_probs
    model.train(training)
    temperature = getattr(trainer.args, "temperature", 1.0)
    own = (logits / temperature).log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    nats = (own - fused[:, -own.shape[1] :]).abs().max().item()
    if nats > TOLERANCE:
        name = type(plain).__name__
        got = f"{algo}, by whose trainer a {name}'s log-probabilities are off by {nats:.2g} nats"
        want = "an algorithm that asks the model itself: TRL leaves out what its head does"
        remedy = "Set algo=ppo or algo=reinforce, or choose another model."
        raise UserError(Problem("algo", got, want, remedy))
