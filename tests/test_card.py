"""The card: what is written down, what is warned of, and that a page cannot be made to run code."""

import json
import math
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from rlexp.evaluation import (
    Card,
    Clock,
    Cost,
    Evaluation,
    Identity,
    Sample,
    build_card,
    guards,
    print_card,
    write_page,
)
from rlexp.evaluation.html import bar
from rlexp.evaluation.plots import curves, reward_histogram
from rlexp.evaluation.presentation import metric_rows

IDENTITY = Identity(
    run_id="3f2a9c81d0b54e7f",
    name="sentiment",
    status="FINISHED",
    algo="grpo",
    model="tiny",
    data="reviews",
    reward="sentiment",
    seed=3,
    folder="outputs/one",
    open="rlexp open outputs/one",
)
COST = Cost(21.7, 75.0, 4120.0, 1312.0, {"train_seconds": 21.7, "gpu_memory_mib": 2048.0})
SOUND = {
    "reward": 0.03,
    "reward_sentiment": 0.03,
    "kl": 0.0,
    "perplexity": 3.36,
    "grammatical": 0.98,
    "length": 34.0,
    "distinct_1": 0.03,
    "distinct_2": 0.21,
    "ended": 0.97,
}
BETTER = SOUND | {"reward": 0.94, "reward_sentiment": 0.94, "kl": 0.11, "grammatical": 0.968}
HACKED = SOUND | {"reward": 1.0, "kl": 2.3, "perplexity": 19.0, "grammatical": 0.0, "ended": 0.0}


def evaluation(metrics, completion="was fun.", rewards=(0.0, 0.5, 1.0, 0.25)):
    samples = [
        Sample(f"prompt {index}", f"{completion} {index}", reward, {}, 4, True, 1.0)
        for index, reward in enumerate(rewards)
    ]
    intervals = {name: (value - 0.01, value + 0.01) for name, value in metrics.items()}
    return Evaluation(metrics, intervals, list(rewards), samples)


def card(after=BETTER, completion="was fun.", **changes):
    before = evaluation(SOUND)
    trained = evaluation(after, completion, (0.9, 0.5, 1.1, 0.3)) if after else None
    return build_card(
        replace(IDENTITY, **changes),
        before,
        trained,
        COST,
        notes=["answers left out"],
        resamples=200,
        seed=0,
    )


def shown(some_card):
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        print_card(some_card, console)
    return captured.get()


def test_the_json_has_the_promised_keys_and_comes_back_whole(tmp_path):
    """Scripts, tables and comparisons read these keys."""
    path = tmp_path / "card.json"
    card().to_json(path)
    promised = {
        *("run_id", "name", "status", "algo", "model", "data", "reward", "seed", "folder", "open"),
        *("before", "after", "intervals", "win_rate", "samples", "guards", "notes"),
        *("train_seconds", "total_seconds", "tokens_per_second", "peak_memory_mib", "cost"),
    }
    content = json.loads(path.read_text())
    assert set(content) == promised
    assert content["win_rate"] == (3 + 0.5) / 4
    assert content["samples"][1] == {
        "prompt": "prompt 1",
        "before": "was fun. 1",
        "after": "was fun. 1",
        "reward_before": 0.5,
        "reward_after": 0.5,
    }
    assert Card.from_json(path) == card()


def test_numbers_that_are_not_finite_are_null(tmp_path):
    """Bare NaN is no JSON: browsers and jq refuse the whole file."""
    broken = BETTER | {"reward": math.nan, "perplexity": math.inf}
    path = tmp_path / "card.json"
    made = card(broken)
    replace(made, train_seconds=math.nan).to_json(path)
    content = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert content["after"]["reward"] is None
    assert content["after"]["perplexity"] is None
    assert content["intervals"]["reward"] == [None, None]
    assert content["train_seconds"] is None
    shown(made)
    write_page(made, tmp_path / "card.html")


@pytest.mark.parametrize("before", [None, evaluation(SOUND)])
def test_a_run_that_broke_off_has_a_card(tmp_path, before):
    """The card of a failed run must not fail itself."""
    failed = build_card(
        replace(IDENTITY, status="FAILED"), before, None, COST, notes=[], resamples=10, seed=0
    )
    failed.to_json(tmp_path / "card.json")
    write_page(failed, tmp_path / "card.html")
    assert Card.from_json(tmp_path / "card.json") == failed
    assert "no evaluation after training" in shown(failed)
    assert failed.win_rate is None


def test_a_sound_run_is_not_warned_of():
    assert guards(SOUND, BETTER, (0.9, 1.0)) == []


