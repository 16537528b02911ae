"""The card: what is written down, what the terminal shows, and what a run cost."""

import json
import math
import random
from dataclasses import replace

import psutil
import pytest
from runs import composed
from some_card import BETTER, COST, GUARDS, IDENTITY, SOUND, card, evaluation, shown

from rlexp.cards.card import Card, build_card
from rlexp.cards.cost import Clock, host_memory_mib
from rlexp.cards.html import write_card_page
from rlexp.cards.labels import metric_rows
from rlexp.cards.model_card import Weights, model_card
from rlexp.evaluation.changes import Change
from rlexp.evaluation.results import ANSWERS, Evaluation, Sample


def test_the_json_has_the_promised_keys_and_comes_back_whole(tmp_path):
    """Scripts, tables and comparisons read these keys."""
    path = tmp_path / "card.json"
    card().to_json(path)
    promised = {
        *("run_id", "name", "status", "algo", "model", "data", "reward", "seed", "folder", "open"),
        *("before", "after", "intervals", "win_rate", "samples", "guards", "notes"),
        *("train_seconds", "total_seconds", "tokens_per_second", "peak_memory_mib", "cost"),
        *("firings", "changes", "ties", "control", "frontier", "slices", "gains", "losses"),
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


def numbered(old: bool):
    """An evaluation of three rows of which two have one text, as new and as old records tell it."""
    texts = [("same", 0), ("same", 1), ("other", 2)]
    samples = [
        Sample(text, f"to {i}", 0.5, {}, 4, True, 1.0, prompt_id=None if old else i)
        for text, i in texts
    ]
    return Evaluation({}, {}, [0.5] * 3, samples)


@pytest.mark.parametrize(
    ("old", "wanted"), [(False, ["to 0", "to 1", "to 2"]), (True, ["to 0", "to 2"])]
)
def test_samples_are_paired_by_their_prompts_rows(old, wanted):
    """Two rows with one text merged into one; an evaluation of before rows had numbers, which a
    resumed run compares with a new one, that pairs with nothing."""
    made = build_card(
        IDENTITY,
        numbered(old),
        numbered(False),
        COST,
        notes=[],
        resamples=10,
        seed=0,
        guards=GUARDS,
    )
    assert [pair.before for pair in made.samples] == [pair.after for pair in made.samples] == wanted


def ranked(old: bool):
    """A pair's two answers, as new and as old records tell them."""
    samples = []
    for answer in ANSWERS:
        told = {"prompt": "2 + 2?", "completion": "4", "reward": 1.0, "terms": {}, "length": 2}
        told |= {"ended": True, "grammatical": None}
        new = {"prompt_id": 0, "answer": answer}
        samples.append(told | ({"prompt": f"2 + 2? ({answer})"} if old else new))
    return {"metrics": {}, "intervals": {}, "per_prompt_reward": [], "samples": samples}


@pytest.mark.parametrize("old", [False, True])
def test_which_answer_is_meant_is_shown_and_not_part_of_the_prompt(tmp_path, old):
    """A mark that is written into the prompt reaches the model that is asked; one that is lost
    leaves two equal prompts."""
    (tmp_path / "step.json").write_text(json.dumps(ranked(old)))
    found = Evaluation.from_json(tmp_path / "step.json")
    assert [(each.prompt, each.answer) for each in found.samples] == [
        ("2 + 2?", "chosen"),
        ("2 + 2?", "rejected"),
    ]
    made = build_card(IDENTITY, found, found, COST, notes=[], resamples=10, seed=0, guards=GUARDS)
    path = tmp_path / "card.json"
    made.to_json(path)
    assert Card.from_json(path) == made
    if old:
        content = json.loads(path.read_text())
        for pair in content["samples"]:
            pair["prompt"] += f" ({pair.pop('answer')})"
        path.write_text(json.dumps(content))
        assert Card.from_json(path) == made
    write_card_page(made, tmp_path / "card.html")
    for text in (shown(made), (tmp_path / "card.html").read_text()):
        assert "2 + 2? (chosen)" in text and "2 + 2? (rejected)" in text


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
    write_card_page(made, tmp_path / "card.html")


@pytest.mark.parametrize("before", [None, evaluation(SOUND)])
def test_a_run_that_broke_off_has_a_card(tmp_path, before):
    """The card of a failed run must not fail itself."""
    failed = build_card(
        replace(IDENTITY, status="FAILED"),
        before,
        None,
        COST,
        notes=[],
        guards=GUARDS,
        resamples=10,
        seed=0,
    )
    failed.to_json(tmp_path / "card.json")
    write_card_page(failed, tmp_path / "card.html")
    assert Card.from_json(tmp_path / "card.json") == failed
    assert "no evaluation after training" in shown(failed)
    assert failed.win_rate is None


def test_the_terminal_shows_all_in_eighty_columns():
    text = shown(card())
    assert max(map(len, text.splitlines())) <= 80
    for wanted in (
        "reward 0.03 → 0.94",
        "[0.930, 0.950]",
        "Wins by reward 87.5% of pairs",
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
    assert host_memory_mib() > 300
    assert host_memory_mib() >= psutil.Process().memory_info().rss / 2**20


def test_small_numbers_keep_three_digits_and_80_columns():
    """`0.000 [+0.000, +0.000] rose`, or a table that is cut for the digits."""
    small = replace(
        card(),
        before=SOUND | {"reward": 0.00041, "margin": 0.0},
        after=SOUND | {"reward": 0.00052, "margin": 0.000001},
        changes={"reward": Change(0.00011, 0.0001, 0.0001204)},
    )
    lines = shown(small).splitlines()
    assert "reward 0.00041 → 0.00052" in lines[0]
    told = {line[:28].strip(): line[28:].split() for line in lines}
    assert told["reward"] == ["0.000410", "0.000520", "[+0.000100,", "+0.000120]", "rose"]
    assert told["margin, chosen above rejecte"][1:] == ["0.000", "1.00e-06"]
    assert max(map(len, lines)) <= 80


def test_a_model_card_names_all_data_sets_of_a_mix() -> None:
    """Texts whose licence nobody is told, because they are one of several."""
    config = composed(
        "data=mix", "data.max_completion_length=256",
        "+data@data.sources.maths=gsm8k", "+data.sources.maths.weight=1",
        "+data@data.sources.films=imdb", "+data.sources.films.weight=1",
    )  # fmt: skip
    written = model_card(config, card(), {}, Weights(2, adapter=False))
    assert "maths: gsm8k, openai/gsm8k on the hub" in written.text
    assert "Licence: maths: mit; films: not known to this project" in written.text
    assert written.data.to_dict()["datasets"] == ["openai/gsm8k", "stanfordnlp/imdb"]
