"""Rewards made of others, and of the user's own code."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlexp.rewards.common import user_function
from rlexp.rewards.mix import Mix
from rlexp.rewards.python import Python
from rlexp.runtime.paths import CONF
from rlexp.scoring import Scorer
from rlexp.spec.errors import RunFailed, UserError
from rlexp.spec.validation import validate


def composed(*overrides: str) -> dict[str, Any]:
    """The reward that a command line asks for, as the plain fields of its spec."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(None, ["+reward=mix", *overrides])
    fields: dict[str, Any] = OmegaConf.to_container(config, resolve=True)["reward"]  # pyright: ignore
    assert fields.pop("_target_") == "rlexp.rewards.mix.Mix"
    return fields


def length(weight: Any, **changes: Any) -> dict[str, Any]:
    knobs = {"name": "length", "target": 2, "width": 2, "unit": "words", "shape": "triangular"}
    return {"_target_": "rlexp.rewards.length.Length", "weight": weight, **knobs, **changes}


def wrong(*terms: dict[str, Any]) -> dict[str, str]:
    """What each key of the terms a, b, … got, by its path below reward.terms."""
    mix = Mix(name="mix", normalize="none", clip=None, terms=dict(zip("abc", terms, strict=False)))
    return {problem.key.removeprefix("reward.terms."): problem.got for problem in mix.problems()}


