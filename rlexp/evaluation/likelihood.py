"""How far a policy has moved from its reference, measured with likelihoods in nats.

- KL: sum over the positions t of a sampled completion y of
  KL(policy(. | y_<t) || reference(. | y_<t)), each exact over the vocabulary. For y sampled from
  the policy its mean is the KL divergence between the two distributions over sequences, with a
  variance that never exceeds that of the sampled tokens' log-ratio: it is the Rao-Blackwellised
  estimator of Amini et al. 2025 (arXiv:2504.10637).
- Surprise: the nats by which each completion surprises the reference, whose exp a token is the
  samples' perplexity to the reference.
- Perplexity: of held-out texts, exp of the mean negative log-likelihood of a predicted token.

Vocabularies reach 152,000 tokens, where the logits of one batch would fill gigabytes. Sequences are
therefore grouped so that the logits in memory stay under `LOGITS_BYTES`; only a sequence too long
for that by itself passes the model more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rlexp.spec.policy import Completion, PolicyLike

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGITS_BYTES = 256 * 2**20
SLICE_BYTES = 16 * 2**20  # of one float32 temporary, while logits become log-probabilities
LONGEST_TEXT = 2048  # tokens; the rest of a longer text would cost more than it tells


@dataclass(frozen=True)
class ScoredText:
    """Token ids of which those from `start` (at least 1) on are predicted from all before them."""

    ids: list[int]
    start: int

    def __post_init__(self) -> None:
        if self.start < 1:
            raise ValueError("a language model predicts from at least one token: empty prompt")


@dataclass(frozen=True)
class Slab:
    """Right-padded sequences, and the columns of their logits that are looked at together."""

    rows: list[int]
    """Which sequences these are."""
    ids: Tensor
    """[rows, length], and `attention_mask` alike."""
    attention_mask: Tensor
    columns: Tensor
    """[columns]: the logits in column c predict the token in column c + 1."""
    predicted: Tensor
    """[rows, columns]: False where that token is padding or belongs to the prompt."""


def kl_and_surprise(
    policy: PolicyLike, completions: Sequence[Completion], batch_size: int, *, trained: bool
) -> tuple[list[float], list[float]]:
    """Return each completion's KL to the reference, and -log reference(completion), in nats.

    Both models are taken at temperature 1, whatever temperature the completions were sampled at,
    and the end token is counted. Divide by `len(completion.token_ids)` for nats a token. While the
    policy still is its reference (not `trained`), the latter is not loaded.
    """
    sequences = [
        ScoredText([*completion.prompt_ids, *completion.token_ids], len(completion.prompt_ids))
        for completion in completions
    ]
    model = policy.model
    if not trained:

        def surprise(slab: Slab) -> Tensor:
            return _apply_in_slices(_cross_entropy, _logits(model, slab), _targets(slab))

        return [0.0] * len(sequences), _sums(sequences, model, batch_size, surprise, models=1)[0]
    with policy.reference() as reference:

        def both(slab: Slab) -> Tensor:
            logits, reference_logits = _logits(model, slab), _logits(reference, slab)
            kl = _apply_in_slices(_kl, logits, reference_logits)
            surprise = _apply_in_slices(_cross_entropy, reference_logits, _targets(slab))
            return torch.stack([kl, surprise])

        kl, surprises = _sums(sequences, model, batch_size, both, models=2, measures=2)
    return kl, surprises


def text_nats(
    policy: PolicyLike, texts: Sequence[str], batch_size: int
) -> tuple[list[float], list[float]]:
    """Return by how many nats each text surprises the policy, and how many tokens it predicts.

    Texts of fewer than two tokens are left out, and no end token is added. A text's first token is
    predicted only where the tokenizer puts a begin token before it.

    Raises:
        ValueError: if no text holds two tokens.
    """
    model, tokenizer = policy.model, policy.tokenizer
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", LONGEST_TEXT)
    limit = min(LONGEST_TEXT, longest)
    end = tokenizer.eos_token_id
    ids_of_texts = tokenizer(list(texts))["input_ids"]
    encoded = [(ids[:-1] if ids[-1:] == [end] else ids)[:limit] for ids in ids_of_texts]
    sequences = [ScoredText(ids, 1) for ids in encoded if len(ids) > 1]
    if not sequences:
        raise ValueError("perplexity wants a text of two tokens or more")

    def nats(slab: Slab) -> Tensor:
        return _apply_in_slices(_cross_entropy, _logits(model, slab), _targets(slab))

    total = _sums(sequences, model, batch_size, nats, models=1)[0]
    return total, [float(len(text.ids) - text.start) for text in sequences]


@torch.inference_mode()
def _logits(model: PreTrainedModel, slab: Slab) -> Tensor:
    """Return the logits at a slab's columns, [rows, columns, vocabulary]."""
    inputs = {"input_ids": slab.ids, "attention_mask": slab.attention_mask}
    return model(**inputs, logits_to_keep=slab.columns, use_cache=False).logits


