"""What a reinforcement learning run ends with when its reward, its KL or its policy breaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import SMALL, run_here, spec_of
from tiny_policy import TinyPolicy, policy_of

from rlexp.algos.common.trl import Training
from rlexp.guards.divergence import check_numbers
from rlexp.runner.callbacks import StopOnNaN
from rlexp.spec.errors import RunFailed
from rlexp.spec.reward import RewardSpec


class Breaking(RewardSpec):
    """Rewards length, until it breaks at one sample of one call."""

    at: tuple[int, int]
    how: str
    batches: list[Any]

    def __call__(self, prompts, completions, **columns):
        if len(completions) > 1:  # not one alone, to find which it was
            self.batches.append(completions)
        call, sample = self.at
        values = [float(len(str(answer))) for answer in completions]
        if len(self.batches) != call:
            return values
        if self.how == "raise" and self.batches[-1][sample] in completions:
            raise ZeroDivisionError("no words")
        return [float("nan") if i == sample else value for i, value in enumerate(values)]


def training_of(
    algo: str, reward: RewardSpec, folder: Path, *more: str, policy: TinyPolicy | None = None
) -> Any:
    spec = spec_of(
        *[f"algo={algo}", "train.batch_size=8", "train.max_steps=6", "hardware=cpu"],
        *["algo.max_completion_length=6", "algo.temperature=1", *more],
    )
    spec = spec.model_copy(update={"reward": reward})
    whole = policy_of(policy or TinyPolicy(), folder / "model")
    rows = [{"prompt": f"w{i} w{i + 9}"} for i in range(8)]
    training = Training(spec, whole, rows, folder / "checkpoints", False, [StopOnNaN()])
    return spec.algo.build_trainer(training)


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a run has it: TRL's word on experimental parts would be an error here."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


RLOO, ONLINE = (pytest.param(algo, marks=pytest.mark.long) for algo in ("rloo", "online_dpo"))
"""Their rewards break in the same code of TRL's as GRPO's, but for a line."""
GROUPS = {"grpo": ["algo.num_generations=4"], "rloo": ["algo.num_generations=4"]}


@pytest.mark.parametrize("how", ["nan", "raise"])
@pytest.mark.parametrize("algo", ["grpo", RLOO, ONLINE, "ppo", "reinforce"])
@pytest.mark.long
def test_a_reward_that_breaks_is_told_with_step_and_sample(
    algo: str, how: str, tmp_path: Path
) -> None:
    """A training on NaN, and a traceback that names neither the step nor the text."""
    reward = Breaking(name="fragile", at=(2, 5), how=how, batches=[])
    trainer = training_of(algo, reward, tmp_path, *GROUPS.get(algo, []))
    with pytest.raises(RunFailed) as caught:
        trainer.train()
    assert "at step 2" in caught.value.what and "the prompt 'w" in caught.value.what
    assert ("sample 5" in caught.value.what) or how == "raise"  # an equal text may stand before it
    assert ("gave nan" if how == "nan" else "raised ZeroDivisionError: no words") in str(
        caught.value
    )


@pytest.mark.parametrize("algo", ["grpo", RLOO, "ppo", "reinforce"])
def test_a_kl_that_explodes_ends_the_training(algo: str, tmp_path: Path) -> None:
    """A run that goes on with a policy that is lost, and a checkpoint of it."""
    sharp = TinyPolicy()
    with torch.no_grad():
        sharp.model.lm_head.weight *= 20  # what the reference does not say it rules out
    reward = Breaking(name="long", at=(0, 0), how="never", batches=[])
    wild = ["algo.learning_rate=1", "train.checkpoint_every=1", *GROUPS.get(algo, [])]
    trainer = training_of(algo, reward, tmp_path, *wild, policy=sharp)
    with pytest.raises(RunFailed, match=r"kl became \S+ nats a token, .* at step \d") as caught:
        trainer.train()
    assert "algo.beta" in caught.value.remedy
    step = int(caught.value.what.rsplit(" ", 1)[1])
    assert not (tmp_path / "checkpoints" / f"checkpoint-{step}").exists()


@pytest.mark.parametrize("algo", ["grpo", RLOO, ONLINE, "ppo", "reinforce"])
@pytest.mark.slow
def test_a_policy_that_has_become_nan_is_told(algo: str, tmp_path: Path) -> None:
    """An index error in the sampling, or answers that are made of nothing."""
    reward = Breaking(name="long", at=(0, 0), how="never", batches=[])
    wild = ["algo.learning_rate=1e20", *GROUPS.get(algo, [])]
    trainer = training_of(algo, reward, tmp_path, *wild)
    with pytest.raises(RunFailed, match=r"became nan|not finite") as caught:
        trainer.train()
    assert "algo.learning_rate" in caught.value.remedy


def test_which_number_is_told() -> None:
    """A KL that explodes told as a loss; a KL of another scale (KTO's) that ends a sound run."""
    nan, inf = float("nan"), float("inf")
    for logs, told, knob in (
        ({"loss": nan, "kl": inf, "reward": 1.0}, "kl became inf at step 7", "algo.beta"),
        ({"loss": 1.0, "kl": 21.0, "reward": 1.0}, "kl became 21 nats", "algo.beta"),
        ({"loss": inf, "ratio": inf}, "ratio became inf", "algo.early_stop_kl"),
        ({"loss": 0.1, "grad_norm": nan}, "grad_norm became nan", "train.warmup_steps"),
    ):
        with pytest.raises(RunFailed, match=told) as caught:
            check_numbers(logs, 7)
        assert knob in caught.value.remedy
    check_numbers({"loss": 0.1, "kl": 500.0}, 7)
    check_numbers({"loss": 0.1, "kl": 19.0, "reward": -3.0, "ratio": 1.2}, 7)


def test_such_a_run_ends_failed_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed run that its card or its tracking calls finished."""
    (tmp_path / "nan_once.py").write_text(
        "calls = []\n\n\ndef score(prompts, completions):\n"
        "    calls.append(0)\n"
        "    values = [float(len(each)) for each in completions]\n"
        "    if len(prompts) == 16:  # of the training\n"
        "        values[3] = float('nan')\n"
        "    return values\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunFailed, match=r"sample 3.*at step 1"):
        words = ["algo=rloo", "reward=python", "reward.function=nan_once:score"]
        run_here(tmp_path / "run", *SMALL, *words)
    card = json.loads((tmp_path / "run" / "card.json").read_text(encoding="utf-8"))
    assert card["status"] == "FAILED"
    assert "at step 1" in "".join(card["notes"])
