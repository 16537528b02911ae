"""Sampling answers from a causal language model, by one loop over its ordinary forward pass.

A prompt that occurs several times is read once. Each step feeds the last token of every answer
that is still being written to the model, with keys and values of all before in a cache that has
room ahead, and draws the next token by inverting the cumulative distribution: the token is the
first whose cumulative probability exceeds a uniform number. The uniform numbers are drawn
beforehand, one for each row and step, so that the rows do not influence each other, and answers
that have ended can leave the batch.

Any decoder of transformers that keeps its past in `past_key_values` will do, also inside a PEFT
model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from rlexp.models.sampling.kv_cache import (
    DecodingState,
    RereadingState,
    Sampling,
    padded,
    rows_together,
    unpadded,
)
from rlexp.spec.errors import RunFailed

Drawn = tuple[torch.Tensor, torch.Tensor]
"""Tokens of rows, and their log-probabilities."""

KEEP = 0.85
"""The batch is made smaller when at most this share of its rows is still being written: copying
the cache costs about as much as a step."""


@dataclass(frozen=True)
class Rollout:
    """Answers of a policy to n prompts, in the prompts' order.

    Attributes:
        prompt_ids: (n, p), padded on the left.
        prompt_mask: (n, p), 1 where a prompt's token stands.
        completion_ids: (n, t), the end token included, padded on the right.
        completion_mask: (n, t), 1 up to and including the end token.
        log_probs: (n, t) float32, 0 behind the end: log-probability of each token in nats, under
            softmax(logits / temperature) over the whole vocabulary. Where top-k or top-p cut the
            distribution, the tokens were likelier than that by the share that was cut.
        ended: (n,) bool, False where the answer was cut at the length limit.
    """

    prompt_ids: torch.Tensor
    prompt_mask: torch.Tensor
    completion_ids: torch.Tensor
    completion_mask: torch.Tensor
    log_probs: torch.Tensor
    ended: torch.Tensor

    def prompts(self) -> list[list[int]]:
        """Token ids of each prompt, unpadded."""
        return unpadded(self.prompt_ids, self.prompt_mask)

    def completions(self) -> list[list[int]]:
        """Token ids of each answer, unpadded."""
        return unpadded(self.completion_ids, self.completion_mask)

    def completion_log_probs(self) -> list[list[float]]:
        """`log_probs` of each answer, unpadded."""
        return unpadded(self.log_probs, self.completion_mask)


def roll_out(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    eos_token_ids: Sequence[int],
    pad_token_id: int,
    generator: torch.Generator | None = None,
    grouping: Sampling = "padded",
) -> Rollout:
    """Sample one answer to each prompt, without gradients and in eval mode.

    Args:
        model: transformers causal LM, or a PEFT model around one; its mode is as before afterwards.
        prompts: token ids, unpadded. A prompt that is given k times gets k independent answers.
        max_new_tokens: longest answer, the end token included.
        temperature: of the softmax.
        top_k: likeliest tokens kept; 0 keeps all.
        top_p: of those, the likeliest whose total probability reaches this are kept; 1 keeps all.
        eos_token_ids: tokens that end an answer.
        pad_token_id: fills prompts and answers up.
        generator: source of randomness; torch's global one for the CPU when None, whatever the
            model's device: a training's seed decides about its rollouts, and a checkpoint's random
            state resumes them.
        grouping: which prompts are read together, for a model that padding disturbs.

    Raises:
        ValueError: no prompt, an empty prompt, a temperature or a length that is not positive.
        TypeError: a model that has no `past_key_values`, unless it is to read anew for each token.
        RunFailed: a model whose logits are not finite.
    """
    _check_arguments(prompts, temperature, max_new_tokens)
    device, shape = model.device, (len(prompts), max_new_tokens)
    # Drawn for all rows and steps: which rows are still in the batch changes nobody's numbers.
    uniforms = _draw_uniforms(shape, generator, device)
    # The results are made outside of inference mode: autograd may save them later.
    completions = Completions(
        token_ids=torch.full(shape, pad_token_id, device=device),
        log_probs=torch.zeros(shape, device=device),
        ends=torch.tensor(list(eos_token_ids), device=device),
    )

    def draw(logits: torch.Tensor, rows: torch.Tensor, step: int) -> Drawn:
        return sample_tokens(logits, uniforms[rows, step], temperature, top_k, top_p)

    state_of = RereadingState if grouping == "reread" else DecodingState
    steps = 0
    with eval_mode(model), without_gradients(model):
        for rows in rows_together(prompts, grouping):
            group = [prompts[row] for row in rows]
            places = torch.tensor(rows, device=device)
            decoded = completions.decode(state_of(model), group, places, pad_token_id, draw)
            steps = max(steps, decoded)
    return completions.finalise(*padded(prompts, pad_token_id, device), pad_token_id, steps)


@dataclass(frozen=True)
class Completions:
    """n answers that are being sampled.

    Attributes:
        token_ids: (n, longest).
        log_probs: (n, longest), of the tokens.
        ends: (e,), the tokens that end an answer.
    """

    token_ids: torch.Tensor
    log_probs: torch.Tensor
    ends: torch.Tensor

    def decode(
        self,
        state: DecodingState | RereadingState,
        prompts: Sequence[Sequence[int]],
        rows: torch.Tensor,
        pad_token_id: int,
        draw: Callable[[torch.Tensor, torch.Tensor, int], Drawn],
    ) -> int:
        """Sample until these answers have ended or are at the limit; the steps that were taken.

        Args:
            state: has read nothing yet.
            prompts: token ids, unpadded.
            rows: (m,), which of the n answers are theirs.
            pad_token_id: fills prompts up.
            draw: from logits, rows and step to tokens and their log-probabilities.
        """
        step, unfinished = 0, torch.ones_like(rows, dtype=torch.bool)  # rows: still in the batch
        # prefill
        logits = state.prefill(prompts, pad_token_id)
        while True:
            # draw
            tokens, log_probs = draw(logits, rows, step)
            self.token_ids[rows, step], self.log_probs[rows, step] = tokens, log_probs
            unfinished &= ~torch.isin(tokens, self.ends)
            step, left = step + 1, int(unfinished.sum())
            if step == self.token_ids.shape[1] or not left:
                return step
            # drop finished rows; few at a time would copy the cache for nothing
            if left <= KEEP * len(rows):
                kept = unfinished.nonzero()[:, 0]
                rows, tokens, unfinished = rows[kept], tokens[kept], unfinished[kept]
                state.select_rows(kept)
            # decode
            logits = state.decode(tokens)

    def finalise(
        self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor, pad_token_id: int, steps: int
    ) -> Rollout:
        """The answers with their prompts, without the steps that were not taken.

        Rows that had ended and were still in the batch ran on: that is cut off.

        Raises:
            RunFailed: logits that were not finite.
        """
        token_ids, log_probs = self.token_ids[:, :steps], self.log_probs[:, :steps]
        if not log_probs.isfinite().all():
            raise RunFailed(
                "the policy's logits were not finite while it sampled",
                "weights that a learning rate that is too large has blown up",
                "lower algo.learning_rate (a third is a good next try), or set "
                "train.max_grad_norm=1",
            )
        is_end = torch.isin(token_ids, self.ends)
        mask = is_end.cumsum(1) - is_end.long() == 0  # no end token before this one
        return Rollout(
            prompt_ids,
            prompt_mask,
            token_ids.masked_fill(~mask, pad_token_id),
            mask.long(),
            log_probs.masked_fill(~mask, 0.0),
            (is_end & mask).any(1),
        )


def _check_arguments(
    prompts: Sequence[Sequence[int]], temperature: float, max_new_tokens: int
) -> None:
    if not prompts or not all(prompts):
        raise ValueError("every prompt needs a token, and there must be a prompt")
    if temperature <= 0 or max_new_tokens <= 0:
        got = f"temperature={temperature}, max_new_tokens={max_new_tokens}"
        raise ValueError(f"temperature and max_new_tokens must be above 0, got {got}")


def sample_tokens(
    logits: torch.Tensor,
    uniforms: torch.Tensor,
    temperature: float,
    top_k: int,
    top_p: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a token of each row, and its log-probability before top-k and top-p cut anything.

    Args:
        logits: (n, vocabulary).
        uniforms: (n,), in [0, 1).

    Returns:
        Two tensors (n,): token ids, and float32 nats.
    """
    scaled = logits.float() / temperature
    scaled -= scaled.amax(-1, keepdim=True)  # the largest weight is 1: no exp overflows
    weights = scaled.exp()
    # In float32 the sum over a large vocabulary would forget its rare tokens.
    exact = torch.float32 if logits.device.type == "mps" else torch.float64
    kept = _filtered(weights, top_k, top_p) if top_k or top_p < 1 else weights
    # Inverse of the cumulative distribution, left without its division by the total.
    cumulative = kept.cumsum(-1, dtype=exact)
    total = cumulative[:, -1:]
    thresholds = uniforms[:, None].to(exact) * total
    # Rounding must not lift a threshold to the total, beyond which there is no token.
    thresholds = torch.minimum(thresholds, torch.nextafter(total, torch.zeros_like(total)))
    tokens = torch.searchsorted(cumulative, thresholds, right=True)
    tokens.clamp_(max=logits.shape[-1] - 1)  # where logits are NaN, nothing is found
    mass = total if kept is weights else weights.sum(-1, keepdim=True, dtype=exact)
    return tokens[:, 0], (scaled.gather(-1, tokens) - mass.log().float())[:, 0]


