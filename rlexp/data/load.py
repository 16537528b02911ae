"""Reading a data set, splitting it, and making its rows into what an algorithm needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import TypeVar

from rlexp.data.derived.kinds import derive, drop_answers
from rlexp.data.derived.merged import Sides, in_turn, mixed_sides
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
from rlexp.spec.data import DERIVABLE, SOURCE, DataSource, DataSpec, Kind, Rows, source_key
from rlexp.spec.errors import Problem, UserError, with_keys_under
from rlexp.spec.schedule import Weight
from rlexp.spec.text import Text

T = TypeVar("T")


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
    text_sources: list[str]
    """Of which source each of `texts` is; empty where the data is no mix."""
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


@dataclass
class _Part:
    """One data set, read and split; by itself, or one of a mix."""

    data: DataSource
    read: Rows
    train: list[Row]
    heldout: list[Row]
    """In the order of a shuffle."""
    warnings: list[str]
    """What is worth knowing of the split."""
    made: list[str] = field(default_factory=list)
    """How the training rows were made."""


def load_data(data: DataSpec, needs: Kind) -> Splits:
    """Read and split a data set, or each of a mix, and make its training rows into what an
    algorithm needs.

    The held-out rows of a mix are its sources' in turn: any first so many are as many of each, as
    far as these reach.

    Raises:
        UserError: rows that cannot be read, split or made into `needs`.
    """
    sources, kind = data.sources_by_name(), data.kind()
    parts = _of_each(sources, lambda name: _read_part(sources[name]))
    # the digest covers what was read: it stays the same whatever a run takes of it
    digest, label = _digest_of(parts), _label(parts)
    if mixed := bool(data.source_names):
        _mix(parts, data.weights())
    # derive: pairs that the data cannot give are sampled from the policy later, from prompts
    pairs_are_sampled = needs == "pairs" and kind != "pairs" and kind not in DERIVABLE[needs]
    train_kind: Kind = "prompts" if pairs_are_sampled else needs
    trained = {name: parts[name] for name, weight in data.weights().items() if weight.peak > 0}
    rows = {name: sample_fraction(p.train, p.data.max_rows) for name, p in trained.items()}
    derived = _of_each(trained, lambda name: _derived(trained[name], rows[name], train_kind))
    train = [*chain.from_iterable(derived.values())]
    if train_kind == "unpaired":
        _check_both_labels(train, label, source_key("NAME" if mixed else ""))
    heldout = in_turn(part.heldout for part in parts.values())
    one_kind = len({source.kind() for source in sources.values()}) == 1
    texts = [(row, _full_text(row, data.source_of(row))) for row in heldout]
    return Splits(
        kind=train_kind,
        train=train,
        heldout=drop_answers(heldout),
        references=[_good_answer(row) for row in heldout],
        heldout_pairs=[row for row in heldout if "chosen" in row],
        heldout_labelled=heldout if one_kind and kind == "unpaired" else [],
        heldout_demonstrations=heldout if one_kind and kind == "demonstrations" else [],
        corpus=lambda: [
            _full_text(row, trained[name].data) or plain_text(row["prompt"])
            for name in rows
            for row in rows[name]
        ],
        texts=[text for _, text in texts if text is not None],
        text_sources=[row[SOURCE] for row, text in texts if text is not None] if mixed else [],
        source=label,
        digest=digest,
        notes=[note for name in parts for note in _notes(name, parts[name])],
        places={key: place for part in parts.values() for key, place in _places(part.read).items()},
    )


def _of_each(names: Iterable[str], make: Callable[[str], T]) -> dict[str, T]:
    """Return what is made of each data set; raise the mistakes of all at once, by their keys."""
    made: dict[str, T] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            made[name] = make(name)
        except UserError as error:
            problems += [problem.under(source_key(name), "data") for problem in error.problems]
    if problems:
        raise UserError(problems)
    return made


def _read_part(data: DataSource) -> _Part:
    rows = data.read()
    if not rows.train:
        got = f"{rows.source}, without usable rows"
        raise UserError(Problem("data", got, "rows", "; ".join(rows.notes)))
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
    return _Part(data, rows, train, heldout, [warning for warning in warnings if warning])


def _mix(parts: dict[str, _Part], weights: Mapping[str, Weight]) -> None:
    sides, leaks = mixed_sides({name: Sides(p.train, p.heldout) for name, p in parts.items()})
    for name, part in parts.items():
        part.train, part.heldout = sides[name]
        if leaks[name]:
            what = "training rows were left out, whose prompts another source holds out"
            part.warnings.append(f"{what}: {leaks[name]}")
        if weights[name].peak == 0:
            part.made.append("evaluated and not trained on: its weight is 0 at every step")


def _derived(part: _Part, rows: list[Row], needs: Kind) -> list[Row]:
    derived, notes = derive(rows, part.data.kind(), needs, part.read.source)
    part.made += notes
    return derived


def _label(parts: Mapping[str, _Part]) -> str:
    """Return where the rows came from."""
    labels = (f"{name}: {part.read.source}" for name, part in parts.items())
    return "; ".join(labels).removeprefix(": ")


def _notes(name: str, part: _Part) -> list[str]:
    notes = [*part.read.notes, *part.made, *part.warnings]
    if not name:
        return notes
    return [f"{name}: {with_keys_under(source_key(name), 'data', note)}" for note in notes]


def _places(rows: Rows) -> dict[int, str]:
    placed = [*zip(rows.train, rows.places, strict=False)]
    placed += zip(rows.heldout or (), rows.heldout_places, strict=False)
    return {id(row["prompt"]): place for row, place in placed}


def _good_answer(row: Row) -> Text | None:
    return row.get("completion", row.get("chosen")) if row.get("label", True) else None


def _digest_of(parts: Mapping[str, _Part]) -> str:
    """Return the digest of a data set, or of a mix's by their names."""
    digests = {name: _digest(part.read) for name, part in parts.items()}
    return digests.get("") or sha256(canonical_json(digests)).hexdigest()[:32]


def _digest(rows: Rows) -> str:
    """Return the digest of all that the source says, each thing once."""
    sides = [
        [{name: row[name] for name in row if name not in rows.repeated} for row in side]
        if side is not None
        else None
        for side in (rows.train, rows.heldout)
    ]
    return sha256(canonical_json(sides)).hexdigest()[:32]


def _full_text(row: Row, data: DataSource) -> str | None:
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


def _check_both_labels(rows: list[Row], source: str, key: str) -> None:
    labels = {row["label"] for row in rows}
    if len(labels) == 1:
        got = f"{source}: all {len(rows)} labels are {str(labels.pop()).lower()}"
        remedy = f"Add rows of the other label, or say what labels mean with {key}.labels."
        raise UserError(Problem("data", got, "labels true and false", remedy))
