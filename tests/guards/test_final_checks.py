"""What a card warns of."""

import math
from typing import Any

import pytest
from some_card import BETTER, GUARDS, HACKED, SOUND, card, shown

from rlexp.guards.final_checks import final_warnings, masked_notes


def warnings(before: Any, after: Any, win_rate: Any = None, **guards: Any) -> list[str]:
    return final_warnings(before, after, win_rate, GUARDS.model_copy(update=guards))


def test_a_sound_run_is_not_warned_of():
    assert warnings(SOUND, BETTER, (0.9, 1.0)) == []


def test_gamed_rewards_are_shouted_about_first():
    """GRPO without KL: VADER 1.00 and not one grammatical sentence. The reward alone looks best."""
    found = warnings(SOUND, HACKED)
    assert found[0].startswith("REWARD HACKING?")
    assert "algo.beta" in found[0]
    assert len(found) >= 4
    text = shown(card(HACKED))
    assert text.index("REWARD HACKING?") < text.index("metric")


@pytest.mark.parametrize(
    ("change", "says", "knob"),
    [
        ({"perplexity": 6.9}, "Forgetting", "peft=lora"),
        ({"kl": 1.2}, "Far from where it started", "algo.beta"),
        ({"distinct_2": 0.1}, "Collapse", "algo.learning_rate"),
        ({"ended": 0.3}, "no longer stops", "reward=length"),
        ({"thinking_unfinished": 0.7}, "never ends", "max_completion_length"),
        ({"length": 8.0}, "shrank", "reward=length"),
        ({"reward": -0.2}, "reward fell", "train.batch_size"),
    ],
)
def test_each_danger_is_named_with_its_knob(change, says, knob):
    found = warnings(SOUND, BETTER | change)
    assert len(found) == 1
    assert says in found[0]
    assert knob in found[0]


def test_longer_texts_are_no_collapse():
    """Three times the length, a third of the share: as many distinct pairs as before."""
    assert warnings(SOUND, BETTER | {"length": 102.0, "distinct_2": 0.08}) == []


def test_a_limit_that_was_too_short_from_the_start_is_not_blamed_on_training():
    found = warnings(SOUND | {"ended": 0.1}, BETTER | {"ended": 0.1})
    assert "data.max_completion_length" in found[0]


def test_a_gain_within_noise_is_called_noise():
    assert "noise" in warnings(SOUND, BETTER, (0.45, 0.6))[0]


def test_numbers_that_are_not_finite_are_called_broken():
    """Comparisons with NaN are False: no other check would say so."""
    found = warnings(SOUND, BETTER | {"kl": math.nan, "perplexity": math.inf})
    assert len(found) == 1
    assert found[0].startswith("BROKEN: kl, perplexity")


def test_metrics_that_were_not_measured_warn_of_nothing():
    assert warnings({}, {}) == []
    assert warnings(dict.fromkeys(SOUND), dict.fromkeys(SOUND)) == []


def test_what_a_run_does_not_watch_is_not_warned_of() -> None:
    """A new model's card that finds it far from its random weights, although guards are off."""
    spoilt = BETTER | {"perplexity": 50.0, "kl": 3.0}
    off = {"kl_budget": "off", "reward_hacking": "off", "collapse": "off"}
    assert warnings(SOUND, spoilt, forgetting="off", **off) == []
    (warning,) = warnings(SOUND, spoilt, **off)
    assert warning.startswith("Forgetting")


@pytest.mark.parametrize(
    ("change", "knob", "looser", "tighter"),
    [
        ({"kl": 1.5}, "kl_limit", 3.0, 0.1),
        ({"perplexity": 7.0}, "perplexity_rise", 2.5, 1.01),
        ({"distinct_2": 0.1}, "distinct_fall", 3.0, 1.01),
        ({"grammatical": 0.85}, "grammatical_fall", 0.2, 0.01),
        ({"length": 15.0}, "length_drift", 3.0, 1.01),
    ],
)
def test_limits_are_those_of_the_guards(
    change: dict[str, float], knob: str, looser: float, tighter: float
) -> None:
    """A limit of the card's own: `guards.kl_limit=3` in a run that means to go far, which is warned
    of all the same, and a strict one, of which the card knows nothing."""
    assert len(warnings(SOUND, BETTER | change)) == 1
    assert warnings(SOUND, BETTER | change, **{knob: looser}) == []
    slight = {name: (value + 9 * BETTER[name]) / 10 for name, value in change.items()}
    assert warnings(SOUND, BETTER | slight) == []
    assert len(warnings(SOUND, BETTER | slight, **{knob: tighter})) == 1


@pytest.mark.parametrize(("shares", "told"), [([1.0, 1.0], "100%"), ([0.6, 0.5], "55%")])
def test_rollouts_that_nothing_is_learnt_from_are_told(shares: list[float], told: str) -> None:
    """A training whose answers are all cut, and masked: its loss is 0 and nobody says why."""
    history = [(step, {"rollout/cut_share": share}) for step, share in enumerate(shares)]
    (note,) = masked_notes([*history, (9, {"eval/reward": 1.0})])
    assert note.startswith(told)
    assert "algo.max_completion_length" in note


@pytest.mark.parametrize("shares", [[], [0.0, 0.3]])
def test_few_cut_rollouts_are_no_note(shares: list[float]) -> None:
    """A note on every run with a few long answers."""
    assert masked_notes([(1, {"rollout/cut_share": share}) for share in shares]) == []
