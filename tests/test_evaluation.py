"""Evaluation of a policy: what is measured, against slow exact computations, and left untouched."""

import copy
import math
import random
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from rlexp.evaluation import Evaluation, evaluate, likelihood, win_rate
from rlexp.evaluation.intervals import bootstrap_ratio
from rlexp.spec.hardware import EvalSpec
from rlexp.spec.policy import Completion
from rlexp.spec.reward import RewardSpec, Scores

END = 1
WORDS = ["<pad>", "<end>", *(f"w{index}" for index in range(48))]


def draws():
    """The next number of each global generator."""
    return random.random(), np.random.rand(), torch.rand(1).item()


class FewWords(RewardSpec):
    """Rewards few different words; draws from each global generator, as users' code may."""

    def __call__(self, prompts, completions, **columns):
        draws()
        return [-float(len(set(str(completion).split()))) for completion in completions]

    def score(self, prompts, completions, columns):
        values = self(prompts, completions)
        return Scores(
            values, {"few": values, "wanted": [float(each) for each in columns["wanted"]]}
        )


class TinyPolicy:
    """Random Qwen2 with two layers of width 16; the reference is another one."""

    def __init__(self, seed: int = 0):
        torch.manual_seed(seed)
        config = Qwen2Config(
            vocab_size=len(WORDS),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
            initializer_range=0.5,  # peaked distributions, so that errors show
        )
        self.model: Any = Qwen2ForCausalLM(config)
        self.initial = Qwen2ForCausalLM(config).eval()
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<pad>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", padding_side="left"
        )

    def complete(self, prompts, *, completions, max_new_tokens, temperature, seed, batch_size):
        groups = []
        for index, prompt in enumerate(prompts):
            ids = self.tokenizer(prompt)["input_ids"]
            torch.manual_seed(seed + index)
            rows = self.model.generate(
                torch.tensor([ids] * completions),
                max_new_tokens=max_new_tokens,
                do_sample=True,
                top_k=0,
                temperature=temperature,
                eos_token_id=END,
                pad_token_id=0,
            )[:, len(ids) :].tolist()
            groups.append([self._completion(ids, row) for row in rows])
        return groups

    def _completion(self, prompt_ids, row):
        ended = END in row
        ids = row[: row.index(END) + 1] if ended else row
        return Completion(
            str(self.tokenizer.decode(ids, skip_special_tokens=True)), prompt_ids, ids, ended
        )

    def reference(self):
        return nullcontext(self.initial)


def sequences(lengths, seed=0):
    """Completions of given prompt and answer lengths."""
    draw = random.Random(seed)
    return [
        Completion("", draw.choices(range(2, 50), k=a), draw.choices(range(2, 50), k=b), False)
        for a, b in lengths
    ]


@torch.no_grad()
def slow_kl(policy, completion):
    """Sum over positions and vocabulary in float64, one unpadded sequence, prefix by prefix."""
    ours, theirs = copy.deepcopy(policy.model).double(), copy.deepcopy(policy.initial).double()
    ours.eval()
    total = 0.0
    for position in range(len(completion.token_ids)):
        prefix = torch.tensor([completion.prompt_ids + completion.token_ids[:position]])
        p, q = (model(prefix).logits[0, -1].softmax(-1) for model in (ours, theirs))
        total += sum(a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True))
    return total


SPEC: dict[str, Any] = dict(
    name="test",
    prompts=6,
    completions=2,
    every=0,
    texts=3,
    max_completion_length=12,
    temperature=1.0,
    batch_size=4,
    seed=7,
    bootstrap=200,
)
ROWS = [{"prompt": f"w{i} w{i + 1}", "wanted": i, "opening": f"w{i} w{i + 1}"} for i in range(10)]
TEXTS = ["w1 w2 w3", "w4 w5 w6 w7 w8 w9", "w3 w1"]
REWARD = FewWords(name="few")


def evaluated(policy, trained=True, grammatical=None, **changes):
    spec = EvalSpec(**SPEC | changes)
    return evaluate(policy, ROWS, REWARD, TEXTS, spec, trained=trained, grammatical=grammatical)


