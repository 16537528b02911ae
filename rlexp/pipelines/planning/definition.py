"""What a pipeline's yaml says: its stages in the order in which they run, loops unrolled.

    name: rlhf
    stages:
      sft: {algo: sft}
      reward: {algo: reward, model.path: "${stage:sft}"}
      ppo:
        algo: ppo
        model.path: ${stage:sft}
        reward: model
        reward.path: ${stage:reward}

A stage is the words of a run: groups and keys with what they are set to. A loop is an entry with
`rounds` and `stages` of its own; its stages are then called `dpo-1`, `dpo-2` and so on. An entry
with `best_of`, `metric` and `mode` is the one of several stages whose metric came out best.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from rlexp.pipelines.planning.references import references, replaced
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError

GROUP = "pipeline"
_NAME = re.compile(r"[A-Za-z_]\w*")
_LOOP, _CHOICE = {"rounds", "stages"}, {"best_of", "metric", "mode"}


@dataclass(frozen=True)
class StageChoice:
    """One of several stages, chosen by what came of them."""

    stages: tuple[str, ...]
    metric: str
    mode: str
    """max or min."""


@dataclass(frozen=True)
class StageDefinition:
    """A stage as the yaml has it; in its words `${stage:NAME}` names one that runs before."""

    name: str
    base: str
    """The name in the yaml: `dpo` of `dpo-2`."""
    words: Mapping[str, Any]
    """Groups and keys, with what they are set to."""
    round: int | None = None
    choice: StageChoice | None = None

    @property
    def parents(self) -> dict[str, tuple[str, ...]]:
        """The stages that it uses, by the key that names them."""
        if self.choice:
            return {"best_of": self.choice.stages}
        named = {key: [names[0] for names in references(v)] for key, v in self.words.items()}
        return {key: tuple(stages) for key, stages in named.items() if stages}


@dataclass
class PipelineDefinition:
    """A pipeline's name and stages."""

    name: str
    file: Path
    stages: list[StageDefinition]
    loops: dict[str, list[str]] = field(default_factory=dict)
    """Names in the yaml of each loop's stages."""

    def bases(self) -> list[str]:
        """Return the stages' names in the yaml, without choices."""
        return list(dict.fromkeys(stage.base for stage in self.stages if not stage.choice))


