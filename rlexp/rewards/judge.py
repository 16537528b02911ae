"""A language model's opinion of a completion, by a rubric: LLM-as-a-judge.

Any OpenAI-compatible endpoint will do, one on this machine too (vLLM, llama.cpp, Ollama). Asked for
a score it rates each completion alone; asked for a preference it compares two, in both orders
(Zheng et al. 2023, arXiv:2306.05685). A policy that is trained on a judge learns to please it, by
length and flattery as well, or by instructions to the judge: read the samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from rlexp.rewards.judging.answer_cache import Answer
from rlexp.rewards.judging.answer_parsing import (
    conversation_text,
    fill_placeholders,
    parse_score,
    placeholders,
)
from rlexp.rewards.judging.endpoint_judge import EndpointJudge, missing_placeholders
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, DataColumns, Text

SCORE_PLACEHOLDERS = frozenset({"prompt", "completion", "low", "high"})
PAIR_PLACEHOLDERS = frozenset({"prompt", "first", "second"})


class Judge(EndpointJudge):
    """The judge's score on its scale, or the share of comparisons won; in [0, 1].

    None, a missing value, where no answer could be read. A tie counts half, and so does a pair of
    which the judge prefers whichever stands first. Among the completions to a prompt the mean is
    1/2 by construction: `eval.judge` says whether a policy trained that way has become better. An
    empty completion is shown as it is.

    >>> import yaml
    >>> from rlexp.runtime.paths import CONF
    >>> knobs = yaml.safe_load((CONF / "reward/judge.yaml").read_text())
    >>> knobs |= {"base_url": "http://127.0.0.1:8000/v1", "model": "judge", "scale": [1, 5]}
    >>> knobs["rubric"] = "Rate by {answer}, {low} to {high}: {completion}"
    >>> judge = Judge(**{key: knob for key, knob in knobs.items() if key != "_target_"})
    >>> judge.columns()
    {'answer'}
    >>> judge.question("How many?", "18", {"answer": "18"})
    'Rate by 18, 1 to 5: 18'
    """

    mode: Literal["score", "pairwise"]
    """`score` rates each completion; `pairwise` compares it with another, in both orders."""
    against: str | None
    """Column with the text to compare with, for `pairwise`; null compares the completions to a
    prompt with each other."""
    rubric: str
    """The question for a score. {prompt}, {completion}, the {low} and {high} of the scale and any
    {column} of the data are filled in."""
    scale: list[float] = Field(min_length=2, max_length=2)
    """The lowest and the highest score; they become 0 and 1."""
    pair_rubric: str
    """The question for a preference, of a {first} and a {second} completion, A and B."""

    @field_validator("scale")
    @classmethod
    def _ascending(cls, scale: list[float]) -> list[float]:
        if scale[0] >= scale[1]:
            raise ValueError("the lowest score and a higher one, such as [1, 10]")
        return scale

    @field_validator("against")
    @classmethod
    def _compares(cls, against: str | None, info: ValidationInfo) -> str | None:
        if against is not None and info.data.get("mode") == "score":
            raise ValueError("null, or mode=pairwise: a score compares with nothing")
        return against

    def problems(self) -> list[Problem]:
        return [
            *super().problems(),
            *missing_placeholders(self.rubric, "reward.rubric", ("completion",)),
            *missing_placeholders(self.pair_rubric, "reward.pair_rubric", ("first", "second")),
        ]

    @property
    def needs_rivals(self) -> bool:
        return self.mode == "pairwise" and self.against is None

    def columns(self) -> set[str]:
        if self.mode == "score":
            return placeholders(self.rubric) - SCORE_PLACEHOLDERS
        return self.pair_columns() | ({self.against} if self.against else set())

    def pair_columns(self) -> set[str]:
        return placeholders(self.pair_rubric) - PAIR_PLACEHOLDERS

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def reference_column(self) -> str | None:
        return self.against

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float | None]:
        """Ask about n completions.

        Raises:
            UserError, RunFailed: the endpoint refuses, or does not answer.
            RunFailed: no prompt has two completions where they are compared with each other.
        """
        if self.mode == "score":
            return self._scores(prompts, completions, columns)
        pair_columns = {name: columns[name] for name in self.pair_columns()}
        if self.against is None:
            return self.win_shares(prompts, completions, pair_columns)
        return self._wins(prompts, completions, columns[self.against], pair_columns)

    def question(self, prompt: Text, completion: Text, values: Mapping[str, object]) -> str:
        """Return the question for the score of one completion."""
        own_values = {
            "prompt": conversation_text(prompt),
            "completion": conversation_text(completion),
            "low": f"{self.scale[0]:g}",
            "high": f"{self.scale[1]:g}",
        }
        return fill_placeholders(
            self.rubric, {name: str(value) for name, value in values.items()} | own_values
        )

    def about_pair(self, prompt: str, pair: set[str]) -> tuple[str, dict[str, str]]:
        return self.pair_rubric, {}

    def _scores(
        self, prompts: list[Text], completions: list[Text], columns: DataColumns
    ) -> list[float | None]:
        low, high = self.scale
        questions = [
            self.question(prompt, completion, {name: columns[name][i] for name in self.columns()})
            for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
        ]

        def parse(answer: Answer) -> float | None:
            return parse_score(answer, low, high)

        reminder = f"Answer with a number from {low:g} to {high:g} alone."
        scores = self.read(questions, parse, reminder)
        return [None if score is None else (score - low) / (high - low) for score in scores]

    def _wins(
        self,
        prompts: list[Text],
        completions: list[Text],
        references: DataColumn,
        columns: DataColumns,
    ) -> list[float | None]:
        known = [index for index, text in enumerate(references) if text is not None]
        preferences = self.prefer(
            [prompts[index] for index in known],
            [completions[index] for index in known],
            [references[index] for index in known],
            {name: [values[index] for index in known] for name, values in columns.items()},
        )
        wins: list[float | None] = [None] * len(completions)
        for index, preference in zip(known, preferences, strict=True):
            wins[index] = preference and preference.value
        return wins
