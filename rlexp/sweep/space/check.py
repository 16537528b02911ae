"""Check of a sweep before its first trial: what no trial of it could be.

Each parameter is tried at its ends, or at each of its choices, in every combination of the groups
that the sweep chooses from, with the other parameters at their first value. So a key that does not
exist, a value that the spec refuses and two that do not go together are all told at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from rlexp.config.hydra import group_choices
from rlexp.evaluation.metrics import BENCHMARK, applying
from rlexp.pipelines.planning.definition import GROUP
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_paths
from rlexp.spec.run import RunSpec
from rlexp.spec.sweep import COSTS, SweepSpec
from rlexp.spec.validation import unknown_choice, validate
from rlexp.sweep.pipeline_objectives import check_pipeline
from rlexp.sweep.space.grid import grid_problems, is_grid
from rlexp.sweep.space.space import (
    Choice,
    ComposedKeys,
    CompositionCache,
    Parameter,
    SearchSpace,
    Value,
    override_value,
)
from rlexp.sweep.space.syntax import read_space

AT_THE_END = ("perf/", "eval/judge_", f"eval/{BENCHMARK}")
"""Beginnings of the metrics that are known once a run is over."""
MAX_COMBINATIONS = 64
"""Combinations of groups that are looked at; more would take seconds."""

Chosen = dict[Parameter, Value]
Compose = Callable[[list[str]], tuple[DictConfig, Mapping[str, Any]]]


class SweepCheck:
    """Finds the `problems` of a command that searches, and the keys `known` to one of its configs.

    `compose` gives the config and its groups' choices from overrides of groups; `search_path` is a
    folder with further choices.
    """

    def __init__(
        self,
        loader: ConfigLoader,
        compose: Compose,
        arguments: Sequence[str],
        search_path: Path | None = None,
    ) -> None:
        self._search_path = search_path
        self._loader, self._arguments = loader, arguments
        self._is_group = group_test(loader)
        self._compositions = CompositionCache(compose, self._is_group)
        self.problems: list[Problem] = []
        self.known: set[str] = set()
        self._spec: SweepSpec | None = None
        self._fixed: list[str] = []

    def check(self) -> None:
        """Find the problems, and the keys."""
        settings = _plain(self._composed({}).config)["sweep"]
        keys = [f"sweep.{key}" for key in key_paths(settings)]
        spec = validate(SweepSpec, settings, "sweep", keys, self.problems)
        self.problems += spec.problems() if spec else ()
        try:
            space = read_space(settings["params"], self._arguments, self._is_group)
        except UserError as error:
            self.problems += error.problems
            return
        space = SearchSpace(tuple(self._without_missing_choices(space)), space.fixed)
        self._spec, self._fixed = spec, list(space.fixed.values())
        if not space.parameters and not self.problems:
            remedy = "For example: 'algo.learning_rate=tag(log,interval(1e-4,1e-2))'."
            self.problems.append(Problem("sweep.params", "nothing", "something to search", remedy))
        if spec and is_grid(spec):
            self.problems += grid_problems(space)
        for chosen in self._combinations(space):
            self._check_values(chosen, spec)

    def _without_missing_choices(self, space: SearchSpace) -> Iterator[Parameter]:
        """Return the parameters, without the choices of a group that do not exist."""
        for parameter in space.parameters:
            options = group_choices(self._loader, parameter.key.partition("@")[0])
            domain = parameter.domain
            if not options or not isinstance(domain, Choice):
                yield parameter
                continue
            missing = [value for value in domain.values if value not in (*options, None, "null")]
            for name in missing:
                self.problems.append(unknown_choice(parameter.key, str(name), options))
            existing = tuple(value for value in domain.values if value not in missing)
            if existing:
                yield replace(parameter, domain=Choice(existing))

    def _combinations(self, space: SearchSpace) -> Iterator[Chosen]:
        """Yield each combination of groups, with the other parameters at their first value."""
        groups = [parameter for parameter in space.parameters if self._is_group(parameter.key)]
        choices = itertools.product(*(group.domain.to_check for group in groups))
        combinations = [
            dict(zip(groups, values, strict=True))
            for values in itertools.islice(choices, MAX_COMBINATIONS)
        ]
        # A key that no composition has is put into all, for the spec to refuse.
        searched = {parameter.key for parameter in space.parameters}
        for decided in combinations if searched - self.known else ():
            self._composed({group.key: value for group, value in decided.items()})
        unknown = dict.fromkeys(key for key in searched - self.known if not self._is_group(key))

        def config(chosen: Mapping[str, Value]) -> ComposedKeys:
            return self._composed(chosen).with_chosen({**unknown, **chosen})

        seen = set()
        first = {parameter: parameter.domain.to_check[0] for parameter in space.parameters}
        for decided in combinations:
            chosen = space.assign({**first, **decided}.__getitem__, config)
            # A group that another choice leaves out makes no combination of its own.
            key = tuple((group.name, chosen.get(group)) for group in groups)
            if key not in seen:
                seen.add(key)
                yield chosen

    def _composed(self, chosen: Mapping[str, Value]) -> ComposedKeys:
        composed = self._compositions(chosen)
        self.known |= composed.config_keys
        return composed

    def _check_values(self, first: Chosen, spec: SweepSpec | None) -> None:
        """Check a combination of groups, then each value of the other parameters in it."""
        by_key = {parameter.key: value for parameter, value in first.items()}
        config = self._compositions(by_key).config
        run = self._validate_run(config, first, {})
        if spec is not None and run is not None:
            self.problems += objective_problems(spec, run)
        for parameter in first:
            if not self._is_group(parameter.key):
                for value in parameter.domain.to_check[1:]:
                    self._validate_run(config, first, {parameter: value})

    def _validate_run(self, config: DictConfig, first: Chosen, varied: Chosen) -> RunSpec | None:
        """Return the run of these values; None where it has problems, which are added."""
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from omegaconf import OmegaConf

        parser = OverridesParser.create()
        changed = config.copy()
        OmegaConf.set_struct(changed, False)
        for parameter, value in {**first, **varied}.items():
            if not self._is_group(parameter.key):
                parsed = parser.parse_override(f"{parameter.key}={override_value(value)}").value()
                OmegaConf.update(changed, parameter.key, parsed, force_add=True)
        plain = _plain(changed)
        plain.pop("sweep")
        try:
            if GROUP in plain:
                typed = {p.key: value for p, value in {**first, **varied}.items()}
                self._check_pipeline(typed, not varied)
                return None
            return RunSpec.parse(plain, sorted(self.known))
        except UserError as error:
            typed = {parameter.key: value for parameter, value in (varied or first).items()}
            shown = " ".join(f"{key}={override_value(value)}" for key, value in typed.items())
            seen = {(problem.key, problem.got, problem.want) for problem in self.problems}
            for problem in error.problems:
                if (problem.key, problem.got, problem.want) not in seen:
                    remedy = f"{problem.remedy} (In {shown}.)".strip()
                    self.problems.append(replace(problem, remedy=remedy))
            return None

    def _check_pipeline(self, chosen: Mapping[str, Value], with_objectives: bool) -> None:
        """Check the pipeline of a trial. Raises `UserError` for what is wrong with its stages."""
        words = [*self._fixed, *(f"{key}={override_value(v)}" for key, v in chosen.items())]
        spec = self._spec if with_objectives else None
        for run, objective in check_pipeline(words, spec, self._search_path):
            self.problems += objective_problems(objective, run)


def group_test(loader: ConfigLoader) -> Callable[[str], bool]:
    """Return whether keys are groups of the config, cached since Hydra takes a while to say so."""
    return cache(lambda key: bool(loader.get_group_options(key.partition("@")[0])))


def objective_problems(spec: SweepSpec, run: RunSpec) -> Iterator[Problem]:
    """Return objectives that the run does not measure, and pruning that has nothing to go by."""
    evaluated = [f"eval/{name}" for name in applying(run)]
    known = [*evaluated, *(f"perf/{name}" for name in COSTS)]
    for name in spec.objectives:
        if name.startswith(f"eval/{BENCHMARK}") and run.eval.benchmarks.tasks:
            continue  # which metrics a task has is known once it has run
        if name not in known and not name.startswith("eval/reward_"):
            near = get_close_matches(name, known, n=1)
            remedy = f"Did you mean {near[0]}?" if near else ""
            yield Problem("sweep.objective", name, f"one of {', '.join(known)}", remedy)
    if not spec.prunes:
        return
    steps, every = run.train.max_steps, run.eval.every
    if spec.objectives[0].startswith(AT_THE_END):
        remedy = "Choose sweep/pruner=none."
        want = "a metric of the evaluations, for a pruner to go by"
        yield Problem("sweep.objective", spec.objectives[0], want, remedy)
    elif not 0 < every < steps:
        want = f"a number of steps below train.max_steps={steps}, for the pruner to go by"
        remedy = f"For example eval.every={max(1, steps // 4)}; or choose sweep/pruner=none."
        yield Problem("eval.every", str(every), want, remedy)


def _plain(config: DictConfig) -> dict[str, Any]:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportReturnType]
