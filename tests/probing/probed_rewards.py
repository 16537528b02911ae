"""Rewards made of a function, and material for them, for the tests of probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from rlexp.probing.material import Material, material_of
from rlexp.spec.reward import Place, RewardSpec, StrategyKind, Text, Value

Score = Callable[[str, str, dict[str, Any]], Value]
ROWS = [
    {
        "prompt": f"Tom has {first} apples. How many are {first} + {second}?",
        "answer": first + second,
    }
    for first, second in ((3, 4), (10, 5), (8, 2), (11, 9))
]
ANSWERS: list[Text | None] = [f"They are\n{row['answer']}" for row in ROWS]


class Pays(RewardSpec):
    """What a function says of prompt, answer and columns, in [0, 1]."""

    score_one: ClassVar[Score]
    place: ClassVar[Place] = "workers"
    design: ClassVar[dict[StrategyKind, str]] = {}
    most: ClassVar[float | None] = 1.0

    def bounds(self) -> tuple[float | None, float | None]:
        return (None if self.most is None else 0.0), self.most

    def by_design(self) -> dict[StrategyKind, str]:
        return self.design

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: list[Any]
    ) -> list[Value]:
        score = type(self).__dict__["score_one"]
        return [
            score(prompt, completion, {name: cells[i] for name, cells in columns.items()})
            for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
        ]


def pays(score: Score, **settings: Any) -> RewardSpec:
    return type("PaysThis", (Pays,), {"score_one": score, "__module__": __name__, **settings})(
        name="mine"
    )


def exact(prompt: str, completion: str, columns: dict[str, Any]) -> Value:
    return float(completion.rpartition("\n")[2] == str(columns["answer"]))


def material(
    rows: list[dict[str, Any]] = ROWS,
    answers: list[Text | None] = ANSWERS,
    reward: RewardSpec | None = None,
    tokens: int = 40,
) -> Material:
    prompts = [row["prompt"] for row in rows]
    return material_of(rows, prompts, answers, reward or pays(exact), tokens)
