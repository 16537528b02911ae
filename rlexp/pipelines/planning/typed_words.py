"""The words of a pipeline's command: which are of the pipeline, of one stage, of all stages.

    pipeline=rlhf model=qwen0.5b train.max_steps=40 stage.ppo.algo.beta=0.1 stage.improve.rounds=5

What is typed goes before what the yaml says, and what is typed for a stage before what is typed for
all. References to other stages stay whatever is typed for all: `model=` sets the model that the
first stage begins with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from rlexp.pipelines.planning.definition import GROUP, PipelineDefinition, StageDefinition
from rlexp.pipelines.planning.references import references
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError

STAGE = "stage."
ROUNDS = "rounds"
AGAINST_BASE = f"{GROUP}.against_base"
_EVALUATED = ("all", "last", "none")
NOT_FOR_ALL = ("algo", "sweep", "experiment")
"""Groups that one stage can choose, and all of them cannot."""


@dataclass
class TypedWords:
    """What was typed, sorted."""

    pipeline: str
    common: dict[str, str] = field(default_factory=dict)
    """Words for all stages, by key."""
    of_stage: dict[str, dict[str, str]] = field(default_factory=dict)
    """Words for a stage, by its name and their key."""
    rounds: dict[str, int] = field(default_factory=dict)
    """Rounds of a loop, by its name."""
    against_base: str = "all"
    """Which policies are evaluated against the pipeline's base too: all, last or none."""

    @classmethod
    def parse(cls, words: Sequence[str]) -> TypedWords:
        """Return the words sorted.

        Raises:
            UserError: no pipeline, or words that none can have.
        """
        problems: list[Problem] = []
        typed = cls("")
        for word in words:
            key = key_of(word)
            if key == GROUP:
                typed.pipeline = word.partition("=")[2].strip("'\"")
            elif key == AGAINST_BASE:
                typed.against_base = value = word.partition("=")[2]
                if value not in _EVALUATED:
                    want = ", ".join(_EVALUATED)
                    problems.append(Problem(key, value, want, f"Type {key}=last"))
            elif key.startswith(f"{GROUP}."):
                remedy = f"A stage's own: {STAGE}NAME.KEY=VALUE"
                problems.append(Problem(key, word, AGAINST_BASE, remedy))
            elif key.startswith(STAGE):
                problems += typed._add_stage_word(word)
            elif key.startswith("hydra."):
                remedy = f"Leave {key} away: a pipeline's folder is named by its key."
                problems.append(Problem(key, word, "words of runs", remedy))
            elif key in NOT_FOR_ALL:
                remedy = f"Type {STAGE}NAME.{word} in its place."
                want = "words that all stages can have, or a stage's own"
                problems.append(Problem(key, word, want, remedy))
            else:
                typed.common[key] = word
        if not typed.pipeline:
            problems.append(Problem(GROUP, "nothing", "a pipeline", "Type pipeline=rlhf"))
        if problems:
            raise UserError(problems)
        return typed

    def _add_stage_word(self, word: str) -> list[Problem]:
        mark = word[: len(word) - len(word.lstrip("+~"))]
        name, dot, rest = word.lstrip("+~").removeprefix(STAGE).partition(".")
        if not (name and dot and rest):
            want = f"{STAGE}NAME.KEY=VALUE"
            remedy = f"Type {STAGE}{name or 'NAME'}.seed=1 in its place, or another key."
            return [Problem(word, "a word for no stage", want, remedy)]
        if rest.startswith(f"{ROUNDS}="):
            number = rest.partition("=")[2]
            if not number.isdigit() or int(number) < 1:
                want = "a whole number above 0"
                remedy = f"Type {STAGE}{name}.{ROUNDS}=3"
                return [Problem(f"{STAGE}{name}.{ROUNDS}", number, want, remedy)]
            self.rounds[name] = int(number)
        else:
            self.of_stage.setdefault(name, {})[key_of(rest)] = mark + rest
        return []

    def unknown_stages(self, pipeline: PipelineDefinition) -> list[Problem]:
        """Return a problem for each stage that words were typed for, and that is not there."""
        names = {name for stage in pipeline.stages for name in (stage.name, stage.base)}
        problems = []
        for name in self.of_stage:
            if name not in names:
                key = f"{STAGE}{name}.{next(iter(self.of_stage[name]))}"
                near = get_close_matches(name, [*names, *pipeline.loops], n=1)
                remedy = f"Did you mean {near[0]}?" if near else ""
                want = f"a stage of {pipeline.name}: {', '.join(pipeline.bases())}"
                problems.append(Problem(key, f"a stage {name}", want, remedy))
        return problems

    def words_of(self, stage: StageDefinition) -> dict[str, str]:
        """Return all words of a stage by key; those that name other stages hold references."""
        in_yaml = {
            str(key).lstrip("+~"): typed_word(key, value) for key, value in stage.words.items()
        }
        pinned = _pinned(stage.words)
        # another choice of these has other keys
        replaced_groups = {"data", "reward"} & set(self.common)
        open_words = {
            key: text
            for key, text in in_yaml.items()
            if key not in pinned and key.partition(".")[0] not in replaced_groups
        }
        own = {**self.of_stage.get(stage.base, {}), **self.of_stage.get(stage.name, {})}
        held = {key: text for key, text in in_yaml.items() if key in pinned}
        kept_groups = _referring_groups(stage.words)
        common = {
            key: text
            for key, text in self.common.items()
            if key.partition(".")[0] not in kept_groups
        }
        changed = {key for key in own if (CONF / key).is_dir()}
        held = {key: text for key, text in held.items() if key.partition(".")[0] not in changed}
        return {**open_words, **common, **held, **own}


def key_of(word: str) -> str:
    """Return the key that a word is for, without Hydra's marks for adding and removing."""
    return word.lstrip("+~").partition("=")[0]


def typed_word(key: str, value: Any) -> str:
    """Return what is typed to set a key to a value of a yaml file."""
    return f"{key}={_text(value)}"


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(_text(element) for element in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_text(element)}' for key, element in value.items())}}}"
    return str(value)


def _pinned(words: Mapping[str, Any]) -> set[str]:
    """Return the keys that what is typed for all stages does not change: the algorithm, references
    to stages, and the groups that these are keys of."""
    referring = {str(key) for key, value in words.items() if list(references(value))}
    groups = _referring_groups(words)
    plain = {str(key).lstrip("+~") for key in words}
    return {key for key in plain if key in (*referring, "algo") or key in groups}


def _referring_groups(words: Mapping[str, Any]) -> set[str]:
    """Return the groups of which a key names another stage: these are the pipeline's to choose."""
    keys = (str(key) for key, value in words.items() if list(references(value)))
    return {key.partition(".")[0] for key in keys} & {"data", "reward"}
