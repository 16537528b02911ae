"""How a model reads texts of several lengths, so that it says of each what it says of it alone.

Attention masks hide padding from attention. A recurrent state reads it all the same, positions that
are counted by the model itself are shifted by it, and some caches forget it. What a model does is
measured on two short rows when it is loaded, in each way in which a run will call it:

- by itself, without padding: what the rest is compared with;
- with padding on the right, as evaluations and most trainings call it, and on both sides, as TRL
  trains on its rollouts: `Forward`;
- token by token, after prompts that are padded on the left: `Sampling`.

The first way that agrees is taken. Nothing is drawn, and a model that agrees stays as it is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from rlexp.models.padding.forward import read_apart, read_with_positions
from rlexp.models.padding.shared_prefix import read_shared
from rlexp.models.sampling.kv_cache import DecodingState, Sampling, takes_past
from rlexp.models.sampling.rollout import eval_mode, without_gradients

Forward = Literal["plain", "positions", "apart"]
"""Batches as they are; with positions counted from each row's first token; or length by length."""

Reader = Callable[..., Any]
READERS: dict[str, Reader] = {"positions": read_with_positions, "apart": read_apart}
"""What takes the place of a body's forward; what is plain keeps its own."""

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.3}
"""Nats by which log-probabilities may differ by rounding alone."""
ROUNDING = 8.0
"""So many times what two ways to compute the same differ by on this device is rounding, too."""
FORESIGHT = 10.0
"""So many tolerances are no rounding: the model has seen what follows."""
LENGTHS = (11, 6)
"""Tokens of the two rows that are compared."""

WORDS = {
    "positions": "padding: positions are counted from each text's first token, which this "
    "architecture does not do by itself",
    "apart": "padding: texts of each length are read by themselves, for this architecture reads "
    "padding too",
    "reread": "sampling without a cache, which is slow: this architecture has none of the usual",
}
"""What people read of each way."""


@dataclass(frozen=True)
class PaddingTreatment:
    """What a model needs of those that call it."""

    forward: Forward = "plain"
    sampling: Sampling = "padded"
    shares: bool = False
    """Whether rows that begin alike are read in two passes, the beginnings once."""

    def notes(self) -> list[str]:
        """Return what people should know of it."""
        ways = dict.fromkeys((self.forward, self.sampling))
        return [WORDS[way] for way in ways if way in WORDS]

    def apply(self, model: Any) -> None:
        """Let a model's body treat padded batches so, whoever calls it and with whatever head.

        Args:
            model: transformers model, without an adapter around it.
        """
        _replace_forward(model.base_model, self.forward, self.shares)


def _replace_forward(body: Any, way: Forward, shares: bool) -> None:
    """Let a body read padded batches in one way from now on."""
    reader = READERS.get(way)
    if shares:
        body.forward = MethodType(partial(_read_shared_or, reader), body)
    elif reader is not None:
        body.forward = MethodType(reader, body)


def _read_shared_or(reader: Reader | None, body: Any, *ids: Tensor, **options: Any) -> Any:
    """Return what a body's forward gives: beginnings read once, or as a reader or it does it."""
    given = ids[0] if ids else options.get("input_ids")
    others = {name: value for name, value in options.items() if name != "input_ids"}
    output = read_shared(body, given, **others)
    if output is not None:
        return output
    return (reader or type(body).forward)(body, *ids, **options)


class UnfitModel(Exception):
    """A model that cannot be trained as a language model.

    Attributes:
        does: what it does, in words.
        want: what a model must be instead.
    """

    def __init__(self, does: str, want: str) -> None:
        self.does, self.want = does, want
        super().__init__(does)


def padding_treatment(model: Any) -> PaddingTreatment:
    """Return what a language model needs, by two rows of a few tokens; it stays as it is.

    Args:
        model: transformers causal LM, without an adapter.

    Raises:
        UnfitModel: it looks at what is to come, or reads padding whatever is done.
    """
    with eval_mode(model), without_gradients(model):
        rows = ComparedRows(model)
        # One row is the beginning of the other: what differs is rounding, or foresight.
        rounding = _deviation(rows.alone[1], rows.alone[0][: LENGTHS[1]])
        tolerance = TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16])
        if rounding > FORESIGHT * tolerance:
            does = f"whose log-probabilities change by {rounding:.3g} nats with what follows"
            raise UnfitModel(does, "a causal language model, which reads from left to right")
        limit = max(tolerance, ROUNDING * rounding)
        forward: Forward | None = next(
            (way for way in rows.forwards() if rows.padded(way) <= limit), None
        )
        if forward is None:
            does = "which reads padding as if it were text, whatever its mask says"
            raise UnfitModel(does, "a model that can be trained on texts of several lengths")
        cached: Iterator[Sampling] = (way for way in rows.samplings() if rows.sampled(way) <= limit)
        sampling = next(cached, None)
        shares = forward != "apart" and sampling == "padded" and rows.shared(forward) <= limit
    return PaddingTreatment(forward, sampling or "reread", shares)


