"""What a card warns of."""

import math

import pytest
from some_card import BETTER, HACKED, SOUND, card, shown

from rlexp.guards.final_checks import final_warnings


def test_a_sound_run_is_not_warned_of():
    assert final_warnings(SOUND, BETTER, (0.9, 1.0)) == []


def test_gamed_rewards_are_shouted_about_first():
    """GRPO without KL: VADER 1.00 and not one grammatical sentence. The reward alone looks best."""
    found = final_warnings(SOUND, HACKED)
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
    found = final_warnings(SOUND, BETTER | change)
    assert len(found) == 1
    assert says in found[0]
    assert knob in found[0]


def test_longer_texts_are_no_collapse():
    """Three times the length, a third of the share: as many distinct pairs as before."""
    assert final_warnings(SOUND, BETTER | {"length": 102.0, "distinct_2": 0.08}) == []


def test_a_limit_that_was_too_short_from_the_start_is_not_blamed_on_training():
    found = final_warnings(SOUND | {"ended": 0.1}, BETTER | {"ended": 0.1})
    assert "data.max_completion_length" in found[0]


def test_a_gain_within_noise_is_called_noise():
    assert "noise" in final_warnings(SOUND, BETTER, (0.45, 0.6))[0]


def test_numbers_that_are_not_finite_are_called_broken():
    """Comparisons with NaN are False: no other check would say so."""
    found = final_warnings(SOUND, BETTER | {"kl": math.nan, "perplexity": math.inf})
    assert len(found) == 1
    assert found[0].startswith("BROKEN: kl, perplexity")


def test_metrics_that_were_not_measured_warn_of_nothing():
    assert final_warnings({}, {}) == []
    assert final_warnings(dict.fromkeys(SOUND), dict.fromkeys(SOUND)) == []


def test_what_a_run_does_not_watch_is_not_warned_of() -> None:
    """A new model's card that finds it far from its random weights, although guards are off."""
    spoilt = BETTER | {"perplexity": 50.0, "kl": 3.0}
    assert final_warnings(SOUND, spoilt, watched=()) == []
    (warning,) = final_warnings(SOUND, spoilt, watched=["forgetting"])
    assert warning.startswith("Forgetting")
