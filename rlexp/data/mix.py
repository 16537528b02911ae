"""Several data sets as one: each read by its own config, and with its own share of the training.

A source's share of the rows that an optimizer step learns from is its weight over the sum of the
weights at that step, whatever the number of its rows: those of a small source come more often, as
in the temperature-scaled mixtures of Raffel et al. 2020 (arXiv:1910.10683, section 3.5.2) with the
rates given. `rlexp.curriculum` draws the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from rlexp.data.derived.merged import source_column_taken
from rlexp.spec.components import component_of
from rlexp.spec.data import SOURCE, DataSource, DataSpec, Kind, source_key
from rlexp.spec.errors import Problem, Problems, UserError
from rlexp.spec.schedule import Weight, read_weight, share_problems

REMEDY = "Add one: +data@data.sources.chat=hh_rlhf +data.sources.chat.weight=1"
RICHNESS: tuple[Kind, ...] = ("pairs", "unpaired", "demonstrations", "prompts")
"""Kinds of rows; each can be made from those before it."""


class DataMix(DataSpec):
    """Several data sets, of which a training gets shares by weight.

    A source is a data set's own config and a `weight`: a number, or a schedule over the optimizer
    steps as a list of [step, weight] or as {from: …, to: …, steps: …}. Its wording of prompts, its
    limit of their length, its split and its `max_rows` hold for its rows. A source whose weight is
    0 at every step is evaluated and not trained on.
    """

    sources: dict[str, dict[str, Any]]
    """The data sets by the names that metrics and slices call them by, each with its weight."""

    def problems(self) -> Problems:
        return self._resolved[1]

    def code_files(self) -> list[Path]:
        sources = (source for source, _ in self._resolved[0].values())
        return [
            *super().code_files(),
            *(file for source in sources for file in source.code_files()),
        ]

    def sources_by_name(self) -> dict[str, DataSource]:
        return {name: source for name, (source, _) in self._checked().items()}

    def weights(self) -> dict[str, Weight]:
        return {name: weight for name, (_, weight) in self._checked().items()}

    def name_of(self, row: Mapping[str, Any]) -> str:
        return row[SOURCE]

    def kind(self) -> Kind:
        """Return the richest kind that the rows of every source are of, or can be made into."""
        places = [RICHNESS.index(source.kind()) for source in self.sources_by_name().values()]
        return RICHNESS[max(places)]

    def _checked(self) -> dict[str, tuple[DataSource, Weight]]:
        sources, problems = self._resolved
        if problems:
            raise UserError(problems)
        return sources

    def _length_problems(self, sources: Mapping[str, tuple[DataSource, Weight]]) -> Problems:
        """Return the problem of completions that are cut shorter than sources ask for."""
        key, limit = "max_completion_length", self.max_completion_length
        lengths = {name: source.max_completion_length for name, (source, _) in sources.items()}
        longer = [name for name, length in lengths.items() if length > limit]
        if not longer:
            return []
        most = max(lengths.values())
        want = f"at least {most}, for {', '.join(longer)}: there is one for all sources"
        shorter = " ".join(f"{source_key(name)}.{key}={limit}" for name in longer)
        remedy = f"Set data.{key}={most}, or {shorter}"
        return [Problem(f"data.{key}", str(limit), want, remedy)]

    @cached_property
    def _resolved(self) -> tuple[dict[str, tuple[DataSource, Weight]], Problems]:
        problems: Problems = []
        sources: dict[str, tuple[DataSource, Weight]] = {}
        for name, config in self.sources.items():
            given = config.get("weight") if isinstance(config, dict) else None
            weight = read_weight(given, f"{source_key(name)}.weight", problems)
            source = _read_source(name, config, problems)
            if source is not None and weight is not None:
                sources[name] = source, weight
        if not self.sources:
            problems.append(Problem("data.sources", "none", "at least one data set", REMEDY))
        problems += self._length_problems(sources)
        if not problems:
            weights = {name: weight for name, (_, weight) in sources.items()}
            problems += share_problems(weights, "data.sources", "weight")
        return sources, problems


def _read_source(name: str, config: Any, problems: Problems) -> DataSource | None:
    """Return a source; None after adding to `problems` what is wrong with it."""

    def refused(kind: type[DataSpec]) -> Problem | None:
        if issubclass(kind, DataSource):
            return None
        return Problem(key, kind.__name__, "a single data set", "Name its sources here.")

    key = source_key(name)
    if not name.replace("_", "").replace("-", "").isalnum():
        want = "a name of letters, digits, - and _, to be part of a metric's name"
        problems.append(Problem(key, repr(name), want))
    problems_before = len(problems)
    if isinstance(config, dict):
        config = {field: value for field, value in config.items() if field != "weight"}
    source = component_of(config, DataSpec, key, [f"{key}.weight"], problems, refused)
    if not isinstance(source, DataSource) or len(problems) > problems_before:
        return None
    columns = source.extra_columns() or set()
    problems += [source_column_taken(name, columns)] if SOURCE in columns else []
    return source
