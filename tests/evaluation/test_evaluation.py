"""Evaluation of a policy: what is measured, against slow exact computations, and left untouched."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import some_card
import torch
import transformers
from small_evaluation import REWARD, ROWS, SPEC, FewWords, draws
from tiny_policy import END, TEXTS, TinyPolicy, slow_kl

from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.evaluation.policy import _distinct, evaluate
from rlexp.evaluation.win_rate import win_rate
from rlexp.spec.eval import EvalSpec
from rlexp.spec.policy import Completion
from rlexp.spec.reward import RewardSpec, Scores
from rlexp.spec.text import joined


def evaluated(policy, trained=True, grammatical=None, **changes):
    spec = EvalSpec(**SPEC | changes)
    return evaluate(policy, ROWS, REWARD, TEXTS, spec, trained=trained, grammatical=grammatical)


def test_training_goes_on_as_if_nobody_had_looked():
    """Same weights, modes and random numbers afterwards, though the reward draws some itself."""
    policy = TinyPolicy()
    policy.model.train()
    policy.model.model.norm.eval()  # frozen by its owner: must stay so
    modes = [module.training for module in policy.model.modules()]
    weights = copy.deepcopy(policy.model.state_dict())
    transformers.set_seed(11)
    wanted = draws()
    transformers.set_seed(11)
    evaluated(policy)
    assert draws() == wanted
    assert [module.training for module in policy.model.modules()] == modes
    assert all(torch.equal(weights[name], each) for name, each in policy.model.state_dict().items())
    policy.model(torch.tensor([[3, 4]])).logits.sum().backward()


def test_modes_come_back_when_a_reward_raises():
    class Broken(FewWords):
        def score(self, prompts, completions, columns):
            raise RuntimeError("no")

    policy = TinyPolicy()
    policy.model.train()
    with pytest.raises(RuntimeError, match="no"):
        evaluate(
            policy,
            ROWS,
            Broken(name="broken"),
            [],
            EvalSpec(**SPEC),
            trained=False,
            grammatical=None,
        )
    assert policy.model.training


def test_same_seed_same_bits():
    first, second = evaluated(TinyPolicy()), evaluated(TinyPolicy())
    assert first.metrics == second.metrics
    assert first.intervals == second.intervals
    assert first.samples == second.samples


def test_metrics_are_the_means_of_the_samples():
    """Catches samples that lose their prompt's columns, and completions scored for others' rows."""
    found = evaluated(TinyPolicy())
    assert len(found.samples) == 12
    assert [sample.terms["wanted"] for sample in found.samples] == [i // 2 for i in range(12)]
    rewards = [sample.reward or 0.0 for sample in found.samples]
    assert rewards == [-len(set(sample.completion.split())) for sample in found.samples]
    assert found.metrics["reward"] == pytest.approx(np.mean(rewards))
    assert found.per_prompt_reward == pytest.approx(np.reshape(rewards, (6, 2)).mean(1).tolist())
    assert found.metrics["length"] == np.mean([sample.length for sample in found.samples])
    assert found.metrics["ended"] == np.mean([sample.ended for sample in found.samples])
    assert {"kl", "perplexity", "distinct_1", "distinct_2"} <= set(found.metrics)
    for name, (low, high) in found.intervals.items():
        assert low <= found.metrics[name] <= high, name


def test_kl_is_a_mean_over_tokens_of_the_samples():
    """Long completions weigh more than short ones; end tokens count."""
    policy = TinyPolicy()
    found = evaluated(policy, completions=4, max_completion_length=25)
    groups = policy.complete(
        [row["prompt"] for row in ROWS[:6]],
        completions=4,
        max_new_tokens=25,
        temperature=1.0,
        seed=7,
        batch_size=4,
    )
    completions = [each for group in groups for each in group]
    assert len({len(each.token_ids) for each in completions}) > 1
    exact = sum(slow_kl(policy, each) for each in completions)
    tokens = sum(len(each.token_ids) for each in completions)
    assert found.metrics["kl"] == pytest.approx(exact / tokens, rel=1e-4)


def test_an_untrained_policy_is_its_reference():
    """KL before training is 0 and loads no reference."""
    policy = TinyPolicy()
    policy.reference = lambda: pytest.fail("the reference was asked for")
    assert evaluated(policy, trained=False).metrics["kl"] == 0.0


def test_grammar_judges_the_whole_text():
    """Half a sentence is no sentence: the opening belongs to what is judged."""
    judged = []
    found = evaluated(TinyPolicy(), grammatical=lambda text: judged.append(text) or 0.5)
    assert found.metrics["grammatical"] == 0.5
    assert judged == [f"{each.prompt} {each.completion}".strip() for each in found.samples]


@pytest.mark.parametrize(
    ("opening", "completion", "whole"),
    [
        ("The plot", "was fun.", "The plot was fun."),
        ("The plot", " was fun.", "The plot was fun."),
        ("It was fun", ", I loved it.", "It was fun, I loved it."),
        ("The ", "plot", "The plot"),
        ("The plot", "", "The plot"),
    ],
)
def test_opening_and_completion_join_as_they_were_cut(opening, completion, whole):
    assert joined(opening, completion) == whole


def test_conversations_are_scored_as_messages():
    """A reward gets the form of its prompts, as TRL hands it over; people read the user's words."""
    seen = {}

    class Watching(FewWords):
        def score(self, prompts, completions, columns):
            seen.update(completions=completions, columns=columns)
            return Scores([0.0] * len(prompts), {})

    policy = TinyPolicy()
    complete = policy.complete
    policy.complete = lambda prompts, **knobs: complete(
        [each[0]["content"] for each in prompts], **knobs
    )
    rows = [{"prompt": [{"role": "user", "content": "w2 w3"}], "wanted": 1, "solution": "w4"}]
    reward = Watching(name="watching")
    found = evaluate(policy, rows, reward, [], EvalSpec(**SPEC), trained=False, grammatical=None)
    assert seen["completions"][0] == [{"role": "assistant", "content": found.samples[0].completion}]
    columns = seen["columns"]
    assert (columns["wanted"], columns["solution"]) == ([1, 1], ["w4", "w4"])
    assert len(columns["completion_ids"]) == len(columns["completion_ended"]) == 2
    assert found.samples[0].prompt == "w2 w3"


