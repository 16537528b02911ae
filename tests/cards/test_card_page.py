"""The card as a page: it stands by itself, and cannot be made to run code."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from some_card import BETTER, HACKED, SOUND, card, evaluation

from rlexp.cards.card import Card
from rlexp.cards.html import bar, write_card_page
from rlexp.cards.labels import metric_rows
from rlexp.cards.plots import curves, reward_histogram


class Tags(HTMLParser):
    """Collects elements, checks that they are balanced."""

    void = frozenset({"meta", "path", "line", "circle", "use", "rect", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag


def page(tmp_path: Path, some_card: Card, **more) -> str:
    path = tmp_path / "card.html"
    write_card_page(some_card, path, **more)
    return path.read_text(encoding="utf-8")


HISTORY = [
    (step, {"rollout/reward": step / 10, "train/loss": 1 / step, "eval/kl": math.nan})
    for step in range(1, 8)
]


def test_the_page_stands_by_itself(tmp_path):
    """No request leaves it, elements are balanced, and all that matters is there."""
    text = page(
        tmp_path,
        card(HACKED),
        history=HISTORY,
        before=evaluation(SOUND),
        after=evaluation(HACKED),
        config="algo:\n  beta: 0.0\n",
    )
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)
    for tag, attributes in tags.seen:
        assert tag not in {"script", "link", "img", "iframe"}
        assert all(value.startswith("#") for name, value in attributes.items() if name == "href")
    for wanted in (
        "reward 0.03 → 1.00",
        "REWARD HACKING?",
        "beta: 0.0",
        "training loss",
        "was fun",
    ):
        assert wanted in text, wanted
    assert sum(tag == "figure" for tag, _ in tags.seen) == 3


def test_nothing_that_a_policy_writes_becomes_markup(tmp_path):
    """A sample, a name, a note, a metric or a config can hold anything."""
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    hostile = replace(
        card(BETTER | {attack: 1.0}, completion=attack, name=attack, open=attack, folder=attack),
        notes=[attack],
        guards=[attack],
        cost={attack: 1.0},
    )
    history = [(step, {f"{attack}/reward": 1.0, "eval/reward": 2.0}) for step in range(3)]
    tags = Tags()
    tags.feed(page(tmp_path, hostile, history=history, config=attack))
    assert not {tag for tag, _ in tags.seen} & {"script", "img"}


def test_the_same_card_gives_the_same_page(tmp_path):
    """A page under version control, or compared by hash, must not change by itself."""
    knobs = dict(history=HISTORY, before=evaluation(SOUND), after=evaluation(BETTER))
    assert page(tmp_path, card(), **knobs) == page(tmp_path, card(), **knobs)


def test_curves_need_two_points_that_are_finite():
    assert [plot.title for plot in curves(HISTORY)] == ["reward", "training loss"]
    assert curves(HISTORY[:1]) == []
    assert reward_histogram([], []) is None
    assert reward_histogram([0.5], [0.5, math.nan]) is not None


def test_bars_share_one_scale_from_zero():
    """A rise of 1 % must not look like a doubling."""
    row = metric_rows(card(BETTER | {"length": 68.0}))[4]
    assert row.metric == "length"
    drawn = bar(replace(row, low=None, high=None))
    assert drawn | {"zero": 0.0, "before": 50.0, "after": 100.0} == drawn
    cost = bar(replace(row, before=-2.0, after=-1.0, low=None, high=None))
    assert cost | {"zero": 100.0, "before": 0.0, "after": 50.0} == cost
    empty = bar(replace(row, before=None, after=None, low=None, high=None))
    assert empty["before"] is None
