"""A judge's preference by written principles: reinforcement learning from AI feedback.

After Bai et al. 2022 (Constitutional AI, arXiv:2212.08073): of two answers to a prompt the judge
picks the one that keeps a principle better, which is drawn anew for each comparison. That makes
preference pairs where the data has none (`algo=dpo reward=constitution`: the best and the worst of
the answers sampled to a prompt), and is a reward for what samples several answers a prompt
(`algo=grpo`). Other than there, both orders are asked, and the verdict is a word rather than its
probability.
"""

from __future__ import annotations

import random
from typing import Literal

from pydantic import Field, field_validator

from rlexp.rewards.judging.answer_parsing import placeholders
from rlexp.rewards.judging.endpoint_judge import EndpointJudge, missing_placeholders
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, Text

OWN_PLACEHOLDERS = frozenset({"principles", "prompt", "first", "second"})


class Constitution(EndpointJudge):
    """Share of comparisons with other completions to the same prompt that are won; in [0, 1].

    None, a missing value, where no answer could be read. A tie counts half, and so does a pair of
    which the judge prefers whichever stands first. The mean over the completions to a prompt is 1/2
    by construction: `eval.judge` says whether the policy has become better. An empty completion is
    shown as it is.

    >>> import yaml
    >>> from rlexp.runtime.paths import CONF
    >>> knobs = yaml.safe_load((CONF / "reward/constitution.yaml").read_text())
    >>> knobs |= {"base_url": "http://127.0.0.1:8000/v1", "model": "judge"}
    >>> knobs |= {"principles": ["Be kind.", "Be brief."], "draw": "all"}
    >>> rules = Constitution(**{key: knob for key, knob in knobs.items() if key != "_target_"})
    >>> rules.about_pair("Hi", {"Hello", "What?"})[1]
    {'principles': '- Be kind.\\n- Be brief.'}
    """

    principles: list[str] = Field(min_length=1)
    """What a better answer keeps to, a sentence each."""
    draw: Literal["one", "all"]
    """Principles a comparison: `one`, drawn by the seed, or `all` of them in one question."""
    seed: int = Field(ge=0)
    """Of the draw. The same two answers are always compared by the same principle."""
    rubric: str
    """The question, with the {principles}, the {prompt}, a {first} and a {second} answer, A and B,
    and any {column} of the data."""

    @field_validator("principles")
    @classmethod
    def _not_empty(cls, principles: list[str]) -> list[str]:
        if not all(principle.strip() for principle in principles):
            raise ValueError("principles that are not empty")
        return principles

    def problems(self) -> list[Problem]:
        needed = ("principles", "first", "second")
        return [*super().problems(), *missing_placeholders(self.rubric, "reward.rubric", needed)]

    @property
    def needs_rivals(self) -> bool:
        return True

    def columns(self) -> set[str]:
        return self.pair_columns()

    def pair_columns(self) -> set[str]:
        return placeholders(self.rubric) - OWN_PLACEHOLDERS

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float | None]:
        """Compare n completions, each with others to the same prompt.

        Raises:
            UserError, RunFailed: the endpoint refuses, or does not answer.
            RunFailed: no prompt has two completions.
        """
        return self.win_shares(
            prompts, completions, {name: columns[name] for name in self.columns()}
        )

    def about_pair(self, prompt: str, pair: set[str]) -> tuple[str, dict[str, str]]:
        if self.draw == "one":
            draw_key = "\0".join([str(self.seed), prompt, *sorted(pair)])
            chosen = [random.Random(draw_key).choice(self.principles)]
        else:
            chosen = self.principles
        listed = (
            chosen[0] if len(chosen) == 1 else "\n".join(f"- {principle}" for principle in chosen)
        )
        return self.rubric, {"principles": listed}