def _targets(slab: Slab) -> Tensor:
    """Return the tokens that the logits predict, [rows, columns]."""
    return slab.ids[:, slab.columns + 1]


def _kl(logits: Tensor, reference_logits: Tensor) -> Tensor:
    log_policy = logits.float().log_softmax(-1)
    log_reference = reference_logits.float().log_softmax(-1)
    return (log_policy.exp() * (log_policy - log_reference)).sum(-1)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


@torch.inference_mode()
def _apply_in_slices(
    nats: Callable[[Tensor, Tensor], Tensor], logits: Tensor, other: Tensor
) -> Tensor:
    """Return `nats` of each position, [rows, columns], with few float32 copies at a time."""
    positions = max(1, SLICE_BYTES // (4 * logits.shape[-1]))
    slices = (tensor.flatten(0, 1).split(positions) for tensor in (logits, other))
    return torch.cat(list(map(nats, *slices))).view(logits.shape[:2])


def _sums(
    sequences: Sequence[ScoredText],
    model: PreTrainedModel,
    batch_size: int,
    nats: Callable[[Slab], Tensor],
    models: int,
    measures: int = 1,
) -> list[list[float]]:
    """Return each sequence's nats, summed over its predicted tokens; a list for each measure.

    `nats` gives [rows, columns] or [measures, rows, columns] of a slab, for which the logits of so
    many `models` are in memory together.
    """
    vocabulary = model.config.get_text_config().vocab_size
    positions = max(1, LOGITS_BYTES // (4 * vocabulary * models))
    totals = [[0.0] * len(sequences) for _ in range(measures)]
    for rows in _groups(sequences, batch_size, positions):
        for slab in _slabs(sequences, rows, positions, model.device):
            # Summed in float64 on the CPU: MPS has none.
            kept = torch.where(slab.predicted, nats(slab), 0.0).cpu().double()
            sums = kept.sum(-1).reshape(-1, len(rows)).tolist()
            for measure, values in zip(totals, sums, strict=True):
                for row, value in zip(rows, values, strict=True):
                    measure[row] += value
    return totals


def _groups(
    sequences: Sequence[ScoredText], batch_size: int, positions: int
) -> Iterator[list[int]]:
    """Yield rows of similar length, as many as fit; a longer one by itself."""
    with_predictions = [row for row, text in enumerate(sequences) if len(text.ids) > text.start]
    group: list[int] = []
    for row in sorted(with_predictions, key=lambda row: len(sequences[row].ids)):
        wider = [*group, row]
        width = max(len(sequences[i].ids) - sequences[i].start for i in wider)
        if group and (len(wider) > batch_size or len(wider) * width > positions):
            yield group
            wider = [row]
        group = wider
    if group:
        yield group


def _slabs(
    sequences: Sequence[ScoredText], rows: list[int], positions: int, device: torch.device
) -> Iterator[Slab]:
    """Yield a group's sequences, as many columns at a time as fit."""
    group = [sequences[row] for row in rows]
    lengths = torch.tensor([len(text.ids) for text in group], device=device)[:, None]
    starts = torch.tensor([text.start for text in group], device=device)[:, None]
    longest = int(lengths.max())
    ids = torch.tensor(
        [text.ids + [0] * (longest - len(text.ids)) for text in group], device=device
    )
    attention_mask = (torch.arange(longest, device=device) < lengths).long()
    columns = torch.arange(int(starts.min()) - 1, longest - 1, device=device)
    for part in columns.split(max(1, positions // len(rows))):
        predicted = (part + 1 >= starts) & (part + 1 < lengths)
        yield Slab(rows, ids, attention_mask, part, predicted)
