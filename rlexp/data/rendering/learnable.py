"""Training rows of which something is left to learn when they are cut to the algorithm's length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from rlexp.data.parsing.records import Row
from rlexp.data.rendering.encoding import ChatTokenizer, Rendered, Renderer
from rlexp.data.rendering.examples import Cut, TrainingExample, examples_of
from rlexp.data.rendering.lengths import Lengths, nothing_to_learn
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.errors import UserError
from rlexp.spec.run import RunSpec

ANSWERS = ("completion", "chosen", "rejected")
TOKENS_AROUND = 8
"""More tokens than stand around a text, its end token among them."""


def keep_learnable(
    rows: list[Row], spec: RunSpec, tokenizer: ChatTokenizer, place_of: Callable[[int], str]
) -> tuple[list[Row], list[str]]:
    """Return the training rows of which something is left to learn, and what is said of the others.

    Args:
        rows: framed, as the algorithm needs them.
        spec: the run.
        tokenizer: the policy's.
        place_of: where a row stands, by its number.

    Raises:
        UserError: no row is left.
    """
    cut, renderer = cut_of(spec.algo), Renderer(tokenizer)
    numbers = _countable(rows, cut, renderer)
    outcomes = examples_of([rows[n] for n in numbers], spec.algo.row_format, renderer, cut)
    examples = [
        replace(outcome, number=numbers[outcome.number])
        for outcome in outcomes
        if isinstance(outcome, TrainingExample)
    ]
    if len(examples) == len(rows) and (problems := nothing_to_learn(examples, spec)):
        raise UserError(problems)
    lengths = Lengths()
    lengths.add(examples)
    left_out = set(lengths.vanished)
    kept = [row for number, row in enumerate(rows) if number not in left_out]
    return kept, lengths.notes(spec, place_of)


def cut_of(algo: AlgoSpec) -> Cut:
    """Return where an algorithm's trainer cuts sequences, and what it learns of them."""
    keeps_end = algo.trl.get("truncation_mode") == "keep_end"
    packed = getattr(algo, "packing", False)
    learns_prompt = not getattr(algo, "completion_only_loss", True)
    return Cut(None if packed else algo.longest_example, keeps_end, learns_prompt)


def _countable(rows: list[Row], cut: Cut, renderer: Renderer) -> list[int]:
    """Return the numbers of rows that may be too long: others need no count of their tokens.

    A token of a text has a byte at least; what a template adds is counted once for each order of
    roles.
    """
    if cut.max_length is None:
        return []
    added: dict[tuple[str, ...], float] = {}
    return [
        number
        for number, row in enumerate(rows)
        if _most_tokens(row, added, renderer) > cut.max_length
    ]


def _most_tokens(row: Row, added: dict[tuple[str, ...], float], renderer: Renderer) -> float:
    """Return a number of tokens that prompt and longest answer do not exceed."""
    answers = [row[column] for column in ANSWERS if column in row]
    if isinstance(row["prompt"], str):
        return len(row["prompt"].encode()) + max(len(a.encode()) for a in answers) + TOKENS_AROUND
    most = 0.0
    for answer in answers:
        turns = [*row["prompt"], *answer]
        if any(turn.keys() - {"role", "content"} for turn in turns):
            return inf
        roles = tuple(turn["role"] for turn in turns)
        if roles not in added:
            empty = [{"role": role, "content": ""} for role in roles]
            (rendered,) = renderer.render([empty], generation_prompt=True)
            added[roles] = len(rendered.ids) if isinstance(rendered, Rendered) else inf
        contents = sum(len(turn["content"].encode()) for turn in turns)
        most = max(most, contents + added[roles] + TOKENS_AROUND)
    return most
