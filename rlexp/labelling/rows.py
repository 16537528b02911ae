"""Rows to train on, from items and what was said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean

from rlexp.data.parsing.conversations import plain_text
from rlexp.data.parsing.values import Row
from rlexp.labelling.items import Item, value_counts
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.labelling import ImportSpec, RowFormat, Shape
from rlexp.spec.text import Text

MIDDLE = 0.5
"""Between a no, 0, and a yes, 1."""


@dataclass
class FeedbackRows:
    """What the judgements become."""

    format: RowFormat
    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Items, or pairs of answers, that became no row, by reason."""


def rows_of(items: Sequence[Item], shape: Shape, spec: ImportSpec) -> FeedbackRows:
    """Return the rows of an export's items.

    Raises:
        UserError: the config asks for rows that such judgements cannot become.
    """
    made = FeedbackRows(_format(items, shape, spec))
    if shape == "pairs":
        for item in items:
            made.rows += _rows_of_pair(item, spec, made.left_out)
        return made
    by_prompt: dict[bytes, list[_Scored]] = {}
    for item in items:
        for key, scored in _scored(item, spec, made.left_out):
            by_prompt.setdefault(key, []).append(scored)
    for answers in by_prompt.values():
        made.rows += _MAKERS[made.format](answers, spec, made.left_out)
    return made


@dataclass(frozen=True)
class _Scored:
    """An answer with its score: one person's, or the mean of several."""

    prompt: Text | None
    answer: Text
    score: float
    votes: int
    extra: Row


def _format(items: Sequence[Item], shape: Shape, spec: ImportSpec) -> RowFormat:
    """Return what the rows are. Raises UserError where the config does not go with the data."""
    problems: list[Problem] = []
    if shape == "pairs":
        if spec.rows not in (None, "pairs"):
            problems.append(
                Problem("rows", spec.rows, "pairs, which judgements of two answers are")
            )
        if spec.threshold is not None:
            remedy = "Leave threshold away."
            problems.append(
                Problem("threshold", f"{spec.threshold:g}", "null: pairs have no score", remedy)
            )
        if problems:
            raise UserError(problems)
        return "pairs"
    if spec.min_agreement:
        got = f"{spec.min_agreement:g}"
        remedy = "min_votes=2 asks for several ratings, margin for clear differences."
        problems.append(Problem("min_agreement", got, "0: ratings have no winner", remedy))
    values = set(value_counts(items))
    yes_no = values <= {0.0, 1.0}
    prompts = Counter(item.prompt_key for item in items if item.prompt is not None)
    several = any(count > 1 for count in prompts.values())
    format: RowFormat = spec.rows or ("pairs" if several and not yes_no else "labelled")
    if format != "labelled" and not several:
        want = "rows=labelled: no prompt has two answers to compare"
        problems.append(Problem("rows", format, want, "Type rows=labelled threshold=SCORE."))
    elif format == "labelled" and spec.threshold is None and not yes_no:
        low, high = min(values), max(values)
        want = "the mean score from which an answer is good"
        remedy = (
            f"Scores go from {low:g} to {high:g}: threshold={(low + high) / 2:g} takes the middle."
        )
        problems.append(Problem("threshold", "null", want, remedy))
    if spec.votes == "each" and format != "labelled":
        unknown = sum(vote.annotator is None for item in items for vote in item.votes)
        if unknown:
            got = f"each, and {unknown} verdicts without an annotator"
            remedy = "Set columns.annotator=NAME, or votes=majority."
            problems.append(Problem("votes", got, "to know whose scores go together", remedy))
    if problems:
        raise UserError(problems)
    return format


