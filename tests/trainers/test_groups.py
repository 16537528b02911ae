"""Groups of answers in PPO and REINFORCE, where a plain training finds nothing to learn."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from on_policy import (
    SmallPolicy,
    answer_log_probs,
    ppo_config,
    reinforce_config,
    sample_rollouts,
    save_gpt2,
    save_model,
    trainer_inputs,
)
from torch import Tensor

from rlexp.algos.common.reward_function import RewardFunction
from rlexp.scoring import Scorer
from rlexp.spec.reward import RewardSpec, Term
from rlexp.trainers.ppo import PpoTrainer
from rlexp.trainers.reinforce import ReinforceTrainer
from rlexp.trainers.rollouts import TrainerInputs

WORDS = ["a", "b", "c", "d"]
FIRST_WORD = 3
IDLE = tuple(f"p {' '.join(words)}" for words in itertools.product("abc", repeat=3))
TAUGHT = "p d"
Kind = Literal["ppo", "reinforce"]


def trainer_of(kind: Kind, inputs: TrainerInputs, **options: Any) -> Any:
    if kind == "ppo":
        return PpoTrainer(inputs, ppo_config(beta=0.0, critic_learning_rate=1e-2, **options), None)
    return ReinforceTrainer(inputs, reinforce_config("leave_one_out", 0.0, **options))


def first_words(model: Any, prompt: list[int]) -> Tensor:
    """Probabilities of the first word of an answer, in float64; (4,)."""
    with torch.no_grad():
        logits = model.eval()(torch.tensor([prompt])).logits[0, -1].double()
    return logits.softmax(-1)[FIRST_WORD:]


def pays_for_one_prompt(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    return [
        float(prompt == TAUGHT and answer.startswith("a"))
        for prompt, answer in zip(prompts, completions, strict=True)
    ]


def pays_by_length(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    return [float(len(text)) for text in completions]


def one_prompt_in_many(tmp_path: Path, kind: Kind, attempts: int, steps: int = 12) -> Any:
    """A trainer of two prompts a step, of which one in 28 can teach anything."""
    torch.manual_seed(0)
    inputs = trainer_inputs(
        SmallPolicy(save_model(tmp_path / "model", WORDS)),
        pays_for_one_prompt,
        output=tmp_path / "out",
        max_new_tokens=1,
        steps=steps,
        batch=16,
        generations=8,
        prompts=(*IDLE, TAUGHT),
        save_strategy="steps",
        save_steps=2,
        lr_scheduler_type="constant",
    )
    return trainer_of(kind, replace(inputs, attempts=attempts))


@pytest.mark.parametrize("kind", ["ppo", "reinforce"])
def test_what_few_prompts_teach_is_learnt(kind: Kind, tmp_path: Path) -> None:
    """Steps on groups that all earn the same, one after the other; answers of the replaced rows
    rewarded or trained on as those of others."""
    gains = {}
    for attempts in (0, 16):
        trainer = one_prompt_in_many(tmp_path / str(attempts), kind, attempts)
        trainer.state.max_steps = 4
        prompt = trainer.policy.tokenizer(TAUGHT)["input_ids"]
        before = first_words(trainer.model, prompt)[0]
        trainer.train()
        gains[attempts] = float(first_words(trainer.model, prompt)[0] - before)
        logs = trainer.state.log_history
        if attempts:
            assert max(log["rollout/replaced_groups"] for log in logs) > 0
            assert all(log["rollout/discarded_tokens"] > 0 for log in logs)
            assert all(log["perf/resampling_seconds"] > 0 for log in logs)
            assert logs[-1]["num_tokens"] > sum(log["rollout/discarded_tokens"] for log in logs)
            assert logs[0]["frac_reward_zero_std"] < 1
    # (What a fresh critic errs by is the same for all words.)
    assert abs(gains[0]) < 0.05 and gains[16] > 0.2, gains


def test_dynamic_sampling_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Other spare rows, or random numbers that they draw, after a stop."""
    whole = one_prompt_in_many(tmp_path, "reinforce", 3, steps=4)
    whole.train()
    torch.manual_seed(77)
    resumed = one_prompt_in_many(tmp_path, "reinforce", 3, steps=4)
    resumed.train(resume_from_checkpoint=tmp_path / "out" / "checkpoint-2")
    told = [
        json.dumps(
            [
                {name: value for name, value in log.items() if not name.startswith("perf/")}
                for log in trainer.state.log_history
            ],
            sort_keys=True,
        )
        for trainer in (whole, resumed)
    ]
    assert told[0] == told[1] and "replaced" in told[0]
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weight), name


