"""Prompts with their answers as one batch of tensors, and what a model says of the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from rlexp.trainers.token_scores.vocabulary_head import VocabularyHead, read_body


class SampledAnswers(Protocol):
    """Answers of a policy to n prompts, such as a `rlexp.models.sampling.rollout.Rollout`.

    Prompts are (n, p), padded on the left, answers (n, t), padded on the right, their masks 1 up to
    and including the end token; `ended` is (n,), False where an answer was cut at the length limit.
    """

    @property
    def prompt_ids(self) -> Tensor: ...
    @property
    def prompt_mask(self) -> Tensor: ...
    @property
    def completion_ids(self) -> Tensor: ...
    @property
    def completion_mask(self) -> Tensor: ...
    @property
    def ended(self) -> Tensor: ...
    def completions(self) -> list[list[int]]: ...


@dataclass(frozen=True)
class Sequences:
    """n prompts, each followed by its answer."""

    input_ids: Tensor
    """(n, p + t), prompts padded on the left, answers on the right."""
    attention_mask: Tensor
    """(n, p + t)."""
    mask: Tensor
    """(n, t) float, 1 on the tokens of an answer, its end token included."""

    @classmethod
    def from_rollout(cls, rollout: SampledAnswers) -> Sequences:
        """Put each answer behind its prompt."""
        input_ids = torch.cat([rollout.prompt_ids, rollout.completion_ids], 1)
        attention_mask = torch.cat([rollout.prompt_mask, rollout.completion_mask], 1)
        return cls(input_ids, attention_mask, rollout.completion_mask.float())

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def answers(self) -> Tensor:
        """(n, t), the tokens of the answers."""
        return self.input_ids[:, -self.mask.shape[1] :]

    @property
    def position_ids(self) -> Tensor:
        """(n, p + t), counted from each prompt's first token, wherever the padding stands."""
        return (self.attention_mask.cumsum(1) - 1).clamp(min=0)

    def model_inputs(self) -> dict[str, Tensor]:
        """Return what a transformers model is called with."""
        # Left padding would shift positions where the model counts them by itself.
        names = ("input_ids", "attention_mask", "position_ids")
        return {name: getattr(self, name) for name in names}

    def rows(self, index: Tensor) -> Sequences:
        """Return some of the sequences, without the columns that only the others fill."""
        mask, attention = self.mask[index], self.attention_mask[index]
        empty_left = int((attention.cumsum(1) == 0).sum(1).min())
        empty_right = mask.shape[1] - int(mask.sum(1).max())
        kept = slice(empty_left, attention.shape[1] - empty_right)
        longest = mask.shape[1] - empty_right
        return Sequences(self.input_ids[index][:, kept], attention[:, kept], mask[:, :longest])

    def microbatches(self, index: Tensor, size: int) -> list[Tensor]:
        """Return the index in parts of at most `size` answers of similar length."""
        order = self.attention_mask[index].sum(1).argsort(stable=True)
        return list(index[order.to(index.device)].split(size))


@dataclass(frozen=True)
class TokenScores:
    """What a model says of the tokens of answers; each (n, t), meaningless in the padding."""

    log_probs: Tensor
    """Of the sampled tokens, in nats, at the sampling temperature."""
    entropy: Tensor | None
    """Of the distribution that each token was drawn from, in nats; None if not asked for."""
    states: Tensor
    """(n, t, h), the last hidden state *before* each token: what a critic judges, and what the
    token's logits are made of."""


def score_tokens(
    model: Any,
    sequences: Sequences,
    temperature: float,
    head: VocabularyHead | None,
    *,
    entropy: bool = False,
) -> TokenScores:
    """Return what a model says of answers sampled at this temperature, in one forward pass.

    Args:
        model: transformers causal LM, or a PEFT model around one.
        sequences: n prompts with their answers.
        temperature: what is trained is the distribution that was sampled from, so it belongs to it.
        head: the model's, by which the logits of few tokens are in memory at once; None asks the
            model for all of them.
        entropy: whether the entropies are wanted.
    """
    length = sequences.mask.shape[1]
    # What stands at a position is said of the token after it: the prompt's last one begins the
    # answer.
    before = slice(-length - 1, -1)
    if head is None:
        options = {"logits_to_keep": length + 1, "output_hidden_states": True, "use_cache": False}
        output = model(**sequences.model_inputs(), **options)
        # In float32: ratios and KL are small differences of log-probabilities, and a bfloat16 has
        # two digits.
        logits = output.logits[:, before].float() / temperature
        log_probs = logits.log_softmax(-1)
        return TokenScores(
            log_probs=log_probs.gather(2, sequences.answers[:, :, None]).squeeze(2),
            entropy=-(log_probs.exp() * log_probs).sum(-1) if entropy else None,
            states=output.hidden_states[-1][:, before],
        )
    states = read_body(model, **sequences.model_inputs())[:, before]
    real = sequences.mask.bool()
    scored = head.log_probs(model, states[real], sequences.answers[real], temperature, entropy)
    log_probs, entropies = (
        None if values is None else values.new_zeros(real.shape).masked_scatter(real, values)
        for values in scored
    )
    assert log_probs is not None
    return TokenScores(log_probs, entropies, states)
