"""Rewards made from their yaml, and what validation says of them, for several test files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rlexp.runtime.paths import CONF
from rlexp.spec.components import component_class
from rlexp.spec.reward import RewardSpec
from rlexp.spec.validation import validate

DATA = CONF.parent.parent / "shared" / "data"
"""Cuts of public data sets, which stand beside some checkouts."""

OTHERS = {"${data.max_completion_length}": 48}
"""Values that a reward's yaml takes from other parts."""


def fields_of(file: Path, **changes: Any) -> tuple[type[RewardSpec], dict[str, Any]]:
    """The class that a yaml names, and its fields."""
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    kind = component_class(config, RewardSpec, "reward")
    fields = {key: value for key, value in config.items() if key not in ("_target_", "defaults")}
    fields = {key: OTHERS.get(str(value), value) for key, value in fields.items()}
    return kind, {**fields, **changes}


def reward(choice: str, **changes: Any) -> Any:
    """`reward=CHOICE`, with other values for some of its knobs."""
    kind, fields = fields_of(CONF / "reward" / f"{choice}.yaml", **changes)
    return kind(**fields)


def mistakes(choice: str, **changes: Any) -> dict[str, str]:
    """What validation says is wanted, by key, of `reward=CHOICE` with these changes."""
    kind, fields = fields_of(CONF / "reward" / f"{choice}.yaml", **changes)
    problems: list[Any] = []
    assert validate(kind, fields, "reward", [], problems) is None
    return {problem.key: problem.want for problem in problems}
