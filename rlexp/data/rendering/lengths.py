"""Tokens of prompts, answers and both: what is too long, counted in one place.

A prompt over the `max_prompt_length` of its data set is left out, an answer over `algo.max_length`
cut; a row of which nothing is left to learn is left out, and what the model has no positions for is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlexp.data.rendering.examples import TrainingExample
from rlexp.spec.data import DataSpec, source_key
from rlexp.spec.errors import Problem
from rlexp.spec.rows import rows_are_sampled
from rlexp.spec.run import RunSpec

MAX_LENGTH = "algo.max_length"


@dataclass
class Lengths:
    """Tokens of rows, and which of them are too long.

    Attributes:
        prompts: tokens of each prompt, those that are too long too.
        answers, wholes: of each sequence of prompt and answer, before cutting.
        over_prompt: numbers of rows whose prompt is too long, by the name of their source.
        vanished: numbers of rows of which nothing is left to learn.
        cut: numbers of rows that lose the end of an answer.
    """

    prompts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    wholes: list[int] = field(default_factory=list)
    over_prompt: dict[str, list[int]] = field(default_factory=dict)
    vanished: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)

    def add(self, examples: Iterable[TrainingExample]) -> None:
        """Count examples whose prompts are within their limit."""
        for example in examples:
            for sequence in example.sequences:
                if sequence.column != "prompt":
                    self.answers.append(sequence.answer_length)
                    self.wholes.append(sequence.whole)
            if not example.kept:
                self.vanished.append(example.number)
            elif any(sequence.is_cut for sequence in example.sequences):
                self.cut.append(example.number)

    def notes(self, spec: RunSpec, place_of: Callable[[int], str]) -> list[str]:
        """Return what is left out and cut, in words for the card.

        Args:
            spec: the run.
            place_of: where a row stands, by its number.
        """
        notes = []
        for name, rows in self.over_prompt.items():
            note = over_prompt_note(len(rows), name, spec.data)
            notes.append(f"{note}, the first at {place_of(rows[0])}")
        limit = spec.algo.longest_example
        remedy = f"{MAX_LENGTH}={max(self.wholes, default=0)} keeps all"
        for rows, done in (
            (self.vanished, f"rows lose an answer to {MAX_LENGTH}={limit} and were left out"),
            (self.cut, f"rows lose the end of an answer to {MAX_LENGTH}={limit}"),
        ):
            if rows:
                notes.append(f"{len(rows)} {done}, the first at {place_of(rows[0])}; {remedy}")
        return notes


def is_over_limit(length: int, row: Mapping[str, Any], data: DataSpec) -> bool:
    """Return whether a prompt of so many tokens is too long for the data set that its row is of."""
    return length > data.source_of(row).max_prompt_length


def over_prompt_note(dropped: int, name: str, data: DataSpec) -> str:
    """Return how many prompts of a data set were over its limit, in words for the card."""
    limit = data.sources_by_name()[name].max_prompt_length
    of_source = f" of {name}" if name else ""
    return f"{dropped} prompts{of_source} longer than {limit} tokens were left out"


def no_prompt_left(
    lengths: Sequence[int], rows: Sequence[Mapping[str, Any]], data: DataSpec
) -> list[Problem]:
    """Return the problem of each data set whose prompts are all over its limit.

    Args:
        lengths: (n,) tokens of each prompt.
        rows: (n,) of each prompt.
        data: the data set, or the mix.
    """
    by_source: dict[str, list[int]] = {}
    for length, row in zip(lengths, rows, strict=True):
        by_source.setdefault(data.name_of(row), []).append(length)
    problems = []
    for name, of_source in by_source.items():
        key, limit = prompt_key(name), data.sources_by_name()[name].max_prompt_length
        if min(of_source) > limit:
            got = f"{limit} tokens; the shortest prompt has {min(of_source)}"
            remedy = f"Set {key}={max(of_source)}: the longest has so many."
            problems.append(Problem(key, got, "a limit that some prompts pass", remedy))
    return problems


def prompt_key(name: str) -> str:
    """Return the full path of the limit of a data set's prompts, by its name in a mix."""
    return f"{source_key(name)}.max_prompt_length"


def nothing_to_learn(examples: Sequence[TrainingExample], spec: RunSpec) -> list[Problem]:
    """Return the problem of a limit that leaves nothing of any answer.

    Args:
        examples: all that there are.
        spec: the run.
    """
    if not examples or any(example.kept for example in examples):
        return []
    starts = [sequence.start for example in examples for sequence in example.sequences]
    wholes = [max(sequence.whole for sequence in example.sequences) for example in examples]
    limit = spec.algo.longest_example
    if spec.algo.row_format == "scored_pairs":
        got = f"{limit}, which leaves out all {len(examples)} pairs"
        want = f"at least {min(wholes)}, the tokens of the shortest pair's longer text"
    else:
        got = f"{limit}, which cuts off all {len(examples)} answers"
        want = f"more than the shortest prompt's {min(starts)} tokens"
    remedy = f"Set {MAX_LENGTH}={max(wholes)}: the longest row has so many tokens."
    return [Problem(MAX_LENGTH, got, want, remedy)]


def position_problems(spec: RunSpec, positions: int | None, lengths: Lengths) -> list[Problem]:
    """Return what is longer than the model has positions for.

    Args:
        spec: the run.
        positions: of the model; None where it has no limit.
        lengths: of training rows, and of prompts within their limits.
    """
    if positions is None:
        return []
    problems = []
    longest = max(lengths.wholes, default=0)
    read = min(longest, spec.algo.longest_example or longest)
    if read > positions:
        got = f"{spec.algo.longest_example}; the longest row has {longest} tokens"
        want = f"at most the model's {positions} positions"
        problems.append(Problem(MAX_LENGTH, got, want, f"Set {MAX_LENGTH}={positions}."))
    return [*problems, *_sampling_problems(spec, positions, lengths.prompts)]


def _sampling_problems(spec: RunSpec, positions: int, prompts: Sequence[int]) -> list[Problem]:
    writes = spec.algo.model_kind.writes or rows_are_sampled(spec.algo, spec.data)
    if not writes or not prompts:
        return []
    sampled = {"data.max_completion_length": spec.data.max_completion_length}
    own = getattr(spec.algo, "max_completion_length", None)
    if own is not None and own != spec.data.max_completion_length:
        sampled["algo.max_completion_length"] = own
    problems = []
    for key, length in sampled.items():
        longest = max(prompts)
        if longest + length <= positions:
            continue
        got = f"{length} tokens behind prompts of up to {longest}: {longest + length}"
        want = f"at most the model's {positions} positions for both"
        keys = [prompt_key(name) for name in spec.data.sources_by_name()]
        remedy = _shorter(key, positions, length, prompts, keys)
        problems.append(Problem(key, got, want, remedy))
    return problems


def _shorter(
    key: str, positions: int, length: int, prompts: Sequence[int], prompt_keys: Sequence[str]
) -> str:
    """Return lengths that fit: of the two the one is changed that is the longer."""

    def prompts_of(limit: int) -> str:
        return " ".join(f"{key}={limit}" for key in prompt_keys)

    longest, shortest = max(prompts), min(prompts)
    if longest <= positions // 2:
        return f"Set {key}={positions - longest}."
    if length <= positions // 2 and shortest + length <= positions:
        return f"Set {prompts_of(positions - length)}: longer prompts are left out."
    limit = max(positions // 2, shortest)
    if limit >= positions:
        return f"Choose a model with more positions: the shortest prompt has {shortest} tokens."
    return f"Set {prompts_of(limit)} and {key}={positions - limit}."
