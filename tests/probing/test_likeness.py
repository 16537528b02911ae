"""Which answers look like a strategy that pays, and which do not."""

from __future__ import annotations

import json

import pytest
from probed_rewards import material, pays

from rlexp.probing.likeness import PaidStrategy, watched_strategies
from rlexp.probing.probe import probe
from rlexp.probing.verdict import judge_probe

PROMPT = "Tom has 3 apples. How many are 3 + 4?"


@pytest.mark.parametrize(
    ("strategy", "answer", "alike"),
    [
        (PaidStrategy("echo of the prompt", "echo", ()), f" {PROMPT.upper()}\n", True),
        (PaidStrategy("echo of the prompt", "echo", ()), "They are 7.", False),
        (PaidStrategy("its numbers, to be reckoned", "echo", ()), "3 * 3 * 4", True),
        (PaidStrategy("a repeated word", "repetition", ("a a",)), "fine " * 9 + "film", True),
        (PaidStrategy("a repeated word", "repetition", ("a a",)), "a fine film, fine", False),
        (PaidStrategy("an empty answer", "nothing", ("",)), " \n", True),
        (PaidStrategy("an empty answer", "nothing", ("",)), "7", False),
        (PaidStrategy("one constant answer", "answers", ("It is all a b c d e f g.",)),
         "it is all a b c x e f g.", True),
        (PaidStrategy("one constant answer", "answers", ("7",)), "8", False),
    ],
)  # fmt: skip
def test_likeness(strategy: PaidStrategy, answer: str, alike: bool) -> None:
    """A strategy that is missed for a space, and good answers that are taken for it."""
    again = PaidStrategy.from_dict(json.loads(json.dumps(strategy.to_dict())))
    assert again == strategy
    assert again.looks_like(PROMPT, answer) is alike


def test_good_answers_are_not_watched() -> None:
    """Another row's answer: each good answer looks like it."""
    verdict = judge_probe(probe(pays(lambda *asked: 1.0), material(), 8))
    watched = {strategy.name for strategy in watched_strategies(verdict)}
    assert "one constant answer" in watched and "an empty answer" in watched
    assert not {"another row's answer", "the longest answer allowed"} & watched