def test_gamed_rewards_are_shouted_about_first():
    """GRPO without KL: VADER 1.00 and not one grammatical sentence. The reward alone looks best."""
    found = guards(SOUND, HACKED)
    assert found[0].startswith("REWARD HACKING?")
    assert "algo.beta" in found[0]
    assert len(found) >= 4
    text = shown(card(HACKED))
    assert text.index("REWARD HACKING?") < text.index("metric")


@pytest.mark.parametrize(
    ("change", "says", "knob"),
    [
        ({"perplexity": 5.2}, "Forgetting", "peft=lora"),
        ({"kl": 1.2}, "Far from where it started", "algo.beta"),
        ({"distinct_2": 0.1}, "Collapse", "algo.learning_rate"),
        ({"ended": 0.3}, "no longer stops", "reward=length"),
        ({"length": 8.0}, "shrank", "reward=length"),
        ({"reward": -0.2}, "reward fell", "train.batch_size"),
    ],
)
def test_each_danger_is_named_with_its_knob(change, says, knob):
    found = guards(SOUND, BETTER | change)
    assert len(found) == 1
    assert says in found[0]
    assert knob in found[0]


def test_longer_texts_are_no_collapse():
    """Three times the length, a third of the share: as many distinct pairs as before."""
    assert guards(SOUND, BETTER | {"length": 102.0, "distinct_2": 0.08}) == []


def test_a_limit_that_was_too_short_from_the_start_is_not_blamed_on_training():
    found = guards(SOUND | {"ended": 0.1}, BETTER | {"ended": 0.1})
    assert "data.max_completion_length" in found[0]


def test_a_gain_within_noise_is_called_noise():
    assert "noise" in guards(SOUND, BETTER, (0.45, 0.6))[0]


def test_numbers_that_are_not_finite_are_called_broken():
    """Comparisons with NaN are False: no other check would say so."""
    found = guards(SOUND, BETTER | {"kl": math.nan, "perplexity": math.inf})
    assert len(found) == 1
    assert found[0].startswith("BROKEN: kl, perplexity")


def test_metrics_that_were_not_measured_warn_of_nothing():
    assert guards({}, {}) == []
    assert guards(dict.fromkeys(SOUND), dict.fromkeys(SOUND)) == []


def test_the_terminal_shows_all_in_eighty_columns():
    text = shown(card())
    assert max(map(len, text.splitlines())) <= 80
    for wanted in (
        "reward 0.03 → 0.94",
        "[0.930, 0.950]",
        "Better on 87.5% of the held-out prompts",
        "perplexity of held-out texts 3.360 → 3.360 (+0.0%)",
        "prompt 2",
        "was fun. 2",
        "training 21.7 s, total 1 min 15 s, 4,120 tokens/s, peak 1.3 GiB, GPU 2.0 GiB",
        "answers left out",
        "3f2a9c81d0b54e7f",
        "rlexp open outputs/one",
    ):
        assert wanted in text, wanted


def test_brackets_in_samples_are_no_markup():
    """Rich would swallow `[bold]` and raise on `[/x]`."""
    assert "[bold][/x]" in shown(card(completion="[bold][/x]"))


def test_a_single_reward_is_shown_once():
    """Its only term is itself."""
    assert [row.metric for row in metric_rows(card())][:2] == ["reward", "kl"]
    two = card(BETTER | {"reward_length": 0.2})
    assert [row.metric for row in metric_rows(two)][:3] == [
        "reward",
        "reward_length",
        "reward_sentiment",
    ]


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
    write_page(some_card, path, **more)
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
    assert (drawn.zero, drawn.before, drawn.after) == (0.0, 50.0, 100.0)
    cost = bar(replace(row, before=-2.0, after=-1.0, low=None, high=None))
    assert (cost.zero, cost.before, cost.after) == (100.0, 0.0, 50.0)
    empty = bar(replace(row, before=None, after=None, low=None, high=None))
    assert empty.before is None


def test_the_clock_adds_up_phases_also_when_they_raise():
    clock = Clock()
    with clock.phase("train"):
        random.random()
    first = clock.seconds["train"]
    with pytest.raises(KeyError), clock.phase("train"):
        raise KeyError
    assert clock.seconds["train"] > first > 0
    cost = clock.cost(tokens=100)
    assert cost.total_seconds >= cost.train_seconds == clock.seconds["train"]
    assert cost.tokens_per_second == 100 / cost.train_seconds
    assert Clock().cost(tokens=5).tokens_per_second is None


def test_peak_memory_remembers_what_was_given_back():
    """Resident memory at the end of a run would miss the peak."""
    block = bytearray(300 * 2**20)
    block[::4096] = b"1" * len(block[::4096])
    del block
    import psutil

    from rlexp.evaluation.cost import host_memory_mib

    assert host_memory_mib() > 300
    assert host_memory_mib() >= psutil.Process().memory_info().rss / 2**20