def _rows_of_pair(item: Item, spec: ImportSpec, left_out: Counter[str]) -> Iterator[Row]:
    values = [vote.value for vote in item.votes]
    if (reason := _too_few(values, spec)) is not None:
        left_out[reason] += 1
        return
    counts = Counter(values)
    for group in [[value] for value in values] if spec.votes == "each" else [values]:
        (winner, most), *others = Counter(group).most_common()
        split = bool(others) and others[0][1] == most
        share = counts[winner] / len(values)
        if (split or not winner) and spec.ties == "drop":
            left_out["no side has most votes" if split else "tie"] += 1
        elif split or not winner:
            for better, worse in (item.answers, item.answers[::-1]):
                yield _pair(item, better, worse, len(values), MIDDLE)
        elif share < spec.min_agreement:
            left_out[f"under {spec.min_agreement:g} of the votes agree (min_agreement)"] += 1
        else:
            better, worse = item.answers if winner > 0 else item.answers[::-1]
            yield _pair(item, better, worse, len(values), round(share, 3))


def _pair(item: Item, better: Text, worse: Text, votes: int, agreement: float) -> Row:
    texts = {"prompt": item.prompt, "chosen": better, "rejected": worse}
    return {**item.extra, **texts, "votes": votes, "agreement": agreement}


def _too_few(values: Sequence[float], spec: ImportSpec) -> str | None:
    if not values:
        return "nothing but contradictions"
    if len(values) < spec.min_votes:
        return f"fewer than {spec.min_votes} votes (min_votes)"
    return None


def _scored(
    item: Item, spec: ImportSpec, left_out: Counter[str]
) -> Iterator[tuple[bytes, _Scored]]:
    """Yield an answer's scores, each with what it may be compared to: a prompt's, or a person's."""
    values = [vote.value for vote in item.votes]
    if (reason := _too_few(values, spec)) is not None:
        left_out[reason] += 1
        return
    (answer,) = item.answers
    if spec.votes == "majority":
        score = _Scored(item.prompt, answer, fmean(values), len(values), item.extra)
        yield item.prompt_key, score
        return
    for vote in item.votes:
        key = item.prompt_key + b"\0" + (vote.annotator or "").encode()
        yield key, _Scored(item.prompt, answer, vote.value, 1, item.extra)


def _scored_pairs(
    answers: Sequence[_Scored], spec: ImportSpec, left_out: Counter[str]
) -> Iterator[Row]:
    """Yield each two answers whose scores differ by more than the margin (Ouyang et al. 2022)."""
    if len(answers) < 2:
        left_out["the only answer to its prompt"] += 1
    for one, other in combinations(answers, 2):
        better, worse = (one, other) if one.score > other.score else (other, one)
        tie = better.score - worse.score <= spec.margin
        if tie and spec.ties == "drop":
            left_out["tie: scores that differ by no more than margin"] += 1
            continue
        for chosen, rejected in ((better, worse), (worse, better))[: 2 if tie else 1]:
            yield {
                **chosen.extra,
                "prompt": chosen.prompt,
                "chosen": chosen.answer,
                "rejected": rejected.answer,
                "votes": min(chosen.votes, rejected.votes),
                "margin": round(chosen.score - rejected.score, 6),
            }


def _completions(
    answers: Sequence[_Scored], spec: ImportSpec, left_out: Counter[str]
) -> Iterator[Row]:
    """Yield one row with all answers to a prompt, as `rlexp.data.parsing.scored_answers` reads."""
    if len({answer.score for answer in answers}) < 2:
        left_out["prompts whose answers do not differ in their scores"] += 1
        return
    scored = [
        {"text": plain_text(answer.answer), "score": answer.score, "votes": answer.votes}
        for answer in answers
    ]
    yield {**answers[0].extra, "prompt": answers[0].prompt, "completions": scored}


def _labelled(
    answers: Sequence[_Scored], spec: ImportSpec, left_out: Counter[str]
) -> Iterator[Row]:
    threshold = MIDDLE if spec.threshold is None else spec.threshold
    for answer in answers:
        if spec.threshold is None and answer.score == MIDDLE:
            left_out["as many yes as no"] += 1
            continue
        texts = {"prompt": answer.prompt, "completion": answer.answer}
        yield {
            **answer.extra,
            **(texts if answer.prompt is not None else {"text": answer.answer}),
            "label": answer.score >= threshold,
            "score": answer.score,
            "votes": answer.votes,
        }


_MAKERS = {"pairs": _scored_pairs, "completions": _completions, "labelled": _labelled}
