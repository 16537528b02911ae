"""What an import finds before anything is trained: counts, agreement, habits, contradictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rlexp.labelling.agreement import Agreement, Level
from rlexp.labelling.annotators import (
    Lean,
    Profile,
    agreements,
    annotator_names,
    lean,
    profiles,
    went_to_first,
    went_to_longer,
)
from rlexp.labelling.items import (
    Collected,
    Contradiction,
    by_annotator,
    preference_circles,
    value_counts,
)
from rlexp.labelling.reading import Feedback
from rlexp.labelling.rows import FeedbackRows
from rlexp.labelling.words import SIDES
from rlexp.spec.labelling import ImportSpec, RowFormat, Shape


@dataclass(frozen=True)
class FeedbackReport:
    """All that is said of an export."""

    source: str
    shape: Shape
    lines: int
    judgements: int
    """Those that count, before repeated and contradictory ones are taken out."""
    items: int
    """Different pairs, or different answers, that were judged."""
    prompts: int
    votes_per_item: dict[int, int]
    """Number of verdicts -> items that have so many."""
    left_out: dict[str, int]
    """Judgements that do not count, by reason."""
    verdicts: dict[str, int]
    """Verdict, as the item's answers stand -> how often it was given."""
    level: Level
    """Of measurement: what the warnings look at."""
    agreement: list[Agreement]
    annotators: list[Profile]
    leans: dict[str, Lean]
    repeated: list[str]
    contradictions: list[Contradiction]
    contradictions_rule: Literal["drop", "last"]
    """Which of contradictory verdicts count: none, or the last."""
    circles: list[list[str]]
    """Of what most say; the place of a judgement for each step."""
    own_circles: dict[str, int]
    """Annotator -> prompts on which that annotator alone goes in a circle."""
    unanimous: int
    """Pairs with two votes or more that all say the same, which is no tie."""
    format: RowFormat
    rows: int
    no_rows: dict[str, int]
    """Items, or pairs of answers, that became no row, by reason."""
    notes: list[str]

    @property
    def alpha(self) -> Agreement:
        """Krippendorff's alpha at the level that the verdicts have."""
        return next(a for a in self.agreement if a.measure == f"Krippendorff's alpha, {self.level}")

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def examine_feedback(
    source: str, feedback: Feedback, collected: Collected, made: FeedbackRows, spec: ImportSpec
) -> FeedbackReport:
    """Return what there is to say of an export.

    Args:
        source: what it is called.
        feedback: as it was read.
        collected: its items; at least one has a vote.
        made: the rows they became.
        spec: how both were done.
    """
    items, shape = [item for item in collected.items if item.votes], feedback.layout.shape
    measures, level = agreements(items, shape, spec.bootstrap, spec.seed)
    names = annotator_names(items)
    pairs, own = (items, by_annotator(items)) if shape == "pairs" else ((), {})
    own_circles = {name: len(preference_circles(judged)) for name, judged in own.items()}
    sides = {"shown first": went_to_first, "longer": went_to_longer} if shape == "pairs" else {}
    leans = {name: lean(items, side, spec.bootstrap, spec.seed) for name, side in sides.items()}
    return FeedbackReport(
        source=source,
        shape=shape,
        lines=feedback.lines,
        judgements=len(feedback.judgements),
        items=len(collected.items),
        prompts=len({item.prompt_key for item in items if item.prompt is not None}),
        votes_per_item=dict(sorted(Counter(len(item.votes) for item in items).items())),
        left_out=dict(feedback.left_out),
        verdicts=_verdicts(value_counts(items), shape),
        level=level,
        agreement=measures,
        annotators=profiles(items, shape, level, spec.bootstrap, spec.seed),
        leans={name: there for name, there in leans.items() if there is not None},
        repeated=collected.repeated,
        contradictions=collected.contradictions,
        contradictions_rule=spec.contradictions,
        circles=preference_circles(pairs),
        own_circles={name: count for name, count in own_circles.items() if count},
        unanimous=sum(
            len(item.votes) > 1 and {vote.value for vote in item.votes} in ({1.0}, {-1.0})
            for item in items
        ),
        format=made.format,
        rows=len(made.rows),
        no_rows=dict(made.left_out),
        notes=_notes(feedback, names),
    )


def _verdicts(counts: Counter[float], shape: Shape) -> dict[str, int]:
    if shape == "pairs":
        return {side: counts[value] for side, value in SIDES.items()}
    return {f"{value:g}": counts[value] for value in sorted(counts)}


def _notes(feedback: Feedback, names: Sequence[str]) -> list[str]:
    """Return what was taken for granted."""
    notes = [feedback.layout.note] if feedback.layout.note else []
    meanings = [
        f"{' or '.join(f'{word} ({count})' for word, count in words.items())} → {meaning}"
        for meaning, words in feedback.words.items()
    ]
    if meanings:
        notes.append(f"taken to mean: {'; '.join(meanings)}. labels.WORD=… says otherwise")
    unknown = sum(judgement.annotator is None for judgement in feedback.judgements)
    if unknown and not names:
        notes.append(
            "nobody knows who judged: each verdict counts as another person's, and what single "
            "people do is not known. columns.annotator=NAME says it"
        )
    elif unknown:
        notes.append(f"verdicts without an annotator, each counted as somebody else's: {unknown}")
    return notes
