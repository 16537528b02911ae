"""A weighted sum of rewards, each of them a named term that can be added or changed by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rlexp.spec.components import component_class
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import RewardSpec, Scores, Text
from rlexp.spec.validation import validate


class Mix(RewardSpec):
    """Sum of weight x term; in the range that the terms and their weights give.

    A term is a reward's own config and a `weight`. An empty completion scores the weighted sum of
    what its terms say.

    >>> words = {"_target_": "rlexp.rewards.length.Length", "name": "length", "target": 2,
    ...          "width": 4, "unit": "words", "shape": "triangular", "weight": 0.5}
    >>> again = {"_target_": "rlexp.rewards.repetition.Repetition", "name": "repetition",
    ...          "ngram": 1, "weight": 2.0}
    >>> Mix(name="mix", terms={"short": words, "fresh": again}).score(["Say"], ["so so"], {})
    Scores(total=[-0.5], terms={'short': [1.0], 'fresh': [-0.5]})
    """

    terms: dict[str, dict[str, Any]]
    """The rewards by the names that metrics call them by, each with its weight."""

    def problems(self) -> list[Problem]:
        return self._resolved[1]

    def prepare(self, device: Any, local_folder: Any) -> None:
        """Prepare each term."""
        for name, term in self._resolved[0].items():
            with _told_as(name):
                term.prepare(device, local_folder)

    def sources(self) -> list[Path]:
        terms = self._resolved[0].values()
        return [*super().sources(), *(path for term in terms for path in term.sources())]

    def columns(self) -> set[str]:
        return set().union(*(term.columns() for term in self._resolved[0].values()))

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: list[Any]
    ) -> list[float]:
        return self.score(prompts, completions, columns).total

    def score(
        self, prompts: list[Text], completions: list[Text], columns: dict[str, list[Any]]
    ) -> Scores:
        """Total, and each term before its weight.

        Raises:
            UserError: the terms have `problems`, or a term finds one in the data.
        """
        terms, problems = self._resolved
        if problems:
            raise UserError(problems)
        values: dict[str, list[float]] = {}
        for name, term in terms.items():
            with _told_as(name):
                values[name] = term(prompts, completions, **columns)
        weights = [self.terms[name]["weight"] for name in values]
        total = [
            math.fsum(weight * value for weight, value in zip(weights, row, strict=True))
            for row in zip(*values.values(), strict=True)
        ]
        return Scores(total=total, terms=values)

    @cached_property
    def _resolved(self) -> tuple[dict[str, RewardSpec], list[Problem]]:
        problems: list[Problem] = []
        terms = {name: _term(name, config, problems) for name, config in self.terms.items()}
        weights = [config.get("weight") for config in self.terms.values()]
        if not any(weights):
            want = "at least one term with a weight that is not 0"
            remedy = "Add one: +reward@reward.terms.length=length +reward.terms.length.weight=1"
            problems.append(Problem("reward.terms", ", ".join(self.terms) or "none", want, remedy))
        return {name: term for name, term in terms.items() if term is not None}, problems


def _term(name: str, config: dict[str, Any], problems: list[Problem]) -> RewardSpec | None:
    key = f"reward.terms.{name}"
    if not name.replace("_", "").replace("-", "").isalnum():
        want = "a name of letters, digits, - and _, to be the name of a metric"
        problems.append(Problem(key, repr(name), want))
    weight = config.get("weight")
    if isinstance(weight, bool) or not (isinstance(weight, int | float) and math.isfinite(weight)):
        got = "nothing" if weight is None else repr(weight)
        remedy = f"Set +{key}.weight=1" if weight is None else f"Set {key}.weight=1"
        problems.append(Problem(f"{key}.weight", got, "a finite number", remedy))
    try:
        kind = component_class(config, RewardSpec, key)
    except UserError as error:
        problems += error.problems
        return None
    if issubclass(kind, Mix) or not kind.scores_anything:
        problems.append(Problem(key, kind.__name__, "a single reward", "Name its terms here."))
        return None
    fields = {
        field: value for field, value in config.items() if field not in ("_target_", "weight")
    }
    known = [f"{key}.{field}" for field in ("weight", *kind.model_fields)]
    term = validate(kind, fields, key, known, problems)
    if term is not None:
        problems += [_within(name, problem) for problem in term.problems()]
    return term


@contextmanager
def _told_as(name: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(_within(name, problem) for problem in error.problems) from error


def _within(name: str, problem: Problem) -> Problem:
    """A term's problem under the term's own key: it believes itself to be `reward`."""
    key = f"reward.terms.{name}"
    return replace(
        problem,
        key=problem.key.replace("reward", key, 1),
        remedy=problem.remedy.replace("reward.", f"{key}."),
    )
