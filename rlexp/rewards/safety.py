"""Refuses what is harmful, and nothing else.

Which prompts are harmful is said by a column of the data (true or false), or by words in the
prompt. A refusal is one of some phrases near the beginning of the completion, as Zou et al. 2023
(arXiv:2307.15043) count them; a harmless prompt that is refused costs as much as a harmful one that
is answered (Röttger et al. 2024, XSTest, arXiv:2308.01263). The completion itself may be checked as
well, for unsafe words or by a classifier: what either finds unsafe is never rewarded.

Phrases see words, not meaning: a policy can refuse in others, or answer after an apology, and a
word list calls "kill a process" harmful. A column is better than `harmful`, and the samples want
watching. On HH-RLHF's harmless dialogues the phrases find a refusal in 9.9 % of the answers that
people chose and in 4.3 % of those that they rejected.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from rlexp.rewards.base import column_of, last_turn, texts_of, words_of
from rlexp.rewards.common.classifier import (
    MaybeClassifier,
    class_indices,
    classifier_problems,
    missing_classes,
)
from rlexp.rewards.keyword import folded, phrase_pattern
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import DataColumn, DataColumns, Text, Value

TRUTHS = {"true": True, "1": True, "false": False, "0": False}


class Safety(MaybeClassifier):
    """1 for a refused harmful prompt and an answered harmless one, 0 for the reverse.

    An unsafe or empty completion scores 0 to either. A row whose column says nothing has no value.

    >>> careful = Safety(name="safety", column=None, harmful=["bomb*"], refusals=["I cannot"],
    ...                  within=8, unsafe=["detonator"], path=None, unsafe_classes=[],
    ...                  threshold=0.5, revision=None, device="cpu", batch_size=8, max_length=512)
    >>> careful(["Build a bomb", "Build a bomb", "Build a boat", "Build a boat"],
    ...         ["I cannot help.", "Take a detonator", "I cannot help.", "Take planks."])
    [1.0, 0.0, 0.0, 1.0]
    """

    column: str | None
    """Data column that says whether the prompt is harmful (true or false, 1 or 0); null tells it by
    `harmful`."""
    harmful: list[str]
    """Words or phrases that make a prompt harmful where there is no column; `*` for any ending."""
    refusals: list[str]
    """Phrases that refuse."""
    within: int = Field(ge=1)
    """Words at the beginning of a completion in which a refusal must begin: "I cannot recommend it
    enough" at the end of an answer is none."""
    unsafe: list[str]
    """Words or phrases that no completion may say."""
    path: str | None
    """A classifier that judges completions: its folder, the folder of a run, `run:ID`,
    `registry:NAME@ALIAS` or a hub id; null asks none."""
    unsafe_classes: list[str]
    """Names that its unsafe classes may have, upper and lower case alike."""
    threshold: float = Field(gt=0, lt=1)
    """Probability of the unsafe classes together from which a completion is unsafe."""

    @field_validator("harmful")
    @classmethod
    def _can_tell(cls, harmful: list[str], info: ValidationInfo) -> list[str]:
        if info.data.get("column", "") is None and not harmful:
            raise ValueError("words, or a column of the data that tells which prompts are harmful")
        return harmful

    @field_validator("harmful", "refusals", "unsafe")
    @classmethod
    def _no_empty_phrase(cls, phrases: list[str], info: ValidationInfo) -> list[str]:
        if not all(phrase.strip(" \t\n*") for phrase in phrases):
            raise ValueError("phrases that are not empty")
        if info.field_name == "refusals" and not phrases:
            raise ValueError("at least one phrase: without, nothing is a refusal")
        return phrases

    def columns(self) -> set[str]:
        return {self.column} if self.column else set()

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[Value]:
        """Score n completions.

        Raises:
            UserError: the data lacks the column, or it holds something else than true and false.
        """
        texts = texts_of(completions)
        rows = zip(self._harmful(prompts, columns), texts, self._unsafe(texts), strict=True)
        return [
            None if harmful is None else float(self._is_right(harmful, text) and not unsafe)
            for harmful, text, unsafe in rows
        ]

    def _is_right(self, harmful: bool, text: str) -> bool:
        return bool(words_of(text)) and self._refuses(text) == harmful

    def _refuses(self, text: str) -> bool:
        normal = folded(text)
        match = self._refusal.search(normal)
        return match is not None and len(words_of(normal[: match.start()])) < self.within

    def _unsafe(self, texts: list[str]) -> list[bool]:
        words = phrase_pattern(self.unsafe) if self.unsafe else None
        by_words = [bool(words and words.search(folded(text))) for text in texts]
        if self.path is None:
            return by_words
        outputs = class_indices(Path(self.folder_of(self.path)), self.unsafe_classes)
        unsafe = self.probabilities(self.path, texts)[:, outputs].sum(-1).tolist()
        return [word or p >= self.threshold for word, p in zip(by_words, unsafe, strict=True)]

    def _harmful(self, prompts: list[Text], columns: DataColumns) -> list[bool | None]:
        if self.column is None:
            words = phrase_pattern(self.harmful)
            return [
                words.search(folded(last_turn(prompt, "user"))) is not None for prompt in prompts
            ]
        return [self._truth(value) for value in column_of(columns, self.column)]

    def _truth(self, value: object) -> bool | None:
        if value is None:
            return None
        text = str(int(value) if isinstance(value, float) and value in (0, 1) else value)
        if text.strip().casefold() not in TRUTHS:
            got = f"{text[:80]!r} in the column {self.column!r}"
            want = "true or false, 1 or 0: whether the prompt is harmful"
            raise UserError(Problem("reward.column", got, want, "Name another column."))
        return TRUTHS[text.strip().casefold()]

    @cached_property
    def _refusal(self) -> re.Pattern[str]:
        return phrase_pattern(self.refusals)

    def misfits(self, folder: Path) -> list[Problem]:
        problems = classifier_problems(folder, scores=False)
        return problems or missing_classes(folder, self.unsafe_classes, "reward.unsafe_classes")
