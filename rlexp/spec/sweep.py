"""What a sweep with Optuna is to do. Composed under `sweep`, beside the run that it repeats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from rlexp.spec.errors import Problem
from rlexp.spec.part import Part

Direction = Literal["maximize", "minimize"]

NO_PRUNER = "optuna.pruners.NopPruner"
COSTS = ("train_seconds", "total_seconds", "tokens_per_second", "peak_memory_mib")
"""What a card says beside its evaluation; as objectives `perf/train_seconds` and so on."""
STORAGES = ("sqlite", "postgresql", "mysql")


class SweepSpec(Part):
    """A study: what is searched, by what, for how long, and where it is kept."""

    name: str = Field(min_length=1)
    """Of the study. The same command with the same name goes on with it."""
    folder: str = Field(min_length=1)
    """Where its trials stand, each in the folder of its number."""
    storage: str
    """SQLAlchemy's address of the data base: a `sqlite:///` file for one machine, PostgreSQL or
    MySQL for several."""
    objective: str | list[str]
    """Metric of the card, or several."""
    direction: Direction | list[Direction]
    """Which end of each objective is good."""
    n_trials: int = Field(gt=0)
    """Finished or pruned trials that the study is to have, however often the command is given."""
    n_jobs: int = Field(gt=0)
    """Trials at once on this machine."""
    max_retries: int = Field(ge=0)
    """Times that a trial is gone on with after its process died."""
    max_failures: int = Field(gt=0)
    """Failed trials in a row that end the sweep."""
    heartbeat: int = Field(gt=0)
    """Seconds between a trial's signs of life; after three that did not come, another machine
    takes it over."""
    confirm: int = Field(ge=0)
    """Further seeds with which the best trials are run again at the end, for intervals."""
    confirm_best: int = Field(gt=0)
    """Trials that are run again: the first by the (first) objective, or of the Pareto front."""
    seed: int = Field(ge=0, lt=2**31)
    """Of the sampler."""
    params: dict[str, Any]
    """The search space in Hydra's sweep syntax, by key; see `rlexp.sweep.space.syntax`."""
    sampler: dict[str, Any]
    """Optuna's sampler: `_target_` and its arguments."""
    pruner: dict[str, Any]
    """Optuna's pruner: `_target_` and its arguments."""

    @property
    def objectives(self) -> list[str]:
        """The objectives, of which there may be one."""
        return [self.objective] if isinstance(self.objective, str) else self.objective

    @property
    def directions(self) -> list[Direction]:
        """The direction of each objective."""
        return [self.direction] if isinstance(self.direction, str) else self.direction

    @property
    def prunes(self) -> bool:
        """Whether hopeless trials are stopped."""
        return self.pruner.get("_target_") != NO_PRUNER

    def problems(self) -> Iterator[Problem]:
        """What is wrong beyond the types of single fields."""
        objectives, directions = self.objectives, self.directions
        if not objectives:
            yield Problem("sweep.objective", "no metric", "a metric of the card")
        if len(directions) != len(objectives):
            got = f"{len(directions)} for {len(objectives)} objectives"
            remedy = "In the same order: sweep.direction=[maximize,minimize]."
            yield Problem("sweep.direction", got, "a direction for each objective", remedy)
        if len(set(objectives)) < len(objectives):
            yield Problem("sweep.objective", ", ".join(objectives), "each metric once")
        if len(objectives) > 1 and self.prunes:
            got = f"{len(objectives)} objectives and a pruner"
            remedy = "A trial that is worse in one may be better in another: sweep/pruner=none."
            yield Problem("sweep/pruner", got, "no pruner, or one objective", remedy)
        scheme = urlsplit(self.storage).scheme.partition("+")[0]
        if scheme not in STORAGES:
            remedy = "The default is a file in the sweep's folder."
            want = "sqlite:///FILE, postgresql://… or mysql://…"
            yield Problem("sweep.storage", scheme or "no address", want, remedy)
