"""Reading a data set, splitting it, and making its rows into what an algorithm needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from rlexp.data.derived.kinds import derive, drop_answers
from rlexp.data.derived.split import (
    canonical_json,
    held_out_note,
    overlap_note,
    sample_fraction,
    shuffle_key,
    split,
)
from rlexp.data.parsing.conversations import plain_text
from rlexp.data.parsing.values import Row
from rlexp.data.prompt_templates import text_of_prompt
from rlexp.spec.data import DERIVABLE, DataSpec, Kind, Rows
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.text import Text


@dataclass(frozen=True)
class Splits:
    """A data set, read and split; prompts are not framed yet."""

    kind: Kind
    """What `train` holds: what was needed, or prompts where pairs must be sampled first."""
    train: list[Row]
    heldout: list[Row]
    """Prompt rows: prompt, opening where there is one, and columns for rewards. Their order is that
    of a shuffle, always the same one: any first so many are a fair sample."""
    references: list[Text | None]
    """A good answer to each of `heldout`: the completion, unless its label is false, or the chosen
    answer; None where the data has none."""
    heldout_pairs: list[Row]
    """The held-out rows that are pairs, with their answers and in the same order; else none."""
    heldout_labelled: list[Row]
    """The same where the answers are labelled."""
    heldout_demonstrations: list[Row]
    """The same where they are demonstrations."""
    corpus: Callable[[], list[str]] = field(compare=False, repr=False)
    """The training texts, as `texts` has the held-out ones; where the data has prompts only, these:
    what a new model's tokenizer is trained on."""
    texts: list[str]
    """Held-out texts for perplexity, in the order of `heldout`: prompt and completion, or prompt
    and chosen answer, whatever the algorithm needs. Empty where the data has prompts only."""
    source: str
    digest: str
    """Of all rows, before `max_rows`: 32 hex digits of SHA-256."""
    notes: list[str]
    """What was done to the rows, in words for the card."""
    places: Mapping[int, str] = field(default_factory=dict, compare=False, repr=False)
    """Where the rows stand, by `id` of their prompts: what is made of a row keeps its prompt."""

    def place_of(self, row: Row) -> str:
        """Return where a row stands, as `file:line`; the source's name where that is not known."""
        return self.places.get(id(row["prompt"]), self.source)


def load_data(data: DataSpec, needs: Kind) -> Splits:
    """Read and split a data set, and make its training rows into what an algorithm needs.

    Raises:
        UserError: rows that cannot be read, split or made into `needs`.
    """
    kind, rows = data.kind(), data.read()
    if not rows.train:
        raise UserError(Problem("data", f"{rows.source}, without usable rows", "rows", *rows.notes))
    # the digest covers what was read: it stays the same whatever a run takes of it
    digest = _digest(rows)
    # split
    train, heldout = rows.train, rows.heldout
    if heldout is None:
        train, heldout = split(rows.train, data.eval_fraction, rows.source)
    if not heldout:
        raise UserError(Problem("data", f"{rows.source}: no held-out rows", "at least one"))
    heldout = sorted(heldout, key=shuffle_key)
    warnings = [
        held_out_note(train, heldout, rows.heldout is None),
        overlap_note(train, heldout) if rows.heldout is not None else None,
    ]
    # derive: pairs that the data cannot give are sampled from the policy later, from prompts
    pairs_are_sampled = needs == "pairs" and kind != "pairs" and kind not in DERIVABLE[needs]
    train_kind: Kind = "prompts" if pairs_are_sampled else needs
    source_rows = sample_fraction(train, data.max_rows)
    train, notes = derive(source_rows, kind, train_kind, rows.source)
    if train_kind == "unpaired":
        _check_both_labels(train, rows.source)
    return Splits(
        kind=train_kind,
        train=train,
        heldout=drop_answers(heldout),
        references=[_good_answer(row) for row in heldout],
        heldout_pairs=[row for row in heldout if "chosen" in row],
        heldout_labelled=heldout if kind == "unpaired" else [],
        heldout_demonstrations=heldout if kind == "demonstrations" else [],
        corpus=lambda: [_full_text(row, data) or plain_text(row["prompt"]) for row in source_rows],
        texts=[text for row in heldout if (text := _full_text(row, data)) is not None],
        source=rows.source,
        digest=digest,
        notes=[*rows.notes, *notes, *(warning for warning in warnings if warning)],
        places=_places(rows),
    )


def _places(rows: Rows) -> dict[int, str]:
    placed = [*zip(rows.train, rows.places, strict=False)]
    placed += zip(rows.heldout or (), rows.heldout_places, strict=False)
    return {id(row["prompt"]): place for row, place in placed}


def _good_answer(row: Row) -> Text | None:
    return row.get("completion", row.get("chosen")) if row.get("label", True) else None


def _digest(rows: Rows) -> str:
    """Return the digest of all that the source says, each thing once."""
    sides = [
        [{name: row[name] for name in row if name not in rows.repeated} for row in side]
        if side is not None
        else None
        for side in (rows.train, rows.heldout)
    ]
    return sha256(canonical_json(sides)).hexdigest()[:32]


def _full_text(row: Row, data: DataSpec) -> str | None:
    """Return the row's text; None where it has no answer.

    Of a text that was cut it is the original, else prompt and good answer as a text model sees
    them, of a conversation what was said.
    """
    answer = row.get("completion", row.get("chosen"))
    if answer is None:
        return None
    if not isinstance(row["prompt"], str):
        return plain_text(row["prompt"] + answer)
    return row.get("opening", text_of_prompt(row, data)) + answer


def _check_both_labels(rows: list[Row], source: str) -> None:
    labels = {row["label"] for row in rows}
    if len(labels) == 1:
        got = f"{source}: all {len(rows)} labels are {str(labels.pop()).lower()}"
        remedy = "Add rows of the other label, or say what labels mean with data.labels."
        raise UserError(Problem("data", got, "labels true and false", remedy))
