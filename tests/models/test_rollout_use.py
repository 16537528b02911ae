"""Rollouts where they are used: a policy's completions, and GRPO."""

from pathlib import Path
from typing import Any

import pytest
import torch
from runs import spec_of
from tiny_policy import END, WORDS, TinyPolicy

from rlexp.algos.common.trl import Training
from rlexp.models.policy import Policy
from rlexp.models.sampling.rollout import Rollout
from rlexp.spec.errors import UserError
from rlexp.spec.reward import RewardSpec


def policy_of(tiny: TinyPolicy) -> Policy:
    spec = spec_of().model
    return Policy(tiny.model, tiny.tokenizer, Path(), spec, False, None, 1.0, [])


def test_each_prompt_gets_its_own_answers():
    """Catches answers that are handed back in the order of lengths: almost without temperature,
    an answer is the likeliest continuation of its prompt."""
    tiny = TinyPolicy()
    policy = policy_of(tiny)
    prompts = [" ".join(WORDS[3 + i : 3 + i + 1 + (i * 5) % 7]) for i in range(9)]
    how: dict[str, Any] = dict(completions=2, max_new_tokens=8, seed=3, batch_size=4)
    groups = policy.complete(prompts, temperature=1e-4, **how)
    for prompt, answers in zip(prompts, groups, strict=True):
        ids = tiny.tokenizer(prompt)["input_ids"]
        whole = tiny.model.generate(
            torch.tensor([ids]),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=END,
            pad_token_id=0,
        )
        wanted = whole[0, len(ids) :].tolist()
        for answer in answers:
            assert (answer.prompt_ids, answer.token_ids) == (ids, wanted)
            assert answer.text == tiny.tokenizer.decode(wanted, skip_special_tokens=True)
            assert answer.ended == (END in wanted)
    assert policy.complete(prompts, temperature=1.0, **how) == policy.complete(
        prompts, temperature=1.0, **how
    )


class Recording(RewardSpec):
    """Rewards long answers, and keeps what it was called with."""

    calls: list[tuple[Any, Any]]

    def __call__(self, prompts, completions, **columns):
        self.calls.append((prompts, completions))
        return [float(len(str(answer))) for answer in completions]


def test_grpo_trains_on_these_answers(tmp_path, monkeypatch):
    """Catches answers that go to other prompts than theirs, groups that are torn or sampled twice,
    a conversation that bypasses the chat template, and knobs that do not reach the sampling."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    tiny, reward = TinyPolicy(), Recording(name="long", calls=[])
    template = "{% for message in messages %}{{ message['content'] }} w40 {% endfor %}w41"
    tiny.tokenizer.chat_template = template
    policy, rollouts = policy_of(tiny), []
    sampling = policy.roll_out

    def recorded(prompts: Any, **how: Any) -> Rollout:
        rollouts.append((how, sampling(prompts, **how)))
        return rollouts[-1][1]

    monkeypatch.setattr(policy, "roll_out", recorded)
    changes = ["max_completion_length=6", "temperature=0.5", "top_k=7", "top_p=0.9", "beta=0"]
    spec = spec_of(
        *["algo=grpo", "train.batch_size=8", "train.max_steps=2", "algo.num_generations=4"],
        *["train.micro_batch_size=4", "hardware=cpu", *(f"algo.{change}" for change in changes)],
    )
    spec = spec.model_copy(update={"reward": reward})
    rows = [{"prompt": [{"role": "user", "content": f"w{i} w{i + 9}"}]} for i in range(8)]
    trainer = spec.algo.build_trainer(Training(spec, policy, rows, tmp_path, False, []))
    trainer.train()
    assert len(rollouts) == len(reward.calls) == 2
    for (how, rollout), (prompts, completions) in zip(rollouts, reward.calls, strict=True):
        assert how == dict(max_new_tokens=6, temperature=0.5, top_k=7, top_p=0.9)
        texts: list[Any] = [prompt[0]["content"] for prompt in prompts]
        assert texts == [text for text in texts[::4] for _ in range(4)] and len(set(texts)) == 2
        assert rollout.prompts() == policy.encode([f"{text} w40 w41" for text in texts])
        decoded = tiny.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
        assert [answer[0]["content"] for answer in completions] == decoded


def test_sampling_options_of_trl_are_not_lost():
    """Catches a `min_p` that the user gave and that nothing heeds."""
    spec_of("algo=grpo", "algo.rollout=transformers", "+algo.trl.min_p=0.1")
    with pytest.raises(UserError, match=r"wants algo\.rollout=transformers") as caught:
        spec_of("algo=grpo", "+algo.trl.min_p=0.1")
    assert [problem.key for problem in caught.value.problems] == ["algo.trl.min_p"]
