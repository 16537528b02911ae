"""What a reinforcement learning run refuses before it begins, and what it ends with when it breaks.

Folders of models are written by hand: a mistake has to be found without loading weights.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import SMALL, run_here, spec_of
from safetensors.numpy import load_file, save_file
from test_command_line import typed
from test_rollout_generate import policy_of
from tiny_policy import TinyPolicy

from rlexp.algos.base import Training
from rlexp.callbacks import StopOnNaN
from rlexp.divergence import check_numbers
from rlexp.models import tiny
from rlexp.spec.errors import RunFailed
from rlexp.spec.reward import RewardSpec

QWEN = "Qwen2ForCausalLM"
SCORER = "Qwen2ForSequenceClassification"
ONE_OUTPUT = {"id2label": {"0": "LABEL_0"}}


def model_folder(
    folder: Path,
    architecture: str,
    *,
    pieces: int = 8,
    weights: str = "model.embed_tokens.weight",
    tokenizer: bool = True,
    **config: Any,
) -> Path:
    """What save_pretrained leaves, as far as somebody who does not load it can see."""
    folder.mkdir()
    written = {"architectures": [architecture], "vocab_size": 8, **config}
    (folder / "config.json").write_text(json.dumps(written), encoding="utf-8")
    save_file({weights: np.zeros(2, np.float32)}, folder / "model.safetensors")
    if tokenizer:
        vocabulary = {f"piece{index}": index for index in range(pieces)}
        content = {"model": {"vocab": vocabulary}, "added_tokens": []}
        (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def reward(folder: Path, architecture: str, **about: Any) -> list[str]:
    made = model_folder(folder / "scorer", architecture, **{**ONE_OUTPUT, **about})
    return ["reward=model", f"reward.path={made}"]


def critic(folder: Path, architecture: str, **about: Any) -> list[str]:
    made = model_folder(folder / "critic", architecture, **about)
    policy = model_folder(folder / "policy", QWEN)
    asked = ["algo=ppo", "algo.critic=separate", f"algo.critic_path={made}"]
    return [*asked, "model=local", f"model.path={policy}"]


def teacher_of_another_family(folder: Path) -> list[str]:
    policy = model_folder(folder / "policy", QWEN)
    made = model_folder(folder / "teacher", QWEN, pieces=7)
    return ["algo=distill", f"algo.teacher={made}", "model=local", f"model.path={policy}"]


def prompts_alone(folder: Path) -> list[str]:
    file = folder / "prompts.jsonl"
    lines = [json.dumps({"prompt": f"Question {index}"}) for index in range(20)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return ["data=file", f"data.path={file}", "reward=length"]


Arguments = Callable[[Path], list[str]]

MISTAKES: dict[str, tuple[Arguments, list[str]]] = {
    "a policy as reward": (
        lambda folder: reward(folder, QWEN),
        ["reward.path", f"a {QWEN}", "algo=reward"],
    ),
    "a reward of two classes": (
        lambda folder: reward(folder, SCORER, id2label={"0": "bad", "1": "good"}),
        ["reward.path", "2 classes"],
    ),
    "a reward whose head was never trained": (
        lambda folder: reward(folder, SCORER),
        ["reward.path", "no head", "random rewards"],
    ),
    "a reward with another model's tokenizer": (
        lambda folder: reward(folder, SCORER, weights="score.weight", pieces=9),
        ["reward.path", "embeds 8", "Save the two together"],
    ),
    "a reward without a tokenizer": (
        lambda folder: reward(folder, SCORER, weights="score.weight", tokenizer=False),
        ["reward.path", "without a tokenizer", "save_pretrained"],
    ),
    "a critic with another tokenizer": (
        lambda folder: critic(folder, SCORER, pieces=7),
        ["algo.critic_path", "of whose 7 tokens 7 are the policy's 8", "algo.critic_path=null"],
    ),
    "a critic that reads both ways": (
        lambda folder: critic(folder, "T5ForConditionalGeneration", is_encoder_decoder=True),
        ["algo.critic_path", "a T5ForConditionalGeneration", "a decoder"],
    ),
    "a critic that is not there": (
        lambda folder: ["algo=ppo", "algo.critic=separate", "algo.critic_path=./no/where"],
        ["algo.critic_path", "not there"],
    ),
    "a critic's folder for a shared one": (
        lambda folder: ["algo=ppo", "algo.critic_path=./no/where"],
        ["algo.critic_path", "critic=separate"],
    ),
    "a teacher of another family": (
        teacher_of_another_family,
        ["algo.teacher", "of whose 7 tokens 7", "sft on texts"],
    ),
    "a KL to aim at without a reference": (
        lambda folder: ["algo=ppo", "algo.kl_target=6", "algo.beta=0"],
        ["algo.beta", "kl_target", "algo.kl_target=null"],
    ),
    "a reference that follows and is not there": (
        lambda folder: ["algo=rloo", "algo.beta=0", "+algo.trl.sync_ref_model=true"],
        ["algo.trl.sync_ref_model", "algo.beta=0, which loads no reference", "algo.beta=0.05"],
    ),
    "a reference that is the policy itself": (
        lambda folder: ["algo=grpo", "peft=lora", "+algo.trl.sync_ref_model=true"],
        ["algo.trl.sync_ref_model", "without its adapter", "peft=none"],
    ),
    "groups that do not fill the batch": (
        lambda folder: ["algo=rloo", "algo.num_generations=7"],
        ["algo.num_generations", "64", "8 is the nearest"],
    ),
    "prompts that do not fill the batch": (
        lambda folder: ["algo=reinforce", "algo.num_generations=7"],
        ["algo.num_generations", "a divisor of the 64", "8 is the nearest"],
    ),
    "minibatches that do not fill the batch": (
        lambda folder: ["algo=ppo", "algo.minibatches=7"],
        ["algo.minibatches", "8 is the nearest"],
    ),
    "prompts for an algorithm that imitates": (
        lambda folder: ["algo=sft", *prompts_alone(folder)],
        ["data: got", "holds prompts", "demonstrations"],
    ),
    "vLLM that is not installed": (
        lambda folder: ["algo=online_dpo", "algo.rollout=vllm", "hardware=cpu"],
        ["algo.rollout", "not installed", "pip install 'rlexp[vllm]'", "NVIDIA GPU"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_refused_before_torch_is_imported(mistake: str, tmp_path: Path) -> None:
    """A mistake that ends in a traceback, in the middle of a run, or in a meaningless run."""
    arguments, told = MISTAKES[mistake]
    done = typed(*arguments(tmp_path), folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert [words for words in told if words not in done.stderr] == [], done.stderr
    assert not (tmp_path / "outputs").exists()


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


GROUPS = {"grpo": ["algo.num_generations=4"], "rloo": ["algo.num_generations=4"]}


@pytest.mark.parametrize("how", ["nan", "raise"])
@pytest.mark.parametrize("algo", ["grpo", "rloo", "online_dpo", "ppo", "reinforce"])
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


@pytest.mark.parametrize("algo", ["grpo", "rloo", "ppo", "reinforce"])
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


@pytest.mark.parametrize("algo", ["grpo", "rloo", "online_dpo", "ppo", "reinforce"])
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


def test_a_critic_that_fits_is_taken(tmp_path: Path) -> None:
    """A critic's weights that are named and not read, or a fitting one that is refused."""
    one_step = ["train.max_steps=1", "eval.prompts=4", "eval.texts=4"]
    asked = ["algo=ppo", "algo.critic=separate", f"algo.critic_path={tiny.ensure()}"]
    run_here(tmp_path / "run", *SMALL, *one_step, *asked)
    card = json.loads((tmp_path / "run" / "card.json").read_text(encoding="utf-8"))
    assert card["status"] == "FINISHED"
    broken = tmp_path / "broken"
    shutil.copytree(tiny.ensure(), broken)
    weights = load_file(broken / "model.safetensors")
    save_file({name: w * np.nan for name, w in weights.items()}, broken / "model.safetensors")
    with pytest.raises(RunFailed, match="became nan"):
        run_here(tmp_path / "nan", *SMALL, *one_step, *asked, f"algo.critic_path={broken}")
