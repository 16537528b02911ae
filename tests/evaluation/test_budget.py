"""A card within its budget: what is cut first, what never, and that it is the same everywhere."""

from dataclasses import replace

import pytest
from runs import spec_of

from rlexp.evaluation.budget.of_run import asked_size, size_of_card, with_size
from rlexp.evaluation.budget.size import (
    FREE_FLOPS,
    CardSize,
    TokenCounts,
    TrainingWork,
    best_of_tokens,
    card_tokens,
    evaluation_tokens,
    fitting_size,
    looks_tokens,
    training_tokens,
)

ASKED = CardSize(
    prompts=200,
    completions=3,
    texts=200,
    best_of=16,
    best_of_prompts=32,
    looks_every=10,
    look_prompts=32,
    look_texts=32,
)
LENGTHS = TokenCounts(prompt=30, answer=48, text=60, rollout=48)
LARGE = 10**9
"""Weights of a model for which nothing is free."""
REAL = TrainingWork(steps=40, sequences=16, passes=1)


def test_the_cost_is_counted_token_by_token():
    lengths = TokenCounts(prompt=2, answer=3, text=7, rollout=4)
    training = TrainingWork(steps=10, sequences=6, passes=2)
    # a sequence: 4 tokens sampled, 6 trained on twice and read once
    assert training_tokens(training, lengths) == 10 * 6 * (5 * 4 + 6 * (3 * 2 + 1))
    size = CardSize(4, 2, 5, 8, 3, looks_every=4, look_prompts=2, look_texts=1)
    # a sample: its prompt read, 3 tokens sampled, then 5 read by policy and reference
    sample = 2 + 5 * 3 + 2 * 5
    assert evaluation_tokens(size, lengths) == 2 * (8 * sample + 5 * 7)
    assert best_of_tokens(size, lengths) == 8 * 3 * (2 + 5 * 3)
    assert looks_tokens(size, training, lengths) == 3 * (2 * sample + 7)  # steps 0, 4 and 8
    none = replace(size, looks_every=0)
    assert looks_tokens(none, training, lengths) == 0
    rows = TokenCounts(prompt=2, answer=3, text=7, example=40)
    assert training_tokens(training, rows) == 10 * 6 * 40 * 7


def test_what_fits_is_left_alone():
    long = replace(REAL, steps=4000)
    assert fitting_size(ASKED, long, LENGTHS, 0.3, LARGE) == ASKED


