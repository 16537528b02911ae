"""The plan of a pipeline: each stage composed and checked before anything runs.

What a stage takes from another is not there yet. Something of the same kind stands in for it while
the config is checked: the model that the other began with for a policy, rows of the same columns
for samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlexp.config.run_words import RunWords
from rlexp.pipelines.planning.against_base import evaluation_of
from rlexp.pipelines.planning.definition import (
    PipelineDefinition,
    StageDefinition,
    pipeline_file,
    read_pipeline,
)
from rlexp.pipelines.planning.made import Made, kind_problems, makes
from rlexp.pipelines.planning.planned import BASED_ON, PipelinePlan, PlannedStage, with_gold
from rlexp.pipelines.planning.references import RANKING, references, replaced
from rlexp.pipelines.planning.typed_words import STAGE, TypedWords
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.rows import rows_are_sampled
from rlexp.spec.run import RunSpec

GOLD = "eval.gold"
NEW = "builtin:scratch"
READ_TOKENS = ("algo.teacher", "algo.critic_path")
"""Begin the keys of models that must read the policy's tokens."""
PENDING = "stage/"
"""Begins what stands in for a model that is yet to be made; no hub has an owner of that name."""


def plan_pipeline(
    words: Sequence[str], scratch: Path, search_path: Path | None = None
) -> PipelinePlan:
    """Return the plan of a pipeline's words.

    Args:
        words: as typed: `pipeline=NAME`, `group=choice`, `key=value`, `stage.NAME.key=value`.
        scratch: a folder for stand-ins, which may go afterwards.
        search_path: a folder with further choices.

    Raises:
        UserError: with everything that is wrong with any of the stages.
    """
    typed = TypedWords.parse(words)
    file = pipeline_file(typed.pipeline, search_path)
    definition = read_pipeline(file, typed.rounds)
    problems = typed.unknown_stages(definition)
    planner = _Planner(definition, typed, scratch, search_path)
    stages = planner.stages()
    problems += _told_once(planner.problems, typed, planner.accepted)
    if problems:
        raise UserError(problems)
    # a new model's random weights are no base that a policy could be compared with
    policies = [
        stage
        for stage in stages
        if stage.made == "policy" and BASED_ON in stage.parents and stage.begins_with != NEW
    ]
    if typed.against_base != "none":
        evaluated = policies[-1:] if typed.against_base == "last" else policies
        stages += [evaluation_of(stage, planner.planned) for stage in evaluated]
    return PipelinePlan(definition.name, tuple(words), tuple(stages), search_path)