class Pays(RewardSpec):
    """What a word pays."""

    words: dict[str, float]

    def __call__(self, prompts: Any, completions: Any, **columns: Any) -> list[float]:
        return [self.words.get(text.strip(), 0.0) for text in completions]


class Cancels(RewardSpec):
    """Three terms whose sum is 0 for every answer."""

    scale: Literal["none", "group"]

    def terms_by_name(self) -> dict[str, Term]:
        terms = {"x": {"a": 1.0}, "y": {"a": -1.0, "b": 1.0}, "z": {"b": -1.0}}
        return {
            name: Term(Pays(name=name, words=words), normalize=self.scale)
            for name, words in terms.items()
        }


@pytest.mark.parametrize("kind", ["ppo", "reinforce"])
def test_terms_that_cancel_teach_where_each_has_its_own_scale(kind: Kind, tmp_path: Path) -> None:
    """A sum taken before the scale, which no plain training learns anything from."""
    after = {}
    for scale in ("none", "group"):
        torch.manual_seed(0)
        policy = SmallPolicy(save_model(tmp_path / scale, WORDS))
        before = first_words(policy.model, [2])
        reward = RewardFunction(Scorer(Cancels(name="cancels", scale=scale)))
        inputs = trainer_inputs(
            policy,
            reward.draw,
            output=tmp_path / "out",
            max_new_tokens=1,
            steps=6,
            batch=64,
            generations=16,
            prompts=("p",),
        )
        inputs = replace(inputs, whiten=reward.scorer.whiten_totals)
        options = {"whiten_advantages": False} if kind == "ppo" else {}
        trainer = trainer_of(kind, inputs, **options)
        trainer.train()
        after[scale] = first_words(trainer.model, [2]) - before
        assert trainer.state.log_history[-1].get("rollout/weighted_sum", 0.0) == 0.0
    flat, seen = after["none"], after["group"]
    # (A fresh critic errs, though never of one word more than of another by what it earns.)
    assert flat.abs().max() < (0.02 if kind == "ppo" else 1e-9)
    assert seen[0] > 0.05 and seen[1] < -0.02


def test_cut_answers_are_left_out_of_the_losses(tmp_path: Path) -> None:
    """A mask that the critic's loss, the whitening or the count of tokens does not have."""
    torch.manual_seed(0)
    policy = SmallPolicy(save_gpt2(tmp_path / "model", WORDS))
    inputs = trainer_inputs(
        policy, pays_by_length, output=tmp_path / "out", max_new_tokens=3, batch=32
    )
    trainer = trainer_of("ppo", inputs, mask_truncated_completions=True)
    rows = [{"prompt": "p a"}] * 32
    rollouts, _ = sample_rollouts(policy, rows, inputs.sampling, pays_by_length)
    assert 2 < int(rollouts.ended.sum()) < 30
    trainer.disable_dropout()
    experience, _ = trainer.compute_experience(rollouts)
    whole, ended = torch.arange(32), rollouts.ended.nonzero()[:, 0]
    mask = rollouts.sequences.mask
    tokens = mask[ended].sum()
    losses = [trainer.loss(experience, index, tokens)[0] for index in (whole, ended)]
    torch.testing.assert_close(losses[0], losses[1])
    kept = experience.advantages[ended][mask[ended] > 0]
    assert kept.mean().abs() < 1e-5 and kept.std(correction=0) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", ["ppo", "reinforce"])
def test_nothing_is_learnt_where_all_are_cut(kind: Kind, tmp_path: Path) -> None:
    """A division by no tokens: NaN in all weights."""
    torch.manual_seed(0)
    policy = SmallPolicy(save_model(tmp_path / "model", WORDS))
    inputs = trainer_inputs(
        policy,
        pays_by_length,
        output=tmp_path / "out",
        max_new_tokens=2,
        batch=8,
        generations=4,
        prompts=("p", "p a"),
    )
    option = {"mask": True} if kind == "reinforce" else {"mask_truncated_completions": True}
    trainer = trainer_of(kind, inputs, **option)
    rollouts, _ = sample_rollouts(policy, [{"prompt": "p"}] * 8, inputs.sampling, inputs.reward)
    before = answer_log_probs(policy.model, 2, [(3, 4)])
    trainer.update_policy(replace(rollouts, ended=torch.zeros(8, dtype=torch.bool)))
    assert torch.equal(answer_log_probs(policy.model, 2, [(3, 4)]), before)
