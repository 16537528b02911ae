"""A probe's numbers against values worked out by hand, and what it leaves alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from probed_rewards import ROWS, exact, material, pays

from rlexp.probing.earnings import POLICY, REFERENCES, Earnings, RewardProbe
from rlexp.probing.probe import BEFORE_TRAINING, Size, probe, size_of
from rlexp.rewards.mix import Mix
from rlexp.spec.reward import Value


def named(probed: RewardProbe) -> dict[str, Earnings]:
    return {earned.name: earned for earned in probed.earnings}


def test_everything_is_scored_with_its_own_rows_columns() -> None:
    """A row's answer compared with another row's column; a strategy that is left out."""
    earned = named(probe(pays(exact), material(), 8))
    means = {name: earned.mean for name, earned in earned.items()}
    assert means.pop(REFERENCES) == 1.0
    for name in ("one constant answer", "a list of all answers"):
        assert means.pop(name) == 0.25  # right for one of four rows
    assert set(means.values()) == {0.0} and len(means) == 12  # there is no code to echo


def test_of_several_variants_the_best_paid_counts() -> None:
    """A mean over variants, in which the one that a policy will find is drowned."""
    reward = pays(lambda prompt, completion, columns: float("boxed" in completion))
    assert named(probe(reward, material(), 8))["a form without content"].mean == 1.0
    assert named(probe(reward, material(), 1))["a form without content"].mean == 0.0


def test_nothing_is_better_than_a_penalty() -> None:
    """A mean of 0 taken for none at all: the variant that is punished would stand in the table."""
    reward = pays(lambda prompt, completion, columns: -float("boxed" in completion))
    form = named(probe(reward, material(), 2))["a form without content"]
    assert (form.mean, form.missing) == (0.0, 0)


def test_own_answers_are_a_line_of_their_own() -> None:
    """Answers of the model taken for variants, of which the luckiest would count."""
    own = [[f"They are\n{ROWS[0]['answer']}", "no"], ["no", "no"], ["no", "no"], ["no", "no"]]
    policy = named(probe(pays(exact), material(), 8, own))[POLICY]
    assert (policy.mean, policy.answers, policy.kind) == (0.125, 8, None)


def test_intervals_are_over_prompts() -> None:
    """Four answers to one prompt taken for four prompts: an interval that is too narrow."""
    own = [["1"] * 50, ["0"] * 50, ["1"] * 50, ["0"] * 50]
    reward = pays(lambda prompt, completion, columns: float(completion == "1"))
    interval = named(probe(reward, material(), 1, own, (2000, 0)))[POLICY].interval
    assert interval is not None and interval[0] <= 0.25 and interval[1] >= 0.75


def test_a_reward_that_fails_is_told_of_not_raised() -> None:
    """A probe that ends at the first empty answer, as the training would."""

    def fails(prompt: str, completion: str, columns: dict[str, Any]) -> Value:
        return float(len(completion.split()[0]) > 0)

    empty = named(probe(pays(fails), material(), 8))["an empty answer"]
    assert (empty.mean, empty.missing) == (None, len(ROWS))
    assert "IndexError" in empty.failure


def test_what_cannot_be_told_is_left_out() -> None:
    """None taken for 0."""

    def unsure(prompt: str, completion: str, columns: dict[str, Any]) -> Value:
        return None if columns["answer"] == 7 else 1.0

    reference = named(probe(pays(unsure), material(), 8))[REFERENCES]
    assert (reference.mean, reference.missing, reference.failure) == (1.0, 1, "")


def test_random_numbers_are_left_as_they_were() -> None:
    """A reward that draws, and a training that goes on elsewhere for having been probed."""

    def draws(prompt: str, completion: str, columns: dict[str, Any]) -> Value:
        return random.random() + np.random.rand() + torch.rand(1).item()

    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    probe(pays(draws), material(), 8)
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_a_mix_shows_its_terms() -> None:
    """A total in which nobody sees which term pays."""
    words = {"_target_": "rlexp.rewards.length.Length", "name": "length", "target": 2,
             "width": 4, "unit": "words", "shape": "triangular", "weight": 0.5}  # fmt: skip
    fresh = {"_target_": "rlexp.rewards.repetition.Repetition", "name": "r", "ngram": 1,
             "weight": 2.0}  # fmt: skip
    mix = Mix(name="mix", normalize="none", clip=None, terms={"short": words, "fresh": fresh})
    repeated = named(probe(mix, material(), 1))["a repeated word"]
    assert repeated.terms == {"short": 0.0, "fresh": -0.9375}
    assert repeated.mean == 2.0 * -0.9375
    assert mix.bounds() == (0.0, 0.5)  # a penalty is not earned
    assert "repetition" not in mix.by_design() and "form" in mix.by_design()


@pytest.mark.parametrize(
    ("places", "size"),
    [(["workers"], Size(16, 8)), (["workers", "here"], Size(8, 1)), (["threads"], Size(4, 1))],
)
def test_a_dear_reward_is_asked_less(places: list[Any], size: Size) -> None:
    """A judge that costs money asked as often as a function that costs nothing."""

    class Several(type(pays(exact))):
        def terms_by_name(self) -> Any:
            from rlexp.spec.reward import Term

            return {place: Term(pays(exact, place=place)) for place in places}

    assert size_of(Several(name="several"), BEFORE_TRAINING) == size