class TestMix:
    def test_is_the_weighted_sum(self) -> None:
        """Weights ignored, applied twice, or shown in the terms as well."""
        mix = Mix(
            name="mix",
            normalize="none",
            clip=None,
            terms={"near": length(0.5), "far": length(-2, target=4)},
        )
        assert mix.problems() == []
        scores = mix.score(["", ""], ["two words", "one"], {})
        assert scores.terms == {"near": [1.0, 0.5], "far": [0.0, 0.0]}
        assert scores.total == [0.5, 0.25]
        assert mix(["", ""], ["two words", "one"]) == scores.total

    def test_the_yaml_composes_and_takes_another_term(self) -> None:
        """A package header that puts a term beside `terms`, where no schema would look."""
        fields = composed(
            "+reward@reward.terms.keyword=keyword",
            "+reward.terms.keyword.weight=0.3",
            "reward.terms.sentiment.weight=2",
            "~reward.terms.repetition",
        )
        mix = Mix(**fields)
        assert mix.problems() == []
        assert {name: term["weight"] for name, term in mix.terms.items()} == {
            "sentiment": 2,
            "keyword": 0.3,
        }
        assert mix([""], ["wonderful"]) == [pytest.approx(2 * 0.5719 + 0.3)]

    def test_the_yaml_as_it_stands_is_valid(self) -> None:
        """Fields that are not the spec's; a term that repeats itself left unpunished."""
        mix = Mix(**composed())
        assert mix.problems() == []
        assert mix.score([""], ["so so so"], {}).terms["repetition"] == [-0.5]

    def test_columns_are_those_of_all_terms(self) -> None:
        """A term that reads the data would pass the check of columns unseen."""
        added = ("+reward@reward.terms.format=format", "+reward.terms.format.weight=1")
        assert Mix(**composed(*added, "reward.terms.format.column=answer")).columns() == {"answer"}

    def test_a_terms_complaint_about_the_data_has_the_terms_key(self) -> None:
        """Advice to set `reward.column_pattern`, which a mix does not have."""
        added = ("+reward@reward.terms.format=format", "+reward.terms.format.weight=1")
        mix = Mix(**composed(*added, "reward.terms.format.column=answer"))
        with pytest.raises(UserError, match=r"^reward\.terms\.format\.column_pattern: "):
            mix([""], ["#### 1"], answer=["one"])

    def test_survives_pickling(self) -> None:
        """Terms resolved once and kept in a form that no other process can load."""
        mix = Mix(**composed())
        values = mix([""], ["so so good"])
        assert pickle.loads(pickle.dumps(mix))([""], ["so so good"]) == values

    def test_all_mistakes_come_with_their_full_keys(self) -> None:
        """The first mistake hiding the others; keys that do not exist on the command line."""
        problems = wrong(length(1.0, target=-1), length(float("inf"), widht=3), length(None))
        assert problems == {
            "a.target": "-1",
            "b.weight": "inf",
            "b.widht": "an unknown key",
            "c.weight": "nothing",
        }

    @pytest.mark.parametrize("weight", [True, "1", float("nan")])
    def test_a_weight_is_a_finite_number(self, weight: Any) -> None:
        """`yes` in a yaml is true, and true times 0.7 is 0.7."""
        assert wrong(length(weight)) == {"a.weight": repr(weight)}

    def test_refuses_a_mix_in_a_mix_and_no_reward(self) -> None:
        """Terms of terms, which metrics could not name."""
        nested = {"_target_": "rlexp.rewards.mix.Mix", "name": "mix", "terms": {}, "weight": 1}
        none = {"_target_": "rlexp.rewards.none.NoReward", "name": "none", "weight": 1}
        assert wrong(nested, none) == {"a": "Mix", "b": "NoReward"}

    def test_refuses_names_that_no_metric_can_have(self) -> None:
        """`reward_a/b` would open a chart section of its own, `(x)` would stop the run."""
        problems = Mix(name="mix", normalize="none", clip=None, terms={"a/b": length(1)}).problems()
        assert [problem.key for problem in problems] == ["reward.terms.a/b"]

    @pytest.mark.parametrize("terms", [{}, {"a": length(0)}])
    def test_refuses_a_sum_that_is_always_zero(self, terms: dict[str, Any]) -> None:
        """A run whose reward can teach nothing."""
        problems = Mix(name="mix", normalize="none", clip=None, terms=terms).problems()
        assert [problem.key for problem in problems] == ["reward.terms"]

    def test_an_unknown_target_is_reported_under_the_term(self) -> None:
        """A mistake reported as the whole reward's."""
        assert wrong(length(1, _target_="rlexp.rewards.length.Lenght")) == {
            "a._target_": "rlexp.rewards.length.Lenght"
        }


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Python]]:
    """Makes a reward of a function `score` with the given source, in a module of the folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def make(body: str, parameters: str = "prompts, completions, **columns") -> Python:
        source = f"def score({parameters}):\n    {body}\n"
        (tmp_path / "own_reward.py").write_text(source, encoding="utf-8")
        return Python(name="python", function="own_reward:score", parallel=False)

    yield make
    sys.modules.pop("own_reward", None)
    user_function.load_function.cache_clear()


class TestPython:
    def test_calls_the_function_with_what_it_takes(self, own: Callable[..., Python]) -> None:
        """Data with more columns than a function of two parameters knows."""
        reward = own(
            "return [len(c) + len(a) for c, a in zip(completions, answer)]", "completions, answer"
        )
        assert reward.columns() == {"answer"}
        assert reward([""], ["four"], answer=["xx"], unknown=["y"]) == [6.0]

    def test_none_is_missing(self, own: Callable[..., Python]) -> None:
        """A push down where the function says that it cannot tell."""
        assert own("return [None, True]")(["", ""], ["a", "b"]) == [None, 1.0]

    def test_arrays_are_lists_of_numbers(self, own: Callable[..., Python]) -> None:
        """Models answer in arrays; their elements are no Python floats."""
        reward = own("import numpy; return numpy.arange(2)")
        values = Scorer(reward).once(["", ""], ["a", "b"], {}).total
        assert values == [0.0, 1.0]
        assert {type(value) for value in values} == {float}

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("return [1.0]", "returned 1 values for 2 completions"),
            ("return 1.0", "returned a float"),
            ("return ['1', '2']", "gave '1', for sample 0, the completion 'good'"),
            ("return [0.0, float('nan')]", "gave nan, for sample 1, the completion ''"),
            (
                "return [1 / len(c) for c in completions]",
                "raised ZeroDivisionError: division by zero .own_reward.py:2.",
            ),
        ],
    )
    def test_a_wrong_result_names_function_and_text(
        self, own: Callable[..., Python], body: str, message: str
    ) -> None:
        """A NaN that trains for an hour; an error without the completion that caused it."""
        with pytest.raises(RunFailed, match=f"the reward python .*{message}"):
            Scorer(own(body)).once(["", ""], ["good", ""], {})

    def test_a_module_that_cannot_be_loaded_is_told(self, own: Callable[..., Python]) -> None:
        """A traceback from deep inside a trainer for a missing import of the user's."""
        reward = own("return []\nimport no_such_package")
        with pytest.raises(RunFailed, match="cannot be loaded: ModuleNotFoundError"):
            reward([""], ["a"])

    def test_checking_runs_nothing_of_the_users(self, own: Callable[..., Python]) -> None:
        """A module that downloads a model while the config is validated."""
        own("return []\nraise SystemExit('ran')")
        assert "own_reward" not in sys.modules

    def test_checking_does_not_run_the_package_around_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`find_spec("package.module")` runs the package's own code."""
        monkeypatch.chdir(tmp_path)
        package = tmp_path / "own_package"
        package.mkdir()
        (package / "__init__.py").write_text("raise SystemExit('ran')")
        (package / "inner.py").write_text("def score(prompts, completions): ...")
        Python(name="python", function="own_package.inner:score", parallel=False)

    @pytest.mark.parametrize(
        ("function", "want"),
        [
            ("own_reward", "module:function"),
            ("own_reward:", "module:function"),
            ("own_rewrad:score", "did you mean own_reward?"),
            ("own_reward:scor", "did you mean own_reward:score?"),
            ("own_reward.deeper:score", "a module that Python finds"),
            ("broken:score", "broken.py:1: "),
            ("waits:score", "waits.py:1 defines it as async"),
        ],
    )
    def test_mistakes_are_told_before_anything_runs(
        self, own: Callable[..., Python], tmp_path: Path, function: str, want: str
    ) -> None:
        """A typo found only when the model is loaded."""
        own("return []")
        (tmp_path / "broken.py").write_text("def score(:\n")
        (tmp_path / "waits.py").write_text("async def score(prompts, completions): ...\n")
        problems: list[Any] = []
        fields = {"name": "python", "function": function, "parallel": False}
        validate(Python, fields, "reward", [], problems)
        assert [problem.key for problem in problems] == ["reward.function"]
        assert want in problems[0].want

    def test_survives_pickling_into_another_process(
        self, own: Callable[..., Python], tmp_path: Path
    ) -> None:
        """A launcher's worker that has loaded nothing of the user's yet."""
        reward = own("return [float(len(c)) for c in completions]")
        assert reward([""], ["four"]) == [4.0]
        (tmp_path / "reward.pickle").write_bytes(pickle.dumps(reward))
        code = "import pickle; print(pickle.load(open('reward.pickle', 'rb'))([''], ['four']))"
        root = str(CONF.parent)
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.append({root!r}); {code}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "[4.0]"
