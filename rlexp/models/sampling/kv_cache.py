"""The key-value cache of a sampling loop: prompts are read at once, then a token of each a step."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens that the cache has room for beyond those it holds; when they are used up it is copied."""

Sampling = Literal["padded", "apart", "reread"]
"""Prompts padded to one length; those of each length by themselves; those, and without a cache."""


def padded(
    prompts: Sequence[Sequence[int]], pad_token_id: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (n, p), padded on the left."""
    width = max(map(len, prompts))
    ids = [[pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def rows_together(prompts: Sequence[Sequence[int]], grouping: Sampling) -> list[list[int]]:
    """Return which prompts are read at once: all, or those of each length."""
    if grouping == "padded":
        return [list(range(len(prompts)))]
    lengths = dict.fromkeys(len(prompt) for prompt in prompts)
    return [
        [row for row, prompt in enumerate(prompts) if len(prompt) == length] for length in lengths
    ]


def unpadded(values: torch.Tensor, mask: torch.Tensor) -> list[list[Any]]:
    """The values (n, t) of each row where the mask is 1."""
    rows = zip(values.tolist(), mask.tolist(), strict=True)
    return [[value for value, real in zip(*row, strict=True) if real] for row in rows]


def takes_past(model: Any) -> bool:
    """Whether a causal LM goes on from what it has read (`past_key_values`)."""
    return "past_key_values" in _parameters(_without_adapter(model))


def _without_adapter(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _parameters(model: Any) -> Any:
    return inspect.signature(type(model).forward).parameters


class DecodingState:
    """A model's cache, attention mask and positions: what it has read of each sequence so far."""

    def __init__(self, model: Any) -> None:
        """
        Args:
            model: transformers causal LM, or a PEFT model around one.

        Raises:
            TypeError: a model that has no `past_key_values`.
        """
        plain = _without_adapter(model)
        if not takes_past(model):
            name = type(plain).__name__
            raise TypeError(f"{name} takes no past_key_values, which sampling token by token needs")
        self._model = model
        self._takes_positions = "position_ids" in _parameters(plain)
        layers = DynamicCache(config=plain.config).layers
        # Layers with a window or a state of their own stay what transformers makes of them.
        self._cache: Any = Cache(
            [PreallocatedCacheLayer() if type(layer) is DynamicLayer else layer for layer in layers]
        )

    def prefill(self, prompts: Sequence[Sequence[int]], pad_token_id: int) -> torch.Tensor:
        """Read the prompts; logits (n, vocabulary) of the first token of each answer."""
        # A prompt that occurs several times is read once.
        rows = {prompt: row for row, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        device = self._model.device
        ids, mask = padded(list(rows), pad_token_id, device)
        self._mask = mask
        self._has_padding = not bool(mask.all())
        positions = (mask.cumsum(1) - 1).clamp_(min=0)
        self._last = positions[:, -1:]
        logits = self._forward(ids, positions)
        if len(rows) == len(prompts):
            return logits
        copies = torch.tensor([rows[tuple(prompt)] for prompt in prompts], device=device)
        self.select_rows(copies)
        return logits[copies]

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Read one more token of each sequence; logits (n, vocabulary) of the next."""
        self._last = self._last + 1
        if self._has_padding:
            self._mask = torch.cat([self._mask, torch.ones_like(self._last)], dim=1)
        return self._forward(tokens[:, None], self._last)

    def select_rows(self, rows: torch.Tensor) -> None:
        """Go on with these rows only; one that is named several times goes on several times."""
        self._cache.reorder_cache(rows)
        self._mask, self._last = self._mask[rows], self._last[rows]

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        output = self._model(
            input_ids=ids,
            # Without a mask attention takes its faster kernels.
            attention_mask=self._mask if self._has_padding else None,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
            **({"position_ids": positions} if self._takes_positions else {}),
        )
        return output.logits[:, -1]


class RereadingState:
    """The same for a model without a cache that could be used: each step reads all from the start.

    Prompts are of one length.
    """

    def __init__(self, model: Any) -> None:
        """
        Args:
            model: transformers causal LM, or a PEFT model around one.
        """
        self._model = model

    def prefill(self, prompts: Sequence[Sequence[int]], pad_token_id: int) -> torch.Tensor:
        """Read the prompts; logits (n, vocabulary) of the first token of each answer."""
        self._ids = torch.tensor([list(prompt) for prompt in prompts], device=self._model.device)
        return self._forward()

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Read one more token of each sequence; logits (n, vocabulary) of the next."""
        self._ids = torch.cat([self._ids, tokens[:, None]], dim=1)
        return self._forward()

    def select_rows(self, rows: torch.Tensor) -> None:
        """Go on with these rows only."""
        self._ids = self._ids[rows]

    def _forward(self) -> torch.Tensor:
        return self._model(input_ids=self._ids, use_cache=False, logits_to_keep=1).logits[:, -1]


class PreallocatedCacheLayer(DynamicLayer):
    """Keys and values with room behind them: a step writes one column, and copies nothing else."""

    _room: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append states (n, heads, tokens, head size); all so far come back."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
            return key_states, value_states
        assert self.keys is not None and self.values is not None
        before = self.keys.shape[-2]
        after = before + key_states.shape[-2]
        if self._room is None or self._room[0].shape[-2] < after:
            self._room = _with_room(self.keys), _with_room(self.values)
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, before:after] = new
        self.keys, self.values = (room[:, :, :after] for room in self._room)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Take these rows of the batch."""
        self._room = None
        super().reorder_cache(beam_idx)  # pyright: ignore[reportArgumentType]


def _with_room(states: torch.Tensor) -> torch.Tensor:
    n, heads, used, size = states.shape
    room = states.new_empty(n, heads, used + ROOM, size)
    room[:, :, :used] = states
    return room
