"""The check of a sweep before its first trial: what no trial of it could be.

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
from typing import Any

from rlexp.evaluation.metrics import applying
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_paths
from rlexp.spec.run import RunSpec
from rlexp.spec.sweep import COSTS, SweepSpec
from rlexp.spec.validation import unknown_key, validate
from rlexp.sweep.space.composed_keys import ComposedKeys, CompositionCache
from rlexp.sweep.space.space import Choice, Parameter, SearchSpace, Value, override_value
from rlexp.sweep.space.syntax import read_space

MAX_COMBINATIONS = 64
"""Of groups that are looked at; more would take seconds."""

Chosen = dict[Parameter, Value]
Compose = Callable[[list[str]], tuple[Any, Mapping[str, Any]]]


class SweepCheck:
    """What a command that searches comes to.

    Args:
        loader: Hydra's config loader.
        compose: the config and its groups' choices, from overrides of groups.
        arguments: all of the command's overrides that are not Hydra's own.

    Attributes:
        problems: what is wrong.
        known: every key that one of the sweep's configs has.
    """

    def __init__(self, loader: Any, compose: Compose, arguments: Sequence[str]) -> None:
        self._loader, self._arguments = loader, arguments
        self._is_group = group_test(loader)
        self._compositions = CompositionCache(compose, self._is_group)
        self.problems: list[Problem] = []
        self.known: set[str] = set()

    def check(self) -> None:
        """Find the problems, and the keys."""
        base = self._compositions({})
        self.known |= base.keys_there
        spec = self._spec(base)
        try:
            params = _plain(base.config)["sweep"]["params"]
            space = read_space(params, self._arguments, self._is_group)
        except UserError as error:
            self.problems += error.problems
            return
        space = SearchSpace(tuple(self._with_choices_that_exist(space)), space.fixed)
        if not space.parameters and not self.problems:
            remedy = "For example: 'algo.learning_rate=tag(log,interval(1e-4,1e-2))'."
            self.problems.append(Problem("sweep.params", "nothing", "something to search", remedy))
        for chosen in self._combinations(space):
            self._try_values(space, chosen, spec)

    def _spec(self, base: ComposedKeys) -> SweepSpec | None:
        found = _plain(base.config)["sweep"]
        known = [f"sweep.{key}" for key in key_paths(found)]
        spec = validate(SweepSpec, found, "sweep", known, self.problems)
        if spec is not None:
            self.problems += spec.problems()
        return spec

    def _with_choices_that_exist(self, space: SearchSpace) -> Iterator[Parameter]:
        for parameter in space.parameters:
            options = self._loader.get_group_options(parameter.key.partition("@")[0])
            domain = parameter.domain
            if not options or not isinstance(domain, Choice):
                yield parameter
                continue
            missing = [each for each in domain.values if each not in (*options, None, "null")]
            for name in missing:
                near = get_close_matches(str(name), options, n=1)
                remedy = f"Did you mean {parameter.key}={near[0]}?" if near else ""
                want = f"one of {', '.join(options)}"
                self.problems.append(Problem(parameter.key, str(name), want, remedy))
            left = tuple(each for each in domain.values if each not in missing)
            if left:
                yield replace(parameter, domain=Choice(left))

    def _combinations(self, space: SearchSpace) -> Iterator[Chosen]:
        """Each combination of groups, with the other parameters at their first value."""
        groups = [each for each in space.parameters if self._is_group(each.key)]
        seen = set()
        choices = [each.domain.to_check for each in groups]
        for values in itertools.islice(itertools.product(*choices), MAX_COMBINATIONS):
            first = dict(zip(groups, values, strict=True))
            chosen = self._assigned(space, first)
            key = tuple((each.name, chosen.get(each)) for each in groups)
            if key not in seen:
                seen.add(key)
                yield chosen

    def _assigned(self, space: SearchSpace, decided: Chosen) -> Chosen:
        def suggest(parameter: Parameter) -> Value:
            return decided.get(parameter, parameter.domain.to_check[0])

        composed = self._composed(space)
        return space.assign(suggest, composed)

    def _composed(self, space: SearchSpace) -> Callable[[Mapping[str, Value]], ComposedKeys]:
        """The compositions; a key that none has is taken to be in all, for the spec to judge."""
        searched = {each.key for each in space.parameters}

        def compose(chosen: Mapping[str, Value]) -> ComposedKeys:
            found = self._compositions(chosen)
            self.known |= found.keys_there
            return found

        everywhere = searched - self.known
        if everywhere:
            for values in itertools.islice(self._group_values(space), MAX_COMBINATIONS):
                compose(values)
            everywhere = searched - self.known
        everywhere = {key for key in everywhere if not self._is_group(key)}

        def with_unknown(chosen: Mapping[str, Value]) -> ComposedKeys:
            found = compose(chosen)
            return found.with_chosen({**dict.fromkeys(everywhere), **chosen})

        return with_unknown

    def _group_values(self, space: SearchSpace) -> Iterator[dict[str, Value]]:
        groups = [each for each in space.parameters if self._is_group(each.key)]
        for values in itertools.product(*(each.domain.to_check for each in groups)):
            yield {each.key: value for each, value in zip(groups, values, strict=True)}

    def _try_values(self, space: SearchSpace, first: Chosen, spec: SweepSpec | None) -> None:
        config = self._compositions({each.key: value for each, value in first.items()}).config
        run = self._judged(config, first, {})
        if spec is not None and run is not None:
            self.problems += objective_problems(spec, run)
        for parameter in first:
            if not self._is_group(parameter.key):
                for value in parameter.domain.to_check[1:]:
                    self._judged(config, first, {parameter: value})

    def _judged(self, config: Any, first: Chosen, varied: Chosen) -> RunSpec | None:
        """The run of these values; None after telling what is wrong with it."""
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from omegaconf import OmegaConf

        values = {
            each: value
            for each, value in {**first, **varied}.items()
            if not self._is_group(each.key)
        }
        parser = OverridesParser.create()
        changed = config.copy()
        OmegaConf.set_struct(changed, False)
        for parameter, value in values.items():
            parsed = parser.parse_override(f"{parameter.key}={override_value(value)}").value()
            OmegaConf.update(changed, parameter.key, parsed, force_add=True)
        plain = _plain(changed)
        plain.pop("sweep")
        known = sorted(self.known)
        try:
            return RunSpec.parse(plain, known)
        except UserError as error:
            shown = " ".join(
                f"{each.key}={override_value(value)}" for each, value in (varied or first).items()
            )
            seen = {(each.key, each.got, each.want) for each in self.problems}
            for problem in error.problems:
                if (problem.key, problem.got, problem.want) not in seen:
                    remedy = f"{problem.remedy} (In {shown}.)".strip()
                    self.problems.append(replace(problem, remedy=remedy))
            return None


def group_test(loader: Any) -> Callable[[str], bool]:
    """Whether a key is one of the config's groups; Hydra takes a while to say so."""
    return cache(lambda key: bool(loader.get_group_options(key.partition("@")[0])))