class _Planner:
    """Composes the stages one after the other, each with stand-ins of those before."""

    def __init__(
        self,
        definition: PipelineDefinition,
        typed: TypedWords,
        scratch: Path,
        search_path: Path | None,
    ) -> None:
        self.definition, self.typed = definition, typed
        self.scratch, self.search_path = scratch, search_path
        self.problems: list[tuple[str, Problem]] = []
        """Of stages, by their names."""
        self.accepted: dict[str, list[str]] = {}
        """By the key that was typed for all stages, those that have it."""
        self.planned: dict[str, PlannedStage] = {}

    def stages(self) -> list[PlannedStage]:
        for stage in self.definition.stages:
            if any(p not in self.planned for names in stage.parents.values() for p in names):
                continue  # what is wrong with a parent has been told
            planned = self._choice(stage) if stage.choice else self._stage(stage)
            if planned is not None:
                self.planned[stage.name] = planned
        return list(self.planned.values())

    def _choice(self, stage: StageDefinition) -> PlannedStage:
        assert stage.choice
        first, *others = (self.planned[name] for name in stage.choice.stages)
        for other in others:
            if other.made != first.made:
                got = f"{first.name}, which makes {first.made}, and {other.name}: {other.made}"
                problem = Problem(f"stages.{stage.base}.best_of", got, "stages that make the same")
                self.problems.append((stage.name, problem))
        return PlannedStage(stage, stage.parents, first.made, first.begins_with, {})

    def _stage(self, stage: StageDefinition) -> PlannedStage | None:
        words = self.typed.words_of(stage)
        problems: list[Problem] = []
        planned = self._composed(stage, words, problems)
        self.problems += [(stage.name, problem) for problem in problems]
        wrong = {problem.key for problem in problems}
        for key in set(self.typed.common) & set(words) - wrong:
            self.accepted.setdefault(key, []).append(stage.base)
        if planned is None:  # those that use it are checked all the same
            untyped = TypedWords(self.typed.pipeline).words_of(stage)
            planned = self._composed(stage, untyped, [])
        return planned

    def _composed(
        self, stage: StageDefinition, words: dict[str, str], problems: list[Problem]
    ) -> PlannedStage | None:
        """Return a stage with these words; None where they are wrong, with the problems added."""
        gold = self._gold(words, problems)
        parents = _parents(words)
        unknown = {name for names in parents.values() for name in names} - set(self.planned)
        if unknown:  # in what was typed for a stage
            want = f"a stage before it: {', '.join(self.planned) or 'it is the first'}"
            key = next(key for key, names in parents.items() if unknown & set(names))
            problems.append(Problem(key, f"${{stage:{min(unknown)}}}", want))
            return None
        checked = RunWords(
            [
                replaced(word, lambda names, k=key: self._stand_in(k, names[0]))
                for key, word in words.items()
            ],
            search_path=self.search_path,
        )
        try:
            checked.check()
            config = {key: value for key, value in checked.configs[-1].items() if key != "sweep"}
            config = with_gold(config, gold)
            spec = RunSpec.parse(config)
        except UserError as error:
            problems += error.problems
            return None
        base = next((self.planned[p].begins_with for p in parents.get(BASED_ON, ())), None)
        planned = PlannedStage(
            stage, parents, makes(spec), base or spec.model.path, words, config, spec, gold
        )
        kinds: dict[str, list[tuple[str, Made]]] = {
            key: [(name, self.planned[name].made) for name in names]
            for key, names in parents.items()
        }
        misused = [*kind_problems(spec, kinds), *self._vocabularies(planned)]
        problems += misused
        return None if misused else planned

    def _gold(self, words: dict[str, str], problems: list[Problem]) -> dict[str, Any]:
        """Take `eval.gold=${reward:NAME}` from the words; return what it means, by metrics' name.

        Where the pairs are the data's own there is no such reward.
        """
        match = RANKING.search(words.get(GOLD, ""))
        if match is None:
            return {}
        del words[GOLD]
        ranked = self.planned.get(match[1])
        if ranked is None or not (ranked.spec and ranked.config):
            want = f"a stage before it: {', '.join(self.planned) or 'it is the first'}"
            problems.append(Problem(GOLD, match[0], want))
            return {}
        if not rows_are_sampled(ranked.spec.algo, ranked.spec.data):
            return {}
        return {ranked.spec.reward.name: ranked.config["reward"]}

    def _stand_in(self, key: str, name: str) -> str:
        """Return what is checked in the place of what a stage will have made."""
        parent = self.planned[name]
        if key.endswith(("model.path", "model.tokenizer")) and parent.made != "samples":
            return json.dumps(parent.begins_with)
        if parent.made == "samples":
            return json.dumps(str(self._sample_file(parent)))
        return json.dumps(f"{PENDING}{name}")

    def _sample_file(self, parent: PlannedStage) -> Path:
        """Return a file with the columns of a stage's samples."""
        assert parent.spec
        answers = [{"content": text, "score": score} for text, score in (("a", 1.0), ("b", 0.0))]
        sources = parent.spec.data.sources_by_name().values()
        extra = set().union(*(source.extra_columns() or () for source in sources))
        columns = dict.fromkeys(sorted(extra), "1")
        rows = [{"prompt": f"{n}", "completions": answers, **columns} for n in (1, 2)]
        self.scratch.mkdir(parents=True, exist_ok=True)
        file = self.scratch / f"{parent.name}.jsonl"
        text = "".join(json.dumps(row) + "\n" for row in rows)
        file.write_text(text, encoding="utf-8")
        return file

    def _vocabularies(self, stage: PlannedStage) -> Iterator[Problem]:
        """Yield a problem for each model that cannot read the policy's tokens."""
        assert stage.spec
        if getattr(stage.spec.algo, "across_tokenizers", False):
            return
        for key, names in stage.parents.items():
            for name in names if key.startswith(READ_TOKENS) else ():
                other = self.planned[name]
                if other.begins_with != stage.begins_with and _differ(other, stage):
                    got = f"{name}, which began with {other.begins_with}"
                    want = f"a model with the tokens of {stage.begins_with}"
                    root = self.planned.get(self.root_of(stage), stage)
                    choice = other.spec.model.name if other.spec else other.begins_with
                    remedy = f"Type {STAGE}{root.definition.base}.model={choice}"
                    yield Problem(key, got, want, remedy)

    def root_of(self, stage: PlannedStage) -> str:
        """Return the stage with which a stage's policy began."""
        for name in stage.parents.get(BASED_ON, ()):
            return self.root_of(self.planned[name])
        return stage.name


def _differ(one: PlannedStage, other: PlannedStage) -> bool:
    """Whether two models have different tokens, as far as can be seen before they are made."""
    from rlexp.spec.files.model_folder import vocabulary

    folders = [Path(stage.begins_with).expanduser() for stage in (one, other)]
    if all(folder.is_dir() for folder in folders):
        first, second = map(vocabulary, folders)
        return first is not None and second is not None and first != second
    return any(stage.begins_with.startswith("builtin:") for stage in (one, other))


def _parents(words: dict[str, str]) -> dict[str, tuple[str, ...]]:
    named = {key: tuple(names[0] for names in references(word)) for key, word in words.items()}
    return {key: names for key, names in named.items() if names}


def _told_once(
    problems: Sequence[tuple[str, Problem]], typed: TypedWords, accepted: dict[str, list[str]]
) -> list[Problem]:
    """Return problems with the words that mend them here: those of a stage's own key, or of all."""
    told: list[Problem] = []
    for stage, problem in problems:
        key = problem.key
        if key in typed.common and key in accepted:
            owner = accepted[key][0]
            remedy = f"Type {STAGE}{owner}.{typed.common[key]} in its place."
            want = f"a key that all stages have; {stage} does not"
            told.append(replace(problem, want=want, remedy=remedy))
        elif key in typed.common or key.partition(".")[0] in typed.common:
            told.append(problem)
        elif (CONF / key.partition(".")[0]).is_dir() or "." in key:
            place = f"{STAGE}{stage}."
            remedy = problem.remedy.replace("Did you mean ", f"Did you mean {place}")
            told.append(replace(problem, key=f"{place}{key}", remedy=remedy))
        else:
            told.append(replace(problem, key=f"{STAGE}{stage}: {key}"))
    return told