def test_without_a_reward_there_is_no_reward_metric():
    class Nothing(RewardSpec):
        scores_anything = False

    reward = Nothing(name="none")
    found = evaluate(
        TinyPolicy(), ROWS, reward, TEXTS, EvalSpec(**SPEC), trained=False, grammatical=None
    )
    assert not [name for name in found.metrics if name.startswith("reward")]
    assert found.per_prompt_reward == []
    assert win_rate(found, found) is None


def test_win_rate_counts_pairs_and_halves_ties():
    """Two completions a prompt make four pairs, and prompts count alike."""
    before = some_card.evaluation({}, rewards=(0.0, 1.0, 3.0, 3.0))
    after = some_card.evaluation({}, rewards=(1.0, 2.0, 2.0, 3.0))
    before, after = (replace(each, per_prompt_reward=[0.0, 0.0]) for each in (before, after))
    assert win_rate(before, after) == ((3 + 1 / 2) / 4 + (2 * 1 / 2) / 4) / 2
    with pytest.raises(ValueError, match="the same prompts"):
        win_rate(before, replace(after, per_prompt_reward=[0.0]))


def test_distinct_counts_tokens_and_pairs_without_the_end():
    completions = [Completion("", [2], [5, 6, 5, 6, END], True), Completion("", [2], [5, 6], False)]
    assert _distinct(completions, 1) == 2 / 6
    assert _distinct(completions, 2) == 2 / 4


def test_intervals_resample_prompts_not_completions():
    """400 prompts whose four completions agree: the interval is that of 400 values, not of 1600."""
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_ratio((4 * values).tolist(), [4] * 400, 4000, 0) or pytest.fail("none")
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(400), rel=0.1)
    assert low < values.mean() < high


def test_one_prompt_has_no_interval():
    assert bootstrap_ratio([1.0], [1.0], 100, 0) is None


def test_an_evaluation_without_prompts_says_so():
    with pytest.raises(ValueError, match="held-out prompts"):
        evaluate(TinyPolicy(), [], REWARD, [], EvalSpec(**SPEC), trained=False, grammatical=None)
