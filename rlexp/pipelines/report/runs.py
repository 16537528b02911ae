"""The stages' runs as their folders tell them: configs, cards, and all of their evaluations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from rlexp.cards.card import Card
from rlexp.config.stored import read_config
from rlexp.evaluation.results import Evaluation, Sample
from rlexp.pipelines.family.recorded import ENDED, RecordedPipeline, RecordedStage
from rlexp.runtime.run_folder import CARD, CONFIG, EVALUATIONS
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.components import component_class

Key = tuple[str, int]
"""A held-out prompt: its text, and how many of the same text stand before it."""
STEP = "step-"
SAMPLED_BY = ("temperature", "max_completion_length")
"""Knobs of `eval` that decide what a policy writes: where they differ, answers do not compare."""
UNFINISHED = {"failed": "failed", "running": "is still running", "waiting": "has not run"}
FAILED = "The run failed: "
"""Begins the note of a card that says why."""
EVALUATED = "algo.model"
"""The key by which an evaluation uses the stage that it is of."""


@dataclass(frozen=True)
class MeasuredStage:
    """A stage that has come to its end, and what its run's folder holds."""

    record: RecordedStage
    config: dict[str, Any] = field(repr=False)
    card: Card
    evaluations: dict[int, Evaluation] = field(repr=False)
    """By step; of a reward model those of pairs."""

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.record.name

    @cached_property
    def algorithm(self) -> type[AlgoSpec]:
        """The class of its algorithm."""
        return component_class(self.config["algo"], AlgoSpec, "algo")

    @property
    def is_policy(self) -> bool:
        """Whether it trained a model that writes."""
        return self.algorithm.trains and self._writes

    @property
    def is_reward_model(self) -> bool:
        """Whether it trained a model that scores."""
        return self.algorithm.trains and not self._writes

    @property
    def is_evaluation(self) -> bool:
        """Whether it only measures what another stage made."""
        return EVALUATED in self.record.parents and not self.algorithm.trains and self._writes

    @property
    def _writes(self) -> bool:
        return self.algorithm.head == "language"

    @property
    def initial(self) -> Evaluation | None:
        """The evaluation of the model that it began with."""
        return self.evaluations.get(0)

    @property
    def final(self) -> Evaluation | None:
        """The evaluation of what came of it."""
        last = max(self.evaluations, default=0)
        return self.evaluations[last] if last else None

    @property
    def resamples(self) -> int:
        """Of the bootstrap, as on its card."""
        return self.config["eval"]["bootstrap"]

    @property
    def seed(self) -> int:
        """Of its evaluations."""
        return self.config["eval"]["seed"]

    @property
    def steps(self) -> int:
        """Optimizer steps that it was to take."""
        return self.config["train"]["max_steps"]

    @property
    def sampled_by(self) -> tuple[object, ...]:
        """The knobs by which its evaluations sample."""
        return tuple(self.config["eval"].get(name) for name in SAMPLED_BY)


