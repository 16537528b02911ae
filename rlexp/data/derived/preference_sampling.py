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
from dataclasses import dataclass, replace
from itertools import chain
from statistics import fmean

from rlexp.data.parsing.conversations import assistant_turn
from rlexp.data.parsing.values import Row
from rlexp.spec.data import Kind
from rlexp.spec.errors import RunFailed
from rlexp.spec.policy import Completion
from rlexp.spec.reward import TOKENS, DataColumns, Text, Value

Complete = Callable[[Sequence[Text]], list[list[Completion]]]
Score = Callable[[list[Text], list[Text], DataColumns], Sequence[Value]]

_SENTENCES = re.compile(r".*(?:[.!?][\"')\]]*(?=\s|$)|[。！？])", re.DOTALL)


@dataclass(frozen=True)
class ScoredAnswers:
    """The answers to one prompt that can be learnt from, and the reward of each."""

    row: Row
    completions: list[Completion]
    """Each with the text that counts: up to its last full sentence where it was cut."""
    scores: list[float]

    def answer(self, index: int) -> Text:
        """Return an answer as rows hold it: messages where the prompt is messages."""
        return _as_answer(self.row["prompt"], self.completions[index].text)

    def best(self) -> int:
        """Return the index of the answer that earns most; the first of several."""
        return self.scores.index(max(self.scores))

    def worst(self) -> int:
        """Return the index of the answer that earns least; the first of several."""
        return self.scores.index(min(self.scores))


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
    groups = score_answers(rows, completions, score)
    differing = [group for group in groups if len(set(group.scores)) > 1]
    missing = missing_answers(completions, groups)
    if not differing:
        raise RunFailed(
            f"no row of {kind} came of {len(rows)} prompts: {missing}",
            "answers are cut at the length limit before their first sentence ends, or the reward "
            "does not tell them apart",
            "Raise data.max_completion_length, or completions or temperature of "
            "algo.pairs (algo.samples).",
        )
    sampled, quality = make(differing)
    quality += cut_answers(groups)
    return sampled, f"{len(sampled)} {kind} sampled from {len(rows)} prompts ({missing}); {quality}"


def missing_answers(completions: list[list[Completion]], groups: list[ScoredAnswers]) -> str:
    """Return in words of how many prompts no pair can be made, and why."""
    few = sum(len(group.scores) < 2 for group in groups)
    ties = sum(len(group.scores) > 1 and len(set(group.scores)) == 1 for group in groups)
    missing = f"fewer than two answers: {few}; equal rewards only: {ties}"
    usable = sum(len(_usable(group)) for group in completions)
    if without_reward := usable - sum(len(group.scores) for group in groups):
        missing += f"; answers without a reward: {without_reward}"
    return missing


def cut_answers(groups: list[ScoredAnswers]) -> str:
    """Return in words how many answers were cut; nothing where none was."""
    cut = sum(not completion.ended for group in groups for completion in group.completions)
    if not cut:
        return ""
    return f"; {cut} answers were cut at the limit and end with their last full sentence"


def _usable(group: list[Completion]) -> list[Completion]:
    """Return the answers that ended, or all up to their last full sentence."""
    ended = [completion for completion in group if completion.ended]
    if len(ended) > 1:
        return ended
    complete = (
        completion
        if completion.ended
        else replace(completion, text=_full_sentences(completion.text))
        for completion in group
    )
    return [completion for completion in complete if completion.text]


def _full_sentences(text: str) -> str:
    match = _SENTENCES.match(text)
    return match.group() if match else ""


def score_answers(
    rows: list[Row], completions: list[list[Completion]], score: Score
) -> list[ScoredAnswers]:
    """Return the answers to each row's prompt that can be learnt from and have a reward.

    Args:
        rows: framed prompt rows.
        completions: the answers to each.
        score: as of `sample_rows`; it is called once, with all of them.
    """
    usable = [_usable(group) for group in completions]
    # all answers in one call, each with its row
    repeated = [row for row, group in zip(rows, usable, strict=True) for _ in group]
    answers = [
        _as_answer(row["prompt"], completion.text)
        for row, completion in zip(repeated, chain.from_iterable(usable), strict=True)
    ]
    names = dict.fromkeys(name for row in rows for name in row if name != "prompt")
    columns = {name: [row.get(name) for row in repeated] for name in names}
    # What was shortened has other tokens than were sampled, which the scorer then makes.
    sampled = chain.from_iterable(usable)
    columns[TOKENS] = [one.token_ids if one.ended else None for one in sampled]
    scores = score([row["prompt"] for row in repeated], answers, columns) if repeated else []
    # and back to the prompts
    scored, start = [], 0
    for row, group in zip(rows, usable, strict=True):
        end = start + len(group)
        known = [
            (completion, value)
            for completion, value in zip(group, scores[start:end], strict=True)
            if value is not None
        ]
        scored.append(ScoredAnswers(row, [one for one, _ in known], [value for _, value in known]))
        start = end
    return scored


def _pairs(groups: list[ScoredAnswers]) -> tuple[list[Row], str]:
    pairs, best, worst = [], [], []
    for group in groups:
        high, low = group.best(), group.worst()
        pairs.append({**group.row, "chosen": group.answer(high), "rejected": group.answer(low)})
        best.append(group.scores[high])
        worst.append(group.scores[low])
    return pairs, f"mean reward {fmean(best):.3f} chosen, {fmean(worst):.3f} rejected"


def _labelled(groups: list[ScoredAnswers]) -> tuple[list[Row], str]:
    rows: list[Row] = []
    by_label: dict[bool, list[float]] = {True: [], False: []}
    for group in groups:
        mean = fmean(group.scores)
        for index, score in enumerate(group.scores):
            if score != mean:
                by_label[score > mean].append(score)
                rows.append({**group.row, "completion": group.answer(index), "label": score > mean})
    good, bad = by_label[True], by_label[False]
    return rows, (
        f"{len(good)} good, mean reward {fmean(good):.3f}; {len(bad)} bad, {fmean(bad):.3f}"
    )


def _as_answer(prompt: Text, text: str) -> Text:
    return text if isinstance(prompt, str) else assistant_turn(text)
