"""The answer behind the thinking: where it begins, and who sees what."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from chat_tokenizers import DEEPSEEK, HYBRID, byte_tokenizer
from runs import spec_of
from tiny_policy import Recording, TinyPolicy, policy_of

from rlexp.algos.common.reward_function import RewardFunction
from rlexp.evaluation.metrics import applying
from rlexp.evaluation.policy import evaluate, sample_completions
from rlexp.evaluation.results import Evaluation, Sample
from rlexp.evaluation.sample_rows import sample_row
from rlexp.models.tokenizer import load_tokenizer
from rlexp.runner.sampling.answers import AnswerDraft
from rlexp.scoring import Scorer
from rlexp.spec.errors import UserError
from rlexp.spec.policy import Completion
from rlexp.spec.reward import Scores
from rlexp.spec.thinking import ThinkingReader, ThinkingSpec, Thought

SPEC = ThinkingSpec(start="<think>", end="</think>", in_rewards=False)
ASKED = [{"role": "user", "content": "3 + 4?"}]
PLAIN, OPENED = byte_tokenizer(HYBRID), byte_tokenizer(DEEPSEEK)


@pytest.mark.parametrize(
    ("tokenizer", "prompt", "text", "answer", "ended"),
    [
        (PLAIN, ASKED, "<think>3, 4</think>\n\n7", "7", True),
        (PLAIN, ASKED, "7", "7", True),
        (PLAIN, ASKED, "<think>3, 4 and", "", False),
        (PLAIN, ASKED, "3, 4</think> 7 </think>", "7 </think>", True),
        (PLAIN, ASKED, "<think></think>", "", True),
        (OPENED, ASKED, "3, 4</think>7", "7", True),
        (OPENED, ASKED, "7", "", False),
        (PLAIN, "3 + 4?<think>", "7", "", False),
        (PLAIN, "<think></think>3 + 4?", "7", "7", True),
    ],
)
def test_the_answer_begins_behind_the_thinking(
    tokenizer: Any, prompt: Any, text: str, answer: str, ended: bool
) -> None:
    """Thinking that earns, an answer that is lost, or a prompt that opens it unseen."""
    reader = ThinkingReader(SPEC, tokenizer)
    assert reader.answers([prompt], [text]) == ([answer], [not ended])
    message = [{"role": "assistant", "content": text}]
    (shown,), _ = reader.answers([prompt], [message])
    assert shown == [{"role": "assistant", "content": answer}]
    ids = tokenizer(text)["input_ids"]
    thought = reader.thought(prompt, text, ids)
    completion = Completion(text, [], ids, True, thought)
    assert (completion.answer, thought.ended) == (answer, ended)
    behind = text.partition("</think>")[2] if "</think>" in text else answer
    assert completion.answer_ids == tokenizer(behind)["input_ids"]  # a token is a byte


def test_rewards_of_a_training_see_the_answer_alone() -> None:
    """Thinking that is rewarded; an answer that never comes and is not told of."""
    reward, told = Recording(name="seen", calls=[]), {}
    reader = ThinkingReader(SPEC, PLAIN)
    function = RewardFunction(Scorer(reward), thinking=reader)
    texts: list[Any] = ["<think>a</think>bc", "<think>a", "d", "ef"]
    rewards = function(["p"] * 4, texts, log_metric=told.__setitem__, trainer_state=None)
    assert rewards == [2.0, 0.0, 1.0, 2.0] and reward.calls[0][1] == ["bc", "", "d", "ef"]
    assert told["rollout/thinking_unfinished"] == 0.25
    whole = RewardFunction(Scorer(Recording(name="seen", calls=[])))
    assert whole(["p"], texts[:1], log_metric=told.__setitem__) == [18.0]


class Lengths:
    """Scores by the characters that it is shown."""

    scores_anything = True

    def score(self, prompts: Any, completions: Any, columns: Any) -> Scores:
        return Scores([float(len(text)) for text in completions], {})


def test_evaluations_measure_the_answer_and_show_the_whole(tmp_path: Path) -> None:
    """Length, reward or diversity of the thinking in a card; KL without it; a sample cut short."""
    policy = policy_of(TinyPolicy(), tmp_path)
    spec = spec_of("eval.prompts=6", "eval.completions=8", "eval.max_completion_length=16").eval
    rows = [{"prompt": f"w{place} w5"} for place in range(3, 9)]

    def evaluated() -> Evaluation:
        return evaluate(policy, rows, Lengths(), [], spec, trained=False, grammatical=None)

    whole = evaluated()
    words = Counter(word for sample in whole.samples for word in sample.completion.split())
    (end, _), (start, _) = Counter(
        {word: count for word, count in words.items() if len(word) == 3}  # w1 begins w12
    ).most_common(2)
    thinking = ThinkingSpec(start=start, end=end, in_rewards=False)
    policy.spec = policy.spec.model_copy(update={"thinking": thinking})
    seen = evaluated()
    completions = chain.from_iterable(sample_completions(policy, rows, spec))
    for sample, other, completion in zip(seen.samples, whole.samples, completions, strict=True):
        before, marker, behind = sample.completion.partition(end)
        answer = behind.lstrip() if marker else "" if start in before else before
        assert (sample.completion, sample.final_answer) == (other.completion, answer)
        assert (sample.reward, other.reward) == (len(answer), len(other.completion))
        never = start in before and not marker
        written = [
            policy.tokenizer.decode(completion.token_ids[:count], skip_special_tokens=True)
            for count in range(len(completion.token_ids) + 1)
        ]
        thought = next((count for count, text in enumerate(written) if end in text), 0)
        assert sample.length == (0 if never else len(completion.token_ids) - thought)
        assert sample.tokens == other.length == other.tokens
        assert sample.thought is not None and sample.thought.ended != never
    unfinished = [not sample.thought.ended for sample in seen.samples if sample.thought]
    assert 0 < seen.metrics["thinking_unfinished"] == sum(unfinished) / len(whole.samples) < 1
    assert "thinking_unfinished" not in whole.metrics
    for name in ("kl", "kl_sequence", "reference_perplexity"):
        assert seen.metrics[name] == whole.metrics[name]
    assert seen.metrics["length"] < whole.metrics["length"]


def test_the_metric_belongs_to_runs_that_keep_thinking_out() -> None:
    """A line in each card that is always empty, or none where it matters."""
    assert "thinking_unfinished" not in applying(spec_of())
    assert "thinking_unfinished" in applying(spec_of("model.thinking.in_rewards=false"))


def test_samples_and_drafts_come_back_with_their_thinking(tmp_path: Path) -> None:
    """An evaluation read again, or answers of a killed run, that forget what was kept out."""
    thought = Thought(9, 3, True)
    sample = Sample("p", "<t>a</t> b", 1.0, {}, 2, True, None, thought=thought)
    assert Sample.from_dict(json.loads(json.dumps(asdict(sample)))) == sample
    assert sample_row(sample)["thinking_unfinished"] == 0.0
    assert "thinking_unfinished" not in sample_row(Sample("p", "b", 1.0, {}, 2, True, None))
    group = [Completion("<t>a</t> b", [1], [2, 3], True, thought), Completion("b", [1], [4], False)]
    draft = AnswerDraft(tmp_path / "draft")
    draft.append([group])
    assert draft.read(1) == [group]
    draft.path.write_text('{"prompt_ids": [1], "answers": [["b", [4], false]]}\n')
    assert draft.read(1) == [group[1:]]  # of before thinking was told apart


def test_an_end_that_decoding_leaves_out_is_refused(tmp_path: Path) -> None:
    """Every answer empty, since no text shows where the thinking ends."""
    byte_tokenizer(HYBRID).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    thinking = ThinkingSpec(start="<think>", end="<|im_end|>", in_rewards=False)
    model = spec_of().model.model_copy(update={"thinking": thinking})
    with pytest.raises(UserError, match="a special token"):
        load_tokenizer(model, tmp_path)
