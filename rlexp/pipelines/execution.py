"""A pipeline run: each stage that has not finished yet, one after the other.

What has been done stands in the stages' folders and nowhere else. So a pipeline can be killed at
any moment, and the same command goes on where it was, in the middle of a stage too. A stage that
another process is at work on is waited for.
"""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlexp.config.registry_choices import parse_pinned
from rlexp.config.run_words import RunWords
from rlexp.config.stored import Config, write_config
from rlexp.launch.launcher import launch
from rlexp.launch.resume_plan import plan_resume
from rlexp.pipelines.orders import Orders, unneeded
from rlexp.pipelines.planning.against_base import MODEL as EXAMINED
from rlexp.pipelines.planning.against_base import config_against_base
from rlexp.pipelines.planning.planned import BASED_ON, PipelinePlan, PlannedStage, with_gold
from rlexp.pipelines.planning.references import replaced
from rlexp.pipelines.stage_key import StageKey
from rlexp.pipelines.stage_runs import (
    KEY_TAG,
    PIPELINE_TAG,
    STAGE_TAG,
    StageRun,
    finished_run,
    folder_of,
    lock_folder,
    write_ingredients,
)
from rlexp.runner.pruning import PRUNED
from rlexp.runtime.checkpoints import complete_checkpoints
from rlexp.runtime.lock import lock
from rlexp.runtime.run_folder import CHECKPOINTS, MODEL, SPOOL
from rlexp.runtime.waiting import announced_wait
from rlexp.spec.errors import Pruned, RunFailed, UserError
from rlexp.spec.run import RunSpec
from rlexp.tracking.query.record import INPUT_TAG
from rlexp.tracking.spool.history import RunHistory

FOREVER = 7 * 86400.0
"""Seconds that a stage of another process is waited for."""


@dataclass
class StageResult:
    """What became of a stage."""

    stage: PlannedStage
    key: StageKey
    state: str = "waiting"
    """waiting, running, finished (here and now), used (it was there), stopped or failed."""
    run: StageRun | None = None
    chosen: str | None = None
    """Of a choice: the stage that it chose."""

    @property
    def seconds(self) -> float | None:
        return self.run.seconds if self.run else None


