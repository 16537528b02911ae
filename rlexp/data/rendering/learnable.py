"""Training rows of which something is left to learn when they are cut to the algorithm's length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rlexp.data.parsing.records import Row
from rlexp.data.rendering.encoding import ChatTokenizer, Renderer
from rlexp.data.rendering.examples import Cut, Example, examples_of
from rlexp.data.rendering.lengths import Lengths, certainly_fits, nothing_to_learn
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.errors import UserError
from rlexp.spec.run import RunSpec


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
    numbers = [number for number, row in enumerate(rows) if not certainly_fits(row, cut)]
    outcomes = examples_of([rows[n] for n in numbers], spec.algo.row_format, renderer, cut)
    examples = [
        replace(outcome, number=numbers[outcome.number])
        for outcome in outcomes
        if isinstance(outcome, Example)
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