def test_a_small_model_is_measured_in_full_however_little_it_is_trained():
    once = TrainingWork(steps=1, sequences=1, passes=1)
    assert fitting_size(ASKED, once, LENGTHS, 0.01, 1_000_000) == ASKED
    free = int(FREE_FLOPS / (2 * card_tokens(ASKED, once, LENGTHS)))
    assert fitting_size(ASKED, once, LENGTHS, 0.01, free) == ASKED
    assert fitting_size(ASKED, once, LENGTHS, 0.01, free + free // 50) != ASKED


@pytest.mark.parametrize("steps", [100, 200, 400])
def test_a_cut_card_costs_no_more_than_its_share(steps):
    training = replace(REAL, steps=steps)
    size = fitting_size(ASKED, training, LENGTHS, 0.3, LARGE)
    assert size != ASKED
    assert card_tokens(size, training, LENGTHS) <= 0.3 * training_tokens(training, LENGTHS)


def test_a_budget_is_used_and_not_thrown_away():
    training = replace(REAL, steps=200)
    size = fitting_size(ASKED, training, LENGTHS, 0.3, LARGE)
    budget = 0.3 * training_tokens(training, LENGTHS)
    assert card_tokens(size, training, LENGTHS) > 0.6 * budget  # completions are whole


def test_completions_go_before_prompts():
    only = replace(ASKED, best_of=0, looks_every=0)
    one = evaluation_tokens(replace(only, completions=1), LENGTHS)
    share = 1.01 * one / training_tokens(REAL, LENGTHS)
    size = fitting_size(only, REAL, LENGTHS, share, LARGE)
    assert (size.prompts, size.completions, size.texts) == (200, 1, 200)
    size = fitting_size(only, REAL, LENGTHS, share / 2, LARGE)
    assert size.completions == 1
    assert 90 < size.prompts < 110
    assert size.texts == size.prompts


def test_the_floor_holds_whatever_the_budget():
    size = fitting_size(ASKED, REAL, LENGTHS, 1e-9, 10**12)
    assert (size.prompts, size.completions, size.texts) == (32, 1, 32)
    assert size.best_of == 0
    assert size.looks_every == 20  # at the start, and halfway
    few = replace(ASKED, prompts=20, texts=10)
    size = fitting_size(few, REAL, LENGTHS, 1e-9, 10**12)
    assert (size.prompts, size.texts) == (20, 10)
    rivals = fitting_size(replace(ASKED, fewest_completions=2), REAL, LENGTHS, 1e-9, 10**12)
    assert rivals.completions == 2


def test_best_of_n_is_halved_before_it_is_left_out():
    seen = [
        (size.best_of, size.best_of_prompts)
        for share in (0.9, 0.5, 0.3, 0.12, 0.06, 0.03)
        for size in [fitting_size(ASKED, REAL, LENGTHS, share, LARGE)]
    ]
    assert seen == sorted(seen, reverse=True)
    assert seen[-1][0] == 0
    assert len(set(seen)) > 3


class FewTokens:
    """A policy whose tokenizer makes a token of each word, and whose model has so many weights."""

    def __init__(self, weights):
        self.model = self
        self.weights = weights

    def num_parameters(self):
        return self.weights

    def tokenizer(self, texts, add_special_tokens):
        return {"input_ids": [text.split() for text in texts]}


ROWS = [{"prompt": "one two three"}] * 300
TEXTS = ["a b c d"] * 300


def test_the_default_run_is_never_cut():
    """The embedded model has half a million weights: its card stays what it always was."""
    size, note = size_of_card(spec_of(), FewTokens(600_000), ROWS, ROWS, TEXTS, looks=True)  # type: ignore[arg-type]
    assert note == ""
    assert (size.prompts, size.completions, size.best_of) == (200, 3, 16)


def test_the_run_goes_by_what_is_left_and_says_so():
    spec = spec_of("algo=grpo", "train.max_steps=6", "train.batch_size=16")
    size, note = size_of_card(spec, FewTokens(135_000_000), ROWS, ROWS, TEXTS, looks=True)  # type: ignore[arg-type]
    cut = with_size(spec, size)
    assert (cut.eval.prompts, cut.eval.completions) == (size.prompts, 1)
    assert f"{size.prompts} of 200 prompts, 1 of 3 completions" in note
    assert "eval.budget=null" in note
    assert cut.guards.prompts == spec.guards.prompts
    assert cut.eval.judge_prompts <= cut.eval.prompts


def test_without_a_budget_nothing_is_cut():
    spec = spec_of("algo=grpo", "train.max_steps=1", "eval.budget=null")
    size, note = size_of_card(spec, FewTokens(LARGE), ROWS, ROWS, TEXTS, looks=True)  # type: ignore[arg-type]
    assert (size, note) == (asked_size(spec, 300, 300, looks=True), "")


@pytest.mark.parametrize(
    ("algo", "sequences"), [("grpo", 64), ("ppo", 64), ("online_dpo", 128), ("reinforce", 64)]
)
def test_the_sequences_of_a_step(algo, sequences):
    from rlexp.evaluation.budget.of_run import _sequences

    assert _sequences(spec_of(f"algo={algo}", "train.batch_size=64")) == sequences


def test_answers_of_pairs_are_read_with_their_prompts():
    from rlexp.evaluation.budget.of_run import _lengths

    spec = spec_of("algo=dpo")
    pairs = [{"prompt": "one two", "chosen": "three", "rejected": "four five"}]
    lengths = _lengths(spec, FewTokens(1), pairs, ROWS, TEXTS)  # type: ignore[arg-type]
    assert lengths == TokenCounts(3.0, spec.eval.max_completion_length, 4.0, 0, 7.0)
