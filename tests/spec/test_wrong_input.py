"""What a reinforcement learning run refuses before it begins.

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
from runs import SMALL, run_here
from safetensors.numpy import load_file, save_file
from typed_commands import typed

from rlexp.builtin import tiny
from rlexp.spec.errors import RunFailed

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
        lambda folder: ["algo=rloo", "algo.beta=0", "algo.sync_reference=5"],
        ["algo.sync_reference", "algo.beta=0, which loads no reference", "algo.beta=0.05"],
    ),
    "a reference that is the policy itself": (
        lambda folder: ["algo=grpo", "peft=lora", "algo.sync_reference=5"],
        ["algo.sync_reference", "without its adapter", "peft=none"],
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


def test_a_critic_that_fits_is_taken(tmp_path: Path) -> None:
    """A critic's weights that are named and not read, or a fitting one that is refused."""
    one_step = ["train.max_steps=1", "eval.prompts=4", "eval.texts=4"]
    asked = ["algo=ppo", "algo.critic=separate", f"algo.critic_path={tiny.ensure_tiny_model()}"]
    run_here(tmp_path / "run", *SMALL, *one_step, *asked)
    card = json.loads((tmp_path / "run" / "card.json").read_text(encoding="utf-8"))
    assert card["status"] == "FINISHED"
    broken = tmp_path / "broken"
    shutil.copytree(tiny.ensure_tiny_model(), broken)
    weights = load_file(broken / "model.safetensors")
    save_file({name: w * np.nan for name, w in weights.items()}, broken / "model.safetensors")
    with pytest.raises(RunFailed, match="became nan"):
        run_here(tmp_path / "nan", *SMALL, *one_step, *asked, f"algo.critic_path={broken}")
