"""PPO and REINFORCE against optima that are known exactly.

The policy that maximises E[r] - beta KL(policy || reference) over whole answers is
reference(y) exp(r(y) / beta) / Z. On a small vocabulary all answers can be listed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from on_policy import (
    END,
    SPECIAL,
    SmallPolicy,
    all_answers,
    answer_log_probs,
    divergence,
    ppo_config,
    reinforce_config,
    save_model,
    trainer_inputs,
)
from transformers import AutoModelForCausalLM

from rlexp.trainers.ppo import PpoTrainer
from rlexp.trainers.reinforce import ReinforceTrainer

ARMS = {"a0": 0.0, "a1": 0.1, "a2": 0.25, "a3": 0.4, "a4": 0.5, "a5": 0.65, "a6": 0.8, "a7": 1.0}
TREE = {"a b": 1.0, "b": 0.6, "b b": -0.5, "": 0.2}
"""Worth of whole answers: the first word alone decides nothing, and an end costs or earns."""
PENALTY = 0.4
"""For an answer of the tree that was cut."""


def bandit_reward(prompts: Any, completions: Any, **columns: Any) -> list[float]:
    return [ARMS.get(text.strip(), -1.0) for text in completions]


def tree_reward(prompts: Any, completions: Any, **columns: Any) -> list[float]:
    return [TREE.get(text.strip(), 0.0) for text in completions]


def distance(policy: SmallPolicy, longest: int, reward: Any, penalty: float, beta: float) -> float:
    """KL(policy || optimum) in nats over all answers, exactly."""
    answers = all_answers(policy.model.config.vocab_size, longest)
    texts = policy.tokenizer.batch_decode(answers, skip_special_tokens=True)
    rewards = torch.tensor(reward(None, texts), dtype=torch.float64)
    rewards -= penalty * torch.tensor([answer[-1] != END for answer in answers])
    start = AutoModelForCausalLM.from_pretrained(policy.folder)
    prompt = SPECIAL.index("p")
    with torch.no_grad():
        optimum = (answer_log_probs(start, prompt, answers) + rewards / beta).log_softmax(0)
        return divergence(answer_log_probs(policy.model, prompt, answers), optimum)


@pytest.mark.parametrize(
    ("baseline", "beta"),
    [
        ("leave_one_out", 0.1),
        pytest.param("none", 0.3, marks=pytest.mark.long),
        pytest.param("moving_average", 0.3, marks=pytest.mark.long),
        pytest.param("moving_average", 0.1, marks=pytest.mark.long),
    ],
)
@pytest.mark.slow
def test_reinforce_finds_the_bandits_optimum(tmp_path: Path, baseline: Any, beta: float) -> None:
    """A KL penalty of another strength or direction, a biased baseline, a gradient of another
    quantity: each ends at another distribution."""
    policy = SmallPolicy(save_model(tmp_path, list(ARMS)))
    started = distance(policy, 1, bandit_reward, 0.0, beta)
    torch.manual_seed(0)
    inputs = trainer_inputs(
        policy,
        bandit_reward,
        output=tmp_path / "out",
        max_new_tokens=1,
        steps=200,
        generations=64 if baseline == "leave_one_out" else 1,
        rate=5e-3,
    )
    ReinforceTrainer(inputs, reinforce_config(baseline, beta)).train()
    assert distance(policy, 1, bandit_reward, 0.0, beta) <= 0.02 < started / 10


@pytest.mark.parametrize("beta", [0.1, pytest.param(0.3, marks=pytest.mark.long)])
@pytest.mark.long
def test_ppo_finds_the_bandits_optimum(tmp_path: Path, beta: float) -> None:
    """The same for PPO: a penalty outside of the whitening, a clip that stops half way."""
    policy = SmallPolicy(save_model(tmp_path, list(ARMS)))
    torch.manual_seed(0)
    inputs = trainer_inputs(
        policy, bandit_reward, output=tmp_path / "out", max_new_tokens=1, steps=150, rate=5e-3
    )
    PpoTrainer(inputs, ppo_config(beta=beta), None).train()
    assert distance(policy, 1, bandit_reward, 0.0, beta) <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_ppo_finds_the_trees_optimum(tmp_path: Path, critic: str) -> None:
    """Credit that reaches only the last word; an end token that is not learned; a penalty for the
    missing end that falls on the wrong answers."""
    policy = SmallPolicy(save_model(tmp_path, ["a", "b"]))
    started = distance(policy, 3, tree_reward, PENALTY, 0.2)
    torch.manual_seed(0)
    body = AutoModelForCausalLM.from_pretrained(tmp_path).model if critic == "separate" else None
    inputs = trainer_inputs(
        policy, tree_reward, output=tmp_path / "out", max_new_tokens=3, steps=200, rate=3e-3
    )
    PpoTrainer(inputs, ppo_config(beta=0.2, missing_end_penalty=PENALTY), body).train()
    assert distance(policy, 3, tree_reward, PENALTY, 0.2) <= 0.05 < started / 10


@pytest.mark.slow
def test_reinforce_finds_the_trees_optimum(tmp_path: Path) -> None:
    """A loss that forgets the end token, or credits one word only."""
    policy = SmallPolicy(save_model(tmp_path, ["a", "b"]))
    torch.manual_seed(0)
    inputs = trainer_inputs(
        policy, tree_reward, output=tmp_path / "out", max_new_tokens=3, steps=200, rate=3e-3
    )
    ReinforceTrainer(inputs, reinforce_config("moving_average", 0.2)).train()
    assert distance(policy, 3, tree_reward, 0.0, 0.2) <= 0.05
