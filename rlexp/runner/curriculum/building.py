"""The curriculum of a run, made of its spec and its training rows. Every process makes the same."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from rlexp.curriculum.batches import ALL, Curriculum
from rlexp.curriculum.column import column_values
from rlexp.curriculum.pace import pacer_of
from rlexp.spec.curriculum import RowMeasures
from rlexp.spec.data import SOURCE
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.run import RunSpec
from rlexp.spec.schedule import Weight, mean_shares

Rows = list[dict[str, Any]]


def build_curriculum(
    spec: RunSpec, rows: Rows, measures: RowMeasures
) -> tuple[Rows, Curriculum | None, list[str]]:
    """Return the rows that are drawn from, how they are, and what is to be said of it.

    The curriculum is None where the trainer's own order stays.

    Args:
        spec: the run's.
        rows: as the algorithm trains on them.
        measures: what may be asked of policy and reward.

    Raises:
        UserError: rows that cannot be ordered or weighted as the spec says.
    """
    weights = source_weights(spec)
    if not spec.curriculum.draws and not weights:
        return rows, None, []
    notes: list[str] = []
    kept = _looked_at(rows, spec)
    difficulty = spec.curriculum.difficulty(kept, measures)
    if difficulty is not None:
        known = [(value, row) for value, row in zip(difficulty, kept, strict=True)]
        known = [(value, row) for value, row in known if value is not None]
        # rows that are as hard as each other come in an order of the seed's
        random.Random(spec.seed).shuffle(known)
        known.sort(key=lambda pair: pair[0])
        kept = [row for _, row in known]
    if len(kept) < len(rows):
        notes.append(
            f"curriculum={spec.curriculum.name}: draws from {len(kept)} of {len(rows)} rows"
        )
    pace = spec.curriculum.opening
    pacer = None if pace is None else pacer_of(pace, spec.train.max_steps)
    sources = _sources(spec, kept, weights)
    notes += _shares_of_training(spec, sources, weights) if weights else []
    return kept, Curriculum(spec.seed, sources, weights, pacer), notes


def source_weights(spec: RunSpec) -> dict[str, Weight]:
    """Return the weights of the values of a column: the curriculum's, or those of the data."""
    of_data = {name: weight for name, weight in spec.data.weights().items() if name}
    return spec.curriculum.shares() or of_data


def check_curriculum_rows(spec: RunSpec, rows: Rows) -> None:
    """Look at the data's rows before anything is loaded.

    Raises:
        UserError: rows that cannot be ordered or weighted as the spec says.
    """
    spec.curriculum.check_rows(rows)
    _sources(spec, rows, source_weights(spec))


def _shares_of_training(
    spec: RunSpec, sources: Mapping[str, Sequence[int]], weights: Mapping[str, Weight]
) -> list[str]:
    """Return of each weighted source its share of the training, and how often it goes round."""
    train, algo = spec.train, spec.algo
    # a batch counts answers where these come in groups of this size, and rows otherwise
    of_a_row = getattr(algo, "num_generations", 1) * getattr(algo, "num_iterations", 1)
    drawn = train.max_steps * train.batch_size / of_a_row
    shares = mean_shares({name: weights[name] for name in sources}, train.max_steps)
    return [
        f"{name}: {shares[name]:.1%} of what is trained on; "
        f"each of its {len(rows)} rows {drawn * shares[name] / len(rows):.2g} times"
        for name, rows in sources.items()
    ]


def _looked_at(rows: Rows, spec: RunSpec) -> Rows:
    most = spec.curriculum.most_rows
    if most is None or most >= len(rows):
        return rows
    places = random.Random(spec.seed).sample(range(len(rows)), most)
    return [rows[place] for place in sorted(places)]


def _sources(
    spec: RunSpec, rows: Rows, weights: Mapping[str, Weight]
) -> Mapping[str, Sequence[int]]:
    """Return the places of the rows of each weighted source, in their order."""
    if not weights:
        return {ALL: range(len(rows))}
    weighs = spec.curriculum.weighs
    column = (spec.curriculum.column_read if weighs else None) or SOURCE
    sources: dict[str, list[int]] = {name: [] for name in weights}
    for place, value in enumerate(column_values(rows, column, "curriculum.column")):
        sources.setdefault(str(value), []).append(place)
    key = "curriculum.weights" if spec.curriculum.shares() else "data.sources"
    without = [_without_rows(f"{key}.{name}", name, sources, weights) for name in weights]
    unknown = [
        Problem(key, f"no weight of {name!r}", "one for each value", f"Set +{key}.{name}=0.")
        for name in sources
        if name not in weights
    ]
    if problems := [problem for problem in [*without, *unknown] if problem is not None]:
        raise UserError(problems)
    return {name: places for name, places in sources.items() if places}


def _without_rows(
    key: str, name: str, sources: Mapping[str, Sequence[int]], weights: Mapping[str, Weight]
) -> Problem | None:
    """Return the problem of a weight above 0 of which there are no rows."""
    if sources[name] or not any(weight for _, weight in weights[name].points):
        return None
    near = get_close_matches(name, [other for other in sources if sources[other]], n=1)
    remedy = f"Did you mean {near[0]}?" if near else "Set its weight to 0."
    return Problem(key, "a weight of which there are no rows", "a value that rows have", remedy)
