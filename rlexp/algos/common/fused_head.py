"""The head by which TRL computes log-probabilities: whether it is the model's own, and how fast.

TRL multiplies the body's last hidden states with the output embeddings, without the model's own
forward (`add_fused_lm_head`). A head that does more, such as ModernBERT's dense layer, is left out
then, and the training is one of another model.

Where there is no Triton, TRL projects each position to the vocabulary, prompts and padding as well,
and multiplies the gradients in float32 whatever the precision. There rlexp's own function stands in
its place (`rlexp.trainers.token_scores.token_log_probs`), on labelled positions alone.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from rlexp.algos.common.policy import PolicyToTrain
from rlexp.spec.errors import Problem, UserError

if TYPE_CHECKING:
    import torch

TOLERANCE = 0.1
"""Nats by which bfloat16 may round; in float32 the two differ by a millionth."""
LENGTH = 8
"""Tokens that they are compared on."""
WITHOUT_TRITON = ("cpu", "mps")


def leaves_out_unlabelled(device: torch.device) -> bool:
    """Return whether TRL's forward gives its head the labelled positions of a device alone."""
    from trl.kernels.chunked_logprob import _use_triton

    return device.type in WITHOUT_TRITON or _use_triton(device)


class LabelledLogProbs:
    """What stands for TRL's `ChunkedLogProbFunction`, which works on as before under Triton."""

    @staticmethod
    def apply(
        states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        tokens: torch.Tensor,
        temperature: float,
        chunk_size: int,
        softcap: float | None,
        scale: float,
        extras: tuple[str, ...],
    ) -> tuple[torch.Tensor | None, ...]:
        """Return what TRL's returns; rlexp's slices are not of its `chunk_size`."""
        if states.device.type not in WITHOUT_TRITON:
            from trl.kernels import ChunkedLogProbFunction

            given = states, weight, bias, tokens, temperature, chunk_size, softcap, scale, extras
            return ChunkedLogProbFunction.apply(*given)
        from rlexp.trainers.token_scores.token_log_probs import Transform, token_log_probs

        how = Transform(temperature, scale, softcap)
        return token_log_probs(states, weight, bias, tokens, how, *extras)


def score_labelled_positions() -> None:
    """Let TRL's head, in this process, be rlexp's on devices without Triton."""
    from trl.trainer import utils

    utils._ChunkedLogProbFunction = LabelledLogProbs
    utils._use_triton = leaves_out_unlabelled


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
