"""Tokens of prompts, answers and both: what is too long, counted in one place.

A prompt over `data.max_prompt_length` is left out, an answer over `algo.max_length` cut; a row of
which nothing is left to learn is left out, and what the model has no positions for is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rlexp.data.rendering.examples import TrainingExample
from rlexp.spec.errors import Problem
from rlexp.spec.rows import rows_are_sampled
from rlexp.spec.run import RunSpec

MAX_LENGTH, MAX_PROMPT = "algo.max_length", "data.max_prompt_length"


@dataclass
class Lengths:
    """Tokens of rows, and which of them are too long.

    Attributes:
        prompts: tokens of each prompt, those that are too long too.
        answers, wholes: of each sequence of prompt and answer, before cutting.
        over_prompt: numbers of rows whose prompt is too long.
        vanished: numbers of rows of which nothing is left to learn.
        cut: numbers of rows that lose the end of an answer.
    """

    prompts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    wholes: list[int] = field(default_factory=list)
    over_prompt: list[int] = field(default_factory=list)
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
        if self.over_prompt:
            first = place_of(self.over_prompt[0])
            notes.append(f"{over_prompt_note(len(self.over_prompt), spec)}, the first at {first}")
        limit = spec.algo.longest_example
        remedy = f"{MAX_LENGTH}={max(self.wholes, default=0)} keeps all"
        for rows, done in (
            (self.vanished, f"rows lose an answer to {MAX_LENGTH}={limit} and were left out"),
            (self.cut, f"rows lose the end of an answer to {MAX_LENGTH}={limit}"),
        ):
            if rows:
                notes.append(f"{len(rows)} {done}, the first at {place_of(rows[0])}; {remedy}")
        return notes


def over_prompt_note(dropped: int, spec: RunSpec) -> str:
    """Return how many prompts were over the limit, in words for the card."""
    limit = spec.data.max_prompt_length
    return f"{dropped} prompts longer than {limit} tokens were left out"


def no_prompt_left(lengths: Sequence[int], spec: RunSpec) -> list[Problem]:
    """Return the problem of prompts that are all over the limit.

    Args:
        lengths: tokens of each prompt.
        spec: the run.
    """
    limit = spec.data.max_prompt_length
    if not lengths or min(lengths) <= limit:
        return []
    got = f"{limit} tokens; the shortest prompt has {min(lengths)}"
    remedy = f"Set {MAX_PROMPT}={max(lengths)}: the longest has so many."
    return [Problem(MAX_PROMPT, got, "a limit that some prompts pass", remedy)]


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
        lengths: of training rows and held-out prompts.
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
    prompts = [length for length in lengths.prompts if length <= spec.data.max_prompt_length]
    return [*problems, *_sampling_problems(spec, positions, prompts)]


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
        problems.append(Problem(key, got, want, _shorter(key, positions, length, prompts)))
    return problems


def _shorter(key: str, positions: int, length: int, prompts: Sequence[int]) -> str:
    """Return lengths that fit: of the two the one is changed that is the longer."""
    longest, shortest = max(prompts), min(prompts)
    if longest <= positions // 2:
        return f"Set {key}={positions - longest}."
    if length <= positions // 2 and shortest + length <= positions:
        return f"Set {MAX_PROMPT}={positions - length}: longer prompts are left out."
    limit = max(positions // 2, shortest)
    if limit >= positions:
        return f"Choose a model with more positions: the shortest prompt has {shortest} tokens."
    return f"Set {MAX_PROMPT}={limit} and {key}={positions - limit}."
