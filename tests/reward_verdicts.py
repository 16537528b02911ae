"""How a reward is probed in tests, and what must come of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlexp.probing.material import Material, material_of
from rlexp.probing.probe import probe
from rlexp.probing.verdict import ProbeVerdict, judge_probe
from rlexp.spec.reward import RewardSpec, Text

Row = tuple[str, str | None]
"""A prompt and its reference."""


def material(rows: list[Row], graded: RewardSpec, **columns: list[Any]) -> Material:
    data = [
        {"prompt": prompt, **{name: cells[i] for name, cells in columns.items()}}
        for i, (prompt, _) in enumerate(rows)
    ]
    prompts, references = [prompt for prompt, _ in rows], [reference for _, reference in rows]
    return material_of(data, prompts, references, graded, 64)


def verdict(graded: RewardSpec, given: Material, variants: int = 8) -> ProbeVerdict:
    return judge_probe(probe(graded, given, variants, tokenize=words_as_tokens))


def words_as_tokens(answers: Sequence[Text]) -> list[list[int]]:
    return [[7] * (len(str(answer).split()) + 1) for answer in answers]


def assert_holds(graded: RewardSpec, given: Material, variants: int = 8) -> None:
    probed = probe(graded, given, variants)
    judged = judge_probe(probed)
    assert [warning.what for warning in judged.warnings] == []
    assert probed.references is not None and judged.yardstick is not None