def _filtered(weights: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """The weights after top-k and top-p: those of unlikely tokens are 0; ties stay."""
    if 0 < top_k < weights.shape[-1]:
        least = weights.topk(top_k).values[:, -1:]
        weights = weights.where(weights >= least, 0)
    if top_p < 1:
        ordered = weights.sort(descending=True).values
        before = ordered.cumsum(-1) - ordered  # probability of the likelier ones
        last = (before < top_p * ordered.sum(-1, keepdim=True)).sum(-1, keepdim=True) - 1
        weights = weights.where(weights >= ordered.gather(-1, last.clamp_(min=0)), 0)
    return weights


def _draw_uniforms(
    shape: tuple[int, int], generator: torch.Generator | None, device: torch.device
) -> torch.Tensor:
    source = generator.device if generator else "cpu"
    drawn = torch.rand(shape, dtype=torch.float64, generator=generator, device=source)
    return (drawn.float() if device.type == "mps" else drawn).to(device)


def without_gradients(model: torch.nn.Module) -> AbstractContextManager[Any]:
    """Return inference mode where it can be: four-bit layers build their quantisation state at the
    first forward, and training could not use one that was made in inference mode."""
    quantized = getattr(model, "is_loaded_in_4bit", False)
    return torch.no_grad() if quantized else torch.inference_mode()


@contextmanager
def eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """No dropout, and no gradient checkpointing, which transformers does in training mode only."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
