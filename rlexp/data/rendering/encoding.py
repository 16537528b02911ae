"""Texts and conversations as a tokenizer and its chat template write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

from rlexp.spec.text import Text


class ChatTokenizer(Protocol):
    """What is asked of a tokenizer of transformers."""

    eos_token: str
    eos_token_id: int
    bos_token_id: int | None
    all_special_ids: list[int]
    all_special_tokens: list[str]

    def __call__(self, text: Any, **options: Any) -> Mapping[str, Any]:
        """Tokenize one text, or a list of them."""
        ...

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Write a conversation as one text."""
        ...

    def decode(self, token_ids: Any, **options: Any) -> Any:
        """Return the text of some ids."""
        ...


@dataclass(frozen=True)
class Rendered:
    """A text as it is tokenized."""

    text: str
    ids: list[int]


class TemplateRefusal(Exception):
    """A conversation that the chat template does not take; the message is the template's own."""


class Renderer:
    """Writes and tokenizes texts and conversations as TRL does before a training.

    Args:
        tokenizer: with a chat template.
    """

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self.tokenizer = tokenizer

    def template_text(self, turns: Text, *, generation_prompt: bool) -> str:
        """Return a conversation as the template writes it.

        Raises:
            TemplateRefusal: the template does not take it.
        """
        try:
            return self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=generation_prompt
            )
        except Exception as error:  # a template raises whatever its expressions raise
            raise TemplateRefusal(str(error) or type(error).__name__) from error

    def render(
        self, texts: Sequence[Text], *, generation_prompt: bool, special_tokens: bool = True
    ) -> list[Rendered | TemplateRefusal]:
        """Return each text rendered, or why the template does not take it.

        Args:
            texts: strings are tokenized as they are, conversations go through the template.
            generation_prompt: whether a conversation ends with what introduces an answer.
            special_tokens: whether strings get the tokens that the tokenizer puts around a text.
        """
        written: list[str | TemplateRefusal] = []
        for text in texts:
            try:
                written.append(
                    text
                    if isinstance(text, str)
                    else self.template_text(text, generation_prompt=generation_prompt)
                )
            except TemplateRefusal as refusal:
                written.append(refusal)
        ids: dict[int, list[int]] = {}
        for bare in (False, True):
            places = [
                place
                for place, (text, words) in enumerate(zip(texts, written, strict=True))
                if isinstance(words, str)
                and (not isinstance(text, str) or not special_tokens) == bare
            ]
            ids |= zip(
                places, self.tokenize([written[place] for place in places], bare), strict=True
            )
        return [
            words if isinstance(words, TemplateRefusal) else Rendered(words, ids[place])
            for place, words in enumerate(written)
        ]

    def tokenize(self, texts: Sequence[Any], bare: bool) -> list[list[int]]:
        """Return the ids of strings; `bare` ones get no tokens around them."""
        if not texts:
            return []
        options = {"add_special_tokens": False} if bare else {}
        return self.tokenizer(list(texts), **options)["input_ids"]


def common_prefix(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return how many elements two sequences begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