def pipeline_file(name: str, search_path: Path | None) -> Path:
    """Return the yaml of a pipeline: a choice of `conf/pipeline`, of `--config-dir`, or a file.

    Raises:
        UserError: there is none of that name.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        file = Path(name).expanduser()
        if file.is_file():
            return file
        remedy = "Name a file that is there, or a choice of conf/pipeline."
        raise UserError(Problem(GROUP, f"{name}, which is not there", "a yaml file", remedy))
    places = [place / GROUP for place in (search_path, CONF) if place]
    for place in places:
        if (file := place / f"{name}.yaml").is_file():
            return file
    names = sorted({file.stem for place in places for file in place.glob("*.yaml")})
    near = get_close_matches(name, names, n=1)
    remedy = f"Did you mean {near[0]}?" if near else f"Name a file of your own: {GROUP}=FILE.yaml"
    raise UserError(Problem(GROUP, name, f"one of {', '.join(names)}, or a yaml file", remedy))


def read_pipeline(file: Path, rounds: Mapping[str, int] | None = None) -> PipelineDefinition:
    """Return the pipeline of a yaml file.

    Args:
        file: the yaml.
        rounds: of loops, by name, instead of those in the file.

    Raises:
        UserError: with everything that is wrong with it.
    """
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        want = "yaml: indentation by spaces, brackets and quotes in pairs"
        cause = str(getattr(error, "problem", None) or "what is no yaml")
        raise UserError(Problem(place, cause, want, "Mend that line.")) from error
    return _Reader(file, dict(rounds or {})).read(content)


class _Reader:
    """Reads one file, and gathers what is wrong with it."""

    def __init__(self, file: Path, rounds: dict[str, int]) -> None:
        self.file, self.rounds = file, rounds
        self.problems: list[Problem] = []
        self.loops: dict[str, list[str]] = {}
        self.order: list[str] = []
        """Names in the yaml, in the order in which they stand there."""

    def read(self, content: Any) -> PipelineDefinition:
        stages = content.get("stages") if isinstance(content, dict) else None
        if not isinstance(stages, dict) or not stages:
            want = "`stages:`, and below it each stage's name with its words"
            raise UserError(Problem(str(self.file), "a file without stages", want, _EXAMPLE))
        for key in sorted(set(content) - {"name", "stages"}):
            want = "name and stages"
            self._add(str(key), "a key that no pipeline has", want, "Leave it away.")
        self._names(stages)
        unrolled = list(self._stages(stages))
        unknown = set(self.rounds) - set(self.loops)
        for name in sorted(unknown):
            want = f"a loop: {', '.join(self.loops) or 'there is none in this pipeline'}"
            self.problems.append(Problem(f"stage.{name}.rounds", str(self.rounds[name]), want))
        unrolled = list(self._resolved(unrolled))
        if self.problems:
            raise UserError(self.problems)
        name = str(content.get("name") or self.file.stem)
        return PipelineDefinition(name, self.file, unrolled, self.loops)

    def _add(self, place: str, got: str, want: str, remedy: str = "") -> None:
        self.problems.append(Problem(f"{self.file}: {place}", got, want, remedy))

    def _names(self, stages: Mapping[str, Any]) -> None:
        for name, entry in stages.items():
            if not _NAME.fullmatch(str(name)):
                want = "letters, digits and _, a letter first"
                self._add(f"stages.{name}", repr(name), want, "Give it another name.")
            if name in self.order:
                self._add(f"stages.{name}", "a name that stands twice", "a name of its own")
            self.order.append(str(name))
            if isinstance(entry, dict) and "stages" in entry and isinstance(entry["stages"], dict):
                self._names(entry["stages"])

    def _stages(self, stages: Mapping[str, Any]) -> Iterator[StageDefinition]:
        for name, entry in stages.items():
            place = f"stages.{name}"
            if not isinstance(entry, dict) or not entry:
                self._add(place, repr(entry), "the words of a run", "For example {algo: sft}")
            elif "stages" in entry or "rounds" in entry:
                yield from self._loop(str(name), entry)
            elif "best_of" in entry:
                if choice := self._choice(place, entry):
                    yield StageDefinition(str(name), str(name), {}, choice=choice)
            else:
                yield StageDefinition(str(name), str(name), {str(k): v for k, v in entry.items()})

    def _loop(self, name: str, entry: Mapping[str, Any]) -> Iterator[StageDefinition]:
        place, rounds = f"stages.{name}", self.rounds.get(name, entry.get("rounds"))
        if set(entry) != _LOOP or not isinstance(entry["stages"], dict):
            want = "`rounds` and `stages`, and nothing else"
            self._add(place, ", ".join(map(str, entry)), want)
            return
        if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
            self._add(f"{place}.rounds", repr(rounds), "a whole number above 0", "rounds: 3")
            return
        inner = list(self._stages(entry["stages"]))
        self.loops[name] = [stage.base for stage in inner]
        for number in range(1, rounds + 1):
            for stage in inner:
                yield StageDefinition(
                    f"{stage.name}-{number}", stage.base, stage.words, number, stage.choice
                )

    def _choice(self, place: str, entry: Mapping[str, Any]) -> StageChoice | None:
        stages, mode = entry.get("best_of"), entry.get("mode", "max")
        if not isinstance(stages, list) or len(stages) < 2:
            self._add(f"{place}.best_of", repr(stages), "a list of two or more stages")
        elif not isinstance(entry.get("metric"), str):
            want = "the metric that decides"
            self._add(f"{place}.metric", repr(entry.get("metric")), want, "metric: eval/reward")
        elif mode not in ("max", "min"):
            self._add(f"{place}.mode", repr(mode), "max or min", "mode: max")
        elif unknown := set(entry) - _CHOICE:
            self._add(place, ", ".join(sorted(unknown)), "best_of, metric and mode")
        else:
            return StageChoice(tuple(map(str, stages)), entry["metric"], mode)
        return None

    def _resolved(self, stages: Sequence[StageDefinition]) -> Iterator[StageDefinition]:
        """Yield the stages with each reference resolved to the name of one stage before it."""
        ran: dict[str, str] = {}
        """By the name in the yaml, the stage of that name that ran last; and each by its own."""
        known = {stage.name for stage in stages}

        def name_of(stage: StageDefinition, key: str, names: tuple[str, ...]) -> str:
            # a name of the yaml is the newest of that name, `dpo-1` a certain round
            named = next((ran[name] for name in names if name in ran), None)
            unknown = [name for name in names if name not in (*self.order, *known)]
            if unknown or named is None:
                self._missing(stage, key, names, unknown)
            return named or names[0]

        for stage in stages:
            if stage.choice:
                chosen = tuple(name_of(stage, "best_of", (name,)) for name in stage.choice.stages)
                choice = StageChoice(chosen, stage.choice.metric, stage.choice.mode)
                yield StageDefinition(stage.name, stage.base, {}, stage.round, choice)
            else:
                words = {
                    key: replaced(value, partial(self._reference, name_of, stage, key))
                    for key, value in stage.words.items()
                }
                yield StageDefinition(stage.name, stage.base, words, stage.round)
            ran |= {stage.name: stage.name, stage.base: stage.name}

    def _reference(
        self,
        name_of: Callable[[StageDefinition, str, tuple[str, ...]], str],
        stage: StageDefinition,
        key: str,
        names: tuple[str, ...],
    ) -> str:
        return f"${{stage:{name_of(stage, key, names)}}}"

    def _missing(
        self, stage: StageDefinition, key: str, names: tuple[str, ...], unknown: list[str]
    ) -> None:
        place, shown = f"stages.{stage.base}.{key}", f"${{stage:{','.join(names)}}}"
        others = [name for name in self.order if name != stage.base]
        if unknown:
            near = get_close_matches(unknown[0], others, n=1)
            remedy = f"Did you mean {near[0]}?" if near else ""
            want = f"a stage of this pipeline: {', '.join(others)}"
            self._add(place, f"{shown}, which is no stage", want, remedy)
        elif stage.base in names:
            want = "a stage that runs before this one"
            remedy = "In a loop, name what the first round takes: ${stage:" + stage.base + ",FIRST}"
            self._add(place, f"{shown}, the stage itself", want, remedy)
        else:
            want = "a stage that stands before this one"
            remedy = f"Move {names[0]} above {stage.base}: stages run in the order of the file, "
            remedy += "and may not use each other in a circle."
            self._add(place, f"{shown}, which comes later", want, remedy)


_EXAMPLE = "For example: stages: {sft: {algo: sft}, dpo: {algo: dpo, model.path: '${stage:sft}'}}"