@pytest.mark.parametrize("logits_bytes", [2**28, 4 * 50 * 2 * 7, 1])
def test_kl_is_that_of_a_slow_float64_loop(monkeypatch, logits_bytes):
    """Catches padding that leaks in, a shift by one, a token of the prompt or an end token too
    many, columns lost where a long sequence is looked at in parts, and KL taken backwards."""
    monkeypatch.setattr(likelihood, "LOGITS_BYTES", logits_bytes)
    monkeypatch.setattr(likelihood, "SLICE_BYTES", 4 * 50 * 3)
    policy = TinyPolicy()
    policy.model.eval()
    completions = sequences([(3, 5), (1, 9), (6, 1), (2, 20), (4, 4)])
    found = likelihood.kl_nats(policy, completions, batch_size=3)
    assert found == pytest.approx([slow_kl(policy, each) for each in completions], rel=1e-4)
    assert min(found) > 0.1


def test_kl_has_its_closed_form_where_the_models_differ_by_a_bias_only():
    """Two models that ignore their input: KL a token is sum p log p/q of two known vectors."""
    policy = TinyPolicy()
    logits = torch.randn(2, 50, generator=torch.Generator().manual_seed(3))
    for model, wanted in zip((policy.model, policy.initial), logits, strict=True):
        constant_logits(model, wanted)
    p, q = logits.double().softmax(-1)
    found = likelihood.kl_nats(policy, sequences([(2, 5), (3, 8)]), batch_size=8)
    exact = float((p * (p / q).log()).sum())
    assert found == pytest.approx([5 * exact, 8 * exact], rel=1e-5)


def constant_logits(model, wanted):
    """The last norm gives all ones whatever the input, and the head maps them to `wanted`."""
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(1.0)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight = torch.nn.Parameter(wanted[:, None] / 16 * torch.ones(1, 16))


def test_logits_in_memory_stay_under_the_limit(monkeypatch):
    """A vocabulary of 152,000 must not fill the memory: no forward returns more than its share."""
    monkeypatch.setattr(likelihood, "LOGITS_BYTES", 2 * 4 * 50 * 10)
    policy = TinyPolicy()
    positions = []
    policy.model.register_forward_hook(
        lambda *call: positions.append(call[2].logits.shape[:2].numel())
    )
    likelihood.kl_nats(policy, sequences([(2, 3), (2, 4), (2, 25)]), batch_size=64)
    assert max(positions) <= 10


def test_perplexity_is_that_of_a_slow_loop():
    """Catches padding, the shift, and a mean over texts in place of one over tokens."""
    policy = TinyPolicy()
    model = copy.deepcopy(policy.model).double().eval()
    nats, predicted = 0.0, 0
    for text in TEXTS:
        ids = policy.tokenizer(text)["input_ids"]
        for position in range(1, len(ids)):
            with torch.no_grad():
                logits = model(torch.tensor([ids[:position]])).logits[0, -1]
            nats -= float(logits.log_softmax(-1)[ids[position]])
            predicted += 1
    found = likelihood.perplexity(policy.model.eval(), policy.tokenizer, TEXTS, batch_size=2)
    assert found == pytest.approx(np.exp(nats / predicted), rel=1e-5)


def test_perplexity_of_a_uniform_model_is_the_size_of_its_vocabulary():
    policy = TinyPolicy()
    torch.nn.init.zeros_(policy.model.lm_head.weight)
    found = likelihood.perplexity(policy.model, policy.tokenizer, TEXTS, batch_size=2)
    assert found == pytest.approx(50, rel=1e-6)


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
    from rlexp.evaluation.evaluate import _whole

    assert _whole({"opening": opening}, completion) == whole


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
    assert seen["columns"] == {"wanted": [1, 1], "solution": ["w4", "w4"]}
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


def test_win_rate_counts_prompts_and_halves_ties():
    nothing = Evaluation(metrics={}, intervals={}, per_prompt_reward=[], samples=[])
    before = replace(nothing, per_prompt_reward=[0.0, 1.0, 2.0, 3.0])
    after = replace(nothing, per_prompt_reward=[1.0, 1.0, 5.0, 2.0])
    assert win_rate(before, after) == (1 + 0.5 + 1 + 0) / 4


def test_distinct_counts_tokens_and_pairs_without_the_end():
    from rlexp.evaluation.evaluate import _distinct

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