@dataclass(frozen=True)
class MeasuredPipeline:
    """A pipeline, and the runs of its stages as far as they are there."""

    record: RecordedPipeline
    runs: list[MeasuredStage]
    notes: list[str]
    """What could not be read."""

    @classmethod
    def read(cls, folder: Path) -> MeasuredPipeline:
        """Read the folder of a pipeline and those of its stages."""
        record = RecordedPipeline.read(folder)
        notes: list[str] = []
        runs = [run for stage in record.stages if (run := _read(stage, notes))]
        return cls(record, runs, notes)

    @property
    def policies(self) -> list[MeasuredStage]:
        """Stages that trained a model that writes."""
        return [run for run in self.runs if run.is_policy]

    @property
    def reward_models(self) -> list[MeasuredStage]:
        """Stages that trained a model that scores."""
        return [run for run in self.runs if run.is_reward_model]

    def evaluated(self, run: MeasuredStage) -> str:
        """Return the policy that a run's last evaluation is of."""
        return self._chosen(run.record.parents[EVALUATED][0]) if run.is_evaluation else run.name

    def began_with(self, run: MeasuredStage) -> str | None:
        """Return the stage whose model a run goes on with, behind a choice the one chosen."""
        name = run.record.began_with
        return None if name is None else self._chosen(name)

    def _chosen(self, name: str) -> str:
        stages = {stage.name: stage for stage in self.record.stages}
        while name in stages and (chosen := stages[name].chosen):
            name = chosen
        return name

    def parent(self, run: MeasuredStage) -> str:
        """Return the policy that a run's first evaluation is of: another stage, or a base."""
        return self.began_with(run) or self.base(run)

    def base(self, run: MeasuredStage) -> str:
        """Return the base that a stage comes from, over however many others."""
        by_name = {other.name: other for other in self.runs}
        run = by_name.get(self.evaluated(run), run)
        while (parent := self.began_with(run)) in by_name:
            run = by_name[parent]
        return f"base ({run.config['model']['name']})"

    def against_base(self, run: MeasuredStage) -> MeasuredStage | None:
        """Return the run that measures a stage against its base: itself, where it began with it."""
        if run.record.began_with is None:
            return run
        return next(
            (
                other
                for other in self.runs
                if other.is_evaluation
                and self.evaluated(other) == run.name
                and other.record.began_with is None
            ),
            None,
        )

    def steps(self, run: MeasuredStage) -> int:
        """Return the optimizer steps that lie between a base and a stage's model."""
        by_name = {policy.name: policy for policy in self.policies}
        total, name = 0, run.name
        while name in by_name:
            total += by_name[name].steps
            name = self.began_with(by_name[name])
        return total


def _read(stage: RecordedStage, notes: list[str]) -> MeasuredStage | None:
    """Return a stage's run; None where it has none that ended, which the notes then say."""
    if stage.chosen:
        return None  # it is the run of another stage
    if stage.state not in ENDED:
        if EVALUATED not in stage.parents or stage.state == "failed":
            notes.append(f"{stage.name} {UNFINISHED[stage.state]}{_cause(stage)}.")
        return None
    missing = [name for name in (CONFIG, CARD) if not (stage.folder / name).is_file()]
    if missing:
        gone = " and ".join(missing)
        notes.append(f"{stage.name} is left out: {stage.folder} has no {gone} on this machine.")
        return None
    evaluations = {
        int(file.stem.removeprefix(STEP)): Evaluation.from_json(file)
        for file in sorted((stage.folder / EVALUATIONS).glob(f"{STEP}*.json"))
    }
    run = MeasuredStage(
        stage, read_config(stage.folder / CONFIG), Card.from_json(stage.folder / CARD), evaluations
    )
    if run.algorithm.trains and run.final is None:
        notes.append(f"{stage.name} has no answers to show: {stage.folder}/{EVALUATIONS} is gone.")
    return run


def _cause(stage: RecordedStage) -> str:
    """Return what a failed run's card says of its failure."""
    card = stage.folder / CARD
    if stage.state != "failed" or not card.is_file():
        return ""
    causes = [note for note in Card.from_json(card).notes if note.startswith(FAILED)]
    return f" ({causes[-1].removeprefix(FAILED).splitlines()[0]})" if causes else ""


def by_prompt(samples: Sequence[Sample]) -> dict[Key, list[Sample]]:
    """Return the completions of each prompt, which stand next to each other.

    Of prompts with one text the first is the first everywhere: data that are read alike have them
    in one order.
    """
    seen: Counter[str] = Counter()
    groups: dict[Key, list[Sample]] = {}
    for prompt, group in _neighbours(samples):
        groups[prompt, seen[prompt]] = group
        seen[prompt] += 1
    return groups


def _neighbours(samples: Sequence[Sample]) -> Iterator[tuple[str, list[Sample]]]:
    for _, group in groupby(samples, key=lambda sample: sample.prompt_id):
        members = list(group)
        yield members[0].prompt, members


def uses_stage(value: Any, stage: RecordedStage) -> bool:
    """Whether a part of a config names a stage: its folder, a place in it, or its run."""
    if isinstance(value, dict):
        return any(uses_stage(item, stage) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(uses_stage(item, stage) for item in value)
    if not isinstance(value, str) or not value:
        return False
    if value.startswith("run:"):
        return bool(stage.run_id) and stage.run_id.startswith(value.removeprefix("run:"))
    return "/" in value and stage.folder.name in Path(value).parts