class ComparedRows:
    """Two rows of a model's tokens, the second one the beginning of the first.

    Attributes:
        alone: of each row, its log-probabilities (t, vocabulary) without padding.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        embedded = model.get_input_embeddings().num_embeddings
        step = max(1, embedded // (LENGTHS[0] + 1))
        # An ordinary token pads: the padding token's embedding is often 0, until training moves it.
        self._pad, *tokens = [
            (embedded - 1 - index * step) % embedded for index in range(LENGTHS[0] + 1)
        ]
        self._rows = [tokens[:length] for length in LENGTHS]
        self.alone = [_log_probs(self._call([row], None))[0] for row in self._rows]

    def forwards(self) -> list[Forward]:
        """Return the ways to call it with padding, the quickest first."""
        body = type(self._model.base_model)
        takes_positions = "position_ids" in inspect.signature(body.forward).parameters
        return ["plain", "positions", "apart"] if takes_positions else ["plain", "apart"]

    def samplings(self) -> list[Sampling]:
        """Return the ways to sample with a cache."""
        return ["padded", "apart"] if takes_past(self._model) else []

    def padded(self, way: Forward) -> float:
        """Return by how many nats padding on the right, or on both sides, changes anything."""
        long, short = self._rows
        behind = [self._pad] * (len(long) - len(short))
        batches = [
            ([long, short + behind], [0, 0]),
            ([[*long, self._pad], [*behind, *short, self._pad]], [0, len(behind)]),
        ]
        worst = 0.0
        with _treated(self._model.base_model, way):
            for rows, starts in batches:
                log_probs = _log_probs(self._call(rows, self._mask(rows, starts)))
                for row, start, alone in zip(log_probs, starts, self.alone, strict=True):
                    worst = max(worst, _deviation(row[start : start + len(alone)], alone))
        return worst

    def shared(self, way: Forward) -> float:
        """Return by how many nats it matters that the beginning of two rows is read once.

        Infinite where the cache forgets, as windows do: they would forget what rows share.
        """
        config = self._model.config
        if any(type(layer) is not DynamicLayer for layer in DynamicCache(config=config).layers):
            return math.inf
        long, short = self._rows
        rows = [long, [*long[:-3], *short[:3]]]
        alone = [_log_probs(self._call([row], None))[0] for row in rows]
        with _treated(self._model.base_model, way, shares=True):
            log_probs = _log_probs(self._call(rows, self._mask(rows, [0, 0], [len(long)] * 2)))
        return max(map(_deviation, log_probs, alone))

    def sampled(self, way: Sampling) -> float:
        """Return by how many nats tokens are likelier or not when they are read one by one.

        Each prompt is answered twice, and one answer leaves the batch, as happens in rollouts: a
        state that is not in the cache does not follow. Infinite where the cache fails.
        """
        groups = [[0, 1]] if way == "padded" else [[0], [1]]
        try:
            return max(self._sampled_together(group) for group in groups)
        except RuntimeError:  # of shapes: a state of as many rows as there were before
            return math.inf

    def _sampled_together(self, group: list[int]) -> float:
        device, twice = self._model.device, [*group, *group]
        state = DecodingState(self._model)
        steps = [state.prefill([self._rows[row][:-2] for row in twice], self._pad)]
        for rows, place in ((twice, -2), (group, -1)):
            if rows is group:
                state.select_rows(torch.arange(len(group), device=device))
            tokens = [self._rows[row][place] for row in rows]
            steps.append(state.decode(torch.tensor(tokens, device=device)))
        return max(
            _deviation(
                _log_probs(torch.stack([step[index] for step in steps])), self.alone[row][-3:]
            )
            for index, row in enumerate(group)
        )

    def _mask(
        self, rows: list[list[int]], starts: list[int], lengths: Sequence[int] = LENGTHS
    ) -> Tensor:
        mask = torch.zeros(len(rows), len(rows[0]), dtype=torch.long, device=self._model.device)
        for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            mask[row, start : start + length] = 1
        return mask

    def _call(self, rows: list[list[int]], mask: Tensor | None) -> Tensor:
        ids = torch.tensor(rows, device=self._model.device)
        return self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits


@contextmanager
def _treated(body: Any, way: Forward, shares: bool = False) -> Iterator[None]:
    """Let a body read padded batches in one way while the block lasts."""
    before = vars(body).get("forward")
    _replace_forward(body, way, shares)
    try:
        yield
    finally:
        vars(body).pop("forward", None)
        if before is not None:
            body.forward = before


def _log_probs(logits: Tensor) -> Tensor:
    return logits.float().log_softmax(-1)


def _deviation(seen: Tensor, right: Tensor) -> float:
    """Return the largest difference in nats; infinite where one of them is no number."""
    return (seen - right).abs().nan_to_num(nan=torch.inf).max().item()