def objective_problems(spec: SweepSpec, run: RunSpec) -> Iterator[Problem]:
    """Objectives that the run does not measure; pruning that has nothing to go by."""
    evaluated = [f"eval/{name}" for name in applying(run)]
    known = [*evaluated, *(f"perf/{name}" for name in COSTS)]
    for name in spec.objectives:
        if name not in known and not name.startswith("eval/reward_"):
            near = get_close_matches(name, known, n=1)
            remedy = f"Did you mean {near[0]}?" if near else ""
            yield Problem("sweep.objective", name, f"one of {', '.join(known)}", remedy)
    if not spec.prunes:
        return
    steps, every = run.train.max_steps, run.eval.every
    if spec.objectives[0].startswith(("perf/", "eval/judge_")):
        remedy = "Choose sweep/pruner=none."
        want = "a metric of the evaluations, for a pruner to go by"
        yield Problem("sweep.objective", spec.objectives[0], want, remedy)
    elif not 0 < every < steps:
        want = f"a number of steps below train.max_steps={steps}, for the pruner to go by"
        remedy = f"For example eval.every={max(1, steps // 4)}; or choose sweep/pruner=none."
        yield Problem("eval.every", str(every), want, remedy)


def unknown_settings(keys: Sequence[str], known: Sequence[str]) -> list[Problem]:
    """Keys below `sweep` that were typed and that no yaml has."""
    return [unknown_key(key, known) for key in keys if key not in known]


def _plain(config: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportReturnType]