class PipelineRun:
    """The run of one plan in this process; `results` say how far it has come.

    `parent` is the MLflow run under which the stages are folded.
    """

    def __init__(
        self,
        plan: PipelinePlan,
        keys: Mapping[str, StageKey],
        orders: Orders,
        show: Callable[[PipelineRun, StageResult], None],
        parent: str | None = None,
    ) -> None:
        self.plan, self.orders, self._show = plan, orders, show
        self._parent = parent
        self.results = results_of(plan, keys)

    def run(self) -> None:
        """Run what has not finished. `show` is called each time that a stage changes its state.

        Raises:
            UserError, RunFailed, Pruned: as the stage does that ends it.
        """
        skipped = unneeded(self.plan, self.orders.first)
        for result in self.results.values():
            if result.stage.name in skipped:
                continue
            if result.stage.choice:
                self._choose(result)
            else:
                self._finish_stage(result)
            self._show(self, result)
            if result.stage.name == self.orders.last:
                return

    def _finish_stage(self, result: StageResult) -> None:
        """Take the run that is there, or make it."""
        stage, key = result.stage, result.key.key
        forced = stage.name in self.orders.forced
        uri = stage.tracking_uri
        if not forced and (run := finished_run(stage, key, uri)):
            result.state, result.run = "used", run
            return
        waits = f"the stage {stage.name}, which another process runs"
        with ExitStack() as held:
            with announced_wait(waits, remedy="It is used as soon as it has finished."):
                held.enter_context(lock(lock_folder(key), timeout=FOREVER))
            if not forced and (run := finished_run(stage, key, uri)):
                result.state, result.run = "used", run
                return
            result.state = "running"
            self._show(self, result)
            try:
                self._run_stage(result)
            except BaseException as error:
                result.state = "failed" if isinstance(error, (UserError, RunFailed)) else "stopped"
                self._show(self, result)
                raise
            result.state, result.run = "finished", finished_run(stage, key, None)
        gc.collect()  # the next stage's models want the memory

    def _run_stage(self, result: StageResult) -> None:
        stage, folder = result.stage, folder_of(result.key.key)
        reporter = self.orders.reporters.get(stage.name)
        if stage.name in self.orders.forced and folder.exists():
            folder.rename(_replaced_folder(folder))
        history = RunHistory.read(folder / SPOOL)
        if history is not None and reporter and (pruned := history.events.get(PRUNED)):
            raise Pruned(pruned[-1]["step"])
        if history is not None and _goes_on(folder, history):
            resumption = plan_resume(folder, [])
            launch(resumption.spec, folder, None, resumption.checkpoint, reporter)
            return
        if folder.exists():  # a run that has lost what it left, or had not begun
            folder.rename(_replaced_folder(folder)) if history else shutil.rmtree(folder)
        config, spec = self._real_config(stage)
        folder.mkdir(parents=True)
        write_config(folder, config)
        write_ingredients(folder, stage, self.plan.name, result.key)
        launch(spec, folder, self._parent, reporter=reporter)

    def _real_config(self, stage: PlannedStage) -> tuple[Config, RunSpec]:
        """Return a stage's config with what its parents made in the place of stand-ins."""
        if stage.made == "evaluation":
            owner = self.plan.stage(stage.parents[EXAMINED][0])
            model = str(self._folder(owner.name) / MODEL)
            config = config_against_base(self._composed(owner), stage.begins_with, model)
            assert stage.config
            config["data"] = stage.config["data"]
        else:
            config = self._composed(stage)
        tracking = config["tracking"]
        tags = {**tracking["tags"], **self._tags(stage)}
        config["tracking"] = {**tracking, "tags": tags}
        if "name" not in stage.words:
            config["name"] = f"{self.plan.name}-{stage.name}"
        return parse_pinned(config)

    def _composed(self, stage: PlannedStage) -> Config:
        """Return the config that a stage's words make now."""
        words = [
            replaced(word, lambda names: json.dumps(str(self._folder(names[0]))))
            for word in stage.words.values()
        ]
        assert stage.config
        if stage.config["model"]["shape"] is not None and BASED_ON in stage.parents:
            words.append("model.shape=null")  # what it begins with is made by now
        checked = RunWords(words, search_path=self.plan.search_path)
        try:
            checked.check()
        except UserError as error:
            problems = (p.under(f"stage.{stage.name}: {p.key}", p.key) for p in error.problems)
            raise UserError(problems) from error
        config = {key: v for key, v in checked.configs[-1].items() if key != "sweep"}
        return with_gold(config, stage.gold)

    def _tags(self, stage: PlannedStage) -> dict[str, str]:
        key = self.results[stage.name].key.key
        tags = {PIPELINE_TAG: self.plan.name, STAGE_TAG: stage.name, KEY_TAG: key}
        for place, names in stage.parents.items():
            runs = (self.results[name].run for name in names)
            tags[f"{INPUT_TAG}{place}"] = ", ".join(run.run_id for run in runs if run)
        return tags

    def _folder(self, name: str) -> Path:
        run = self.results[name].run
        assert run is not None
        return run.folder

    def _choose(self, result: StageResult) -> None:
        """Take the stage whose metric is best."""
        choice = result.stage.choice
        assert choice
        values: dict[str, float] = {}
        for name in choice.stages:
            run = self.results[name].run
            assert run is not None
            values[name] = metric_of(run.card, choice.metric, name)
        best = (max if choice.mode == "max" else min)(values, key=values.__getitem__)
        result.chosen, result.run = best, self.results[best].run
        result.state = "used"


def results_of(plan: PipelinePlan, keys: Mapping[str, StageKey]) -> dict[str, StageResult]:
    """Return what has become of each stage before anything has run."""
    return {stage.name: StageResult(stage, keys[stage.name]) for stage in plan.stages}


def metric_of(card: Mapping[str, Any], metric: str, stage: str) -> float:
    """Return a metric of a stage's card.

    Raises:
        RunFailed: the card does not have it.
    """
    values = {f"eval/{name}": value for name, value in card["after"].items()}
    values |= {"eval/win_rate": card["win_rate"]}
    value = values.get(metric)
    if value is None:
        what = f"the stage {stage} has no {metric}"
        there = ", ".join(name for name, value in values.items() if value is not None)
        raise RunFailed(what, f"it measured {there}", "name one of these as the choice's metric")
    return float(value)


def _goes_on(folder: Path, history: RunHistory) -> bool:
    """Return whether a begun run is resumed; one that failed before its first checkpoint is not."""
    has_trained = bool(complete_checkpoints(folder / CHECKPOINTS))
    return history.status != "FINISHED" and (history.status != "FAILED" or has_trained)


def _replaced_folder(folder: Path) -> Path:
    """Return a name for a run's folder that a new run takes the place of."""
    number = 1
    while (other := folder.with_name(f"{folder.name}.replaced-{number}")).exists():
        number += 1
    return other
