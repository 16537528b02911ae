"""The part of an answer in which a model thinks, and the answer behind it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from rlexp.spec.part import Part
from rlexp.spec.text import Text, content_of


@dataclass(frozen=True)
class Thought:
    """What stands before the answer in a text that a model has written."""

    characters: int
    """From the text's beginning to the answer's; all of them where the thinking never ends."""
    tokens: int
    """The same in tokens."""
    ended: bool
    """Whether an answer may follow."""


class ThinkingSpec(Part):
    """How thinking is marked, and who sees it."""

    start: str = Field(min_length=1)
    """What begins the thinking, in an answer or at the end of a prompt as the chat template writes
    it."""
    end: str = Field(min_length=1)
    """What ends it. The answer begins behind the first one and the space that follows."""
    in_rewards: bool
    """Whether rewards, judges and what cards measure of a text see the thinking too. False shows
    them the answer alone, which is empty where the thinking never ends. The samples that cards and
    MLflow show are whole either way."""


class ThinkingReader:
    """Finds the thinking in what a policy writes.

    Args:
        spec: how it is marked.
        tokenizer: of transformers; the policy's.
    """

    def __init__(self, spec: ThinkingSpec, tokenizer: Any) -> None:
        self.spec, self.tokenizer = spec, tokenizer

    def thought(self, prompt: Text, text: str, token_ids: Sequence[int]) -> Thought:
        """Return what stands before the answer in the text of some tokens."""
        characters, ended = self._length(prompt, text)
        if not ended or not characters:
            return Thought(characters, 0 if ended else len(token_ids), ended)

        def has_end(count: int) -> bool:
            decoded = self.tokenizer.decode(token_ids[:count], skip_special_tokens=True)
            return self.spec.end in decoded

        tokens = bisect_left(range(len(token_ids)), True, key=has_end)
        return Thought(characters, tokens, ended)

    def answers(
        self, prompts: Sequence[Text], completions: Sequence[Text]
    ) -> tuple[list[Text], list[bool]]:
        """Return what stands behind the thinking, and in which completions that never ends.

        Args:
            prompts: texts or conversations, as the policy was given them.
            completions: texts, or lists of messages of which the last one's answer counts.
        """
        answers: list[Text] = []
        unfinished: list[bool] = []
        for prompt, completion in zip(prompts, completions, strict=True):
            text = completion if isinstance(completion, str) else content_of(completion[-1])
            characters, ended = self._length(prompt, text)
            unfinished.append(not ended)
            answer = text[characters:]
            if isinstance(completion, str):
                answers.append(answer)
            else:
                answers.append([*completion[:-1], {**completion[-1], "content": answer}])
        return answers, unfinished

    def _length(self, prompt: Text, text: str) -> tuple[int, bool]:
        """Return the characters before a text's answer, and whether the thinking ends there."""
        before, end, answer = text.partition(self.spec.end)
        if end:
            return len(text) - len(answer.lstrip()), True
        if self.spec.start in before or self._opens(prompt):
            return len(text), False
        return 0, True

    def _opens(self, prompt: Text) -> bool:
        """Return whether a prompt, as the model reads it, ends within the thinking."""
        if not isinstance(prompt, str):
            prompt = str(
                self.tokenizer.apply_chat_template(
                    prompt, tokenize=False, add_generation_prompt=True
                )
            )
        return prompt.rfind(self.spec.start) > prompt.rfind(self.spec.end)
