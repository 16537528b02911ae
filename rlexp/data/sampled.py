"""Preference pairs sampled from the policy and ranked by a reward, for data that holds none.

Of the completions of a prompt the best and the worst become a pair (best-of-n against worst-of-n,
as in Yuan et al. 2024, arXiv:2401.10020). Completions that were cut at the length limit take no
part: the end token is appended to both answers when they are trained on, which would teach the
policy to stop in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from rlexp.data.dialogues import assistant_turn
from rlexp.data.rows import Row
from rlexp.spec.errors import RunFailed
from rlexp.spec.policy import Completion
from rlexp.spec.reward import Text

Complete = Callable[[Sequence[Text]], list[list[Completion]]]
Score = Callable[[list[Text], list[Text], dict[str, list[Any]]], list[float]]


def sample_pairs(rows: list[Row], complete: Complete, score: Score) -> tuple[list[Row], str]:
    """One pair a prompt, and a note that says how many there are and how good.

    Args:
        rows: framed prompt rows.
        complete: samples the answers to each of n prompts.
        score: the reward of each of m answers, given m prompts, and m values of each column.

    Returns:
        Rows with `chosen` and `rejected` added, messages where the prompt is messages.

    Raises:
        RunFailed: no prompt had two ended answers with different rewards.
    """
    groups = complete([row["prompt"] for row in rows])
    ended = [[each.text for each in group if each.ended] for group in groups]
    asked = [row for row, texts in zip(rows, ended, strict=True) for _ in texts]
    texts = chain.from_iterable(ended)
    answers = [_answer(row["prompt"], text) for row, text in zip(asked, texts, strict=True)]
    columns = {name: [row[name] for row in asked] for name in rows[0] if name != "prompt"}
    scores = score([row["prompt"] for row in asked], answers, columns) if asked else []

    pairs, best, worst = [], [], []
    few = ties = start = 0
    for row, group_texts in zip(rows, ended, strict=True):
        group = range(start, start := start + len(group_texts))
        if len(group) < 2:
            few += 1
            continue
        high, low = (pick(group, key=scores.__getitem__) for pick in (max, min))
        if not scores[high] > scores[low]:
            ties += 1
            continue
        pairs.append({**row, "chosen": answers[high], "rejected": answers[low]})
        best.append(scores[high])
        worst.append(scores[low])
    missing = f"fewer than two ended answers: {few}; equal rewards only: {ties}"
    if not pairs:
        raise RunFailed(
            f"no preference pair came of {len(rows)} prompts: {missing}",
            "answers are cut at the length limit, or the reward does not tell them apart",
            "Raise data.max_completion_length, algo.pairs.completions or algo.pairs.temperature.",
        )
    mean = f"mean reward {fmean(best):.3f} chosen, {fmean(worst):.3f} rejected"
    return pairs, f"{len(pairs)} pairs sampled from {len(rows)} prompts ({missing}); {mean}"


def _answer(prompt: Text, text: str) -> Text:
    return text if isinstance(prompt, str) else assistant_turn(text)
