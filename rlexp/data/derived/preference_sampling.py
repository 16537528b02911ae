"""Rows sampled from the policy and scored by a reward, for data that holds none of the kind.

Of the completions of a prompt the best and the worst become a pair (best-of-n against worst-of-n,
as in Yuan et al. 2024, arXiv:2401.10020); or each is labelled good if it is above their mean, and
bad if below. The end token is appended to answers when they are trained on, which for a completion
that was cut at the length limit would teach the policy to stop in the middle: such completions take
part only where a prompt has not two others, and then up to the end of their last full sentence.
Answers that the reward gives no value take no part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from rlexp.data.parsing.conversations import assistant_turn
from rlexp.data.parsing.values import Row
from rlexp.spec.data import Kind
from rlexp.spec.errors import RunFailed
from rlexp.spec.policy import Completion
from rlexp.spec.reward import DataColumns, Text, Value

Complete = Callable[[Sequence[Text]], list[list[Completion]]]
Score = Callable[[list[Text], list[Text], DataColumns], Sequence[Value]]

_SENTENCES = re.compile(r".*(?:[.!?][\"')\]]*(?=\s|$)|[。！？])", re.DOTALL)


@dataclass(frozen=True)
class ScoredAnswers:
    """The answers to one prompt, and the reward of each."""

    row: Row
    answers: list[Text]
    scores: list[float]


def sample_rows(
    kind: Kind, rows: list[Row], complete: Complete, score: Score
) -> tuple[list[Row], str]:
    """Return rows of a kind, and a note that says how many there are and how good.

    Args:
        kind: `pairs` or `unpaired`.
        rows: framed prompt rows.
        complete: samples the answers to each of n prompts.
        score: the reward of each of m answers, given m prompts, and m values of each column; None
            where it cannot tell.

    Returns:
        The rows with `chosen` and `rejected` added, or one for each answer with `completion` and
        `label`; answers are messages where the prompt is messages.

    Raises:
        RunFailed: no prompt had two answers with different rewards.
    """
    make = {"pairs": _pairs, "unpaired": _labelled}[kind]
    completions = complete([row["prompt"] for row in rows])
    texts = [_usable(group) for group in completions]
    groups = _scored(rows, texts, score)
    differing = [group for group in groups if len(set(group.scores)) > 1]
    few = sum(len(group.answers) < 2 for group in groups)
    ties = len(groups) - len(differing) - few
    missing = f"fewer than two answers: {few}; equal rewards only: {ties}"
    if without_reward := sum(map(len, texts)) - sum(len(group.answers) for group in groups):
        missing += f"; answers without a reward: {without_reward}"
    if not differing:
        raise RunFailed(
            f"no row of {kind} came of {len(rows)} prompts: {missing}",
            "answers are cut at the length limit before their first sentence ends, or the reward "
            "does not tell them apart",
            "Raise data.max_completion_length, or completions or temperature of "
            "algo.pairs (algo.samples).",
        )
    sampled, quality = make(differing)
    ended = sum(completion.ended for group in completions for completion in group)
    if (cut := sum(map(len, texts)) - ended) > 0:
        quality += f"; {cut} answers were cut at the limit and end with their last full sentence"
    return sampled, f"{len(sampled)} {kind} sampled from {len(rows)} prompts ({missing}); {quality}"


def _usable(group: list[Completion]) -> list[str]:
    """Return the texts of the answers that ended, or of all up to their last full sentence."""
    ended = [completion.text for completion in group if completion.ended]
    if len(ended) > 1:
        return ended
    complete = (
        completion.text if completion.ended else _full_sentences(completion.text)
        for completion in group
    )
    return [text for text in complete if text]


def _full_sentences(text: str) -> str:
    match = _SENTENCES.match(text)
    return match.group() if match else ""


def _scored(rows: list[Row], usable: list[list[str]], score: Score) -> list[ScoredAnswers]:
    # all answers in one call, each with its row
    repeated = [row for row, texts in zip(rows, usable, strict=True) for _ in texts]
    texts = chain.from_iterable(usable)
    answers = [_as_answer(row["prompt"], text) for row, text in zip(repeated, texts, strict=True)]
    columns = {name: [row[name] for row in repeated] for name in rows[0] if name != "prompt"}
    scores = score([row["prompt"] for row in repeated], answers, columns) if repeated else []
    # and back to the prompts
    scored, start = [], 0
    for row, group in zip(rows, usable, strict=True):
        end = start + len(group)
        pairs = zip(answers[start:end], scores[start:end], strict=True)
        known = [(answer, score) for answer, score in pairs if score is not None]
        scored.append(
            ScoredAnswers(row, [answer for answer, _ in known], [score for _, score in known])
        )
        start = end
    return scored


def _pairs(groups: list[ScoredAnswers]) -> tuple[list[Row], str]:
    pairs, best, worst = [], [], []
    for group in groups:
        high, low = (pick(group.scores) for pick in (max, min))
        chosen, rejected = (group.answers[group.scores.index(score)] for score in (high, low))
        pairs.append({**group.row, "chosen": chosen, "rejected": rejected})
        best.append(high)
        worst.append(low)
    return pairs, f"mean reward {fmean(best):.3f} chosen, {fmean(worst):.3f} rejected"


def _labelled(groups: list[ScoredAnswers]) -> tuple[list[Row], str]:
    rows: list[Row] = []
    by_label: dict[bool, list[float]] = {True: [], False: []}
    for group in groups:
        mean = fmean(group.scores)
        for answer, score in zip(group.answers, group.scores, strict=True):
            if score != mean:
                by_label[score > mean].append(score)
                rows.append({**group.row, "completion": answer, "label": score > mean})
    good, bad = by_label[True], by_label[False]
    return rows, (
        f"{len(good)} good, mean reward {fmean(good):.3f}; {len(bad)} bad, {fmean(bad):.3f}"
    )


def _as_answer(prompt: Text, text: str) -> Text:
    return text if isinstance(prompt, str) else assistant_turn(text)
