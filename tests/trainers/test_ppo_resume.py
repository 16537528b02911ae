"""Trainings that are killed go on as if nothing had happened; several processes are as one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from on_policy import (
    SmallPolicy,
    ppo_config,
    reinforce_config,
    sample_rollouts,
    save_gpt2,
    trainer_inputs,
)
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModel, TrainerCallback

from rlexp.runtime.paths import CONF
from rlexp.trainers.ppo import PpoTrainer
from rlexp.trainers.reinforce import ReinforceTrainer
from rlexp.trainers.rollouts import Rollouts

STEPS, KILLED_AFTER = 5, 3
KINDS = ("shared", "separate", "reinforce")
PROMPTS = ("p", "p a b", "p b", "p c", "p d d")


def reward(prompts: Any, completions: Any, **columns: Any) -> list[float]:
    return [text.count("a") - 0.3 * text.count("b") for text in completions]


class Kill(TrainerCallback):
    """The machine goes down in the middle of a step, after a checkpoint of the one before."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == KILLED_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)


def trainer_of(kind: str, models: Path, output: Path, *callbacks: Any, **options: Any) -> Any:
    """`separate` has LoRA adapters on both bodies, so that PEFT's way of saving is met too."""
    policy = SmallPolicy(models)
    body = None
    if kind == "separate":
        policy.model = get_peft_model(
            policy.model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")
        )
        body = get_peft_model(
            AutoModel.from_pretrained(models),
            LoraConfig(target_modules="all-linear", task_type="FEATURE_EXTRACTION"),
        )
    options = {"batch": 8, "steps": STEPS, "save_strategy": "steps", "save_steps": 1, **options}
    inputs = trainer_inputs(
        policy,
        reward,
        output=output,
        max_new_tokens=5,
        prompts=PROMPTS,
        callbacks=callbacks,
        **options,
    )
    if kind == "reinforce":
        return ReinforceTrainer(inputs, reinforce_config("moving_average", 0.1, 2))
    return PpoTrainer(inputs, ppo_config(kl_target=2.0, kl_horizon=100, minibatches=2), body)


def in_process_of_its_own(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(CONF.parent), str(Path(__file__).parent)])
    threads = str(torch.get_num_threads())  # another number rounds otherwise
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": threads, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    """Anything that a checkpoint forgets: moments, the schedule, random states, the order of the
    prompts, the adaptive coefficient, the moving average, the critic, a renewed reference."""
    models = save_gpt2(tmp_path / "models", ["a", "b", "c", "d"])
    killed = in_process_of_its_own("killed", kind, str(tmp_path))
    assert killed.wait(200) == -signal.SIGKILL
    torch.manual_seed(0)
    whole = trainer_of(kind, models, tmp_path / "whole")
    whole.train()
    checkpoint = tmp_path / "killed" / f"checkpoint-{KILLED_AFTER}"
    torch.manual_seed(77)  # what a fresh process would draw is no part of the training
    resumed = trainer_of(kind, models, tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=checkpoint)
    # As text, in which NaN equals NaN: a step at which no answer ended has no mean length.
    histories = [
        json.dumps(trainer.state.log_history, sort_keys=True) for trainer in (resumed, whole)
    ]
    assert histories[0] == histories[1]
    last = f"checkpoint-{STEPS}"
    for file in sorted((tmp_path / "whole" / last).glob("*.safetensors")):
        whole_weights, resumed_weights = (
            load_file(file),
            load_file(tmp_path / "resumed" / last / file.name),
        )
        assert whole_weights.keys() == resumed_weights.keys()
        assert all(
            torch.equal(whole_weights[name], resumed_weights[name]) for name in whole_weights
        ), file.name


def test_a_checkpoint_is_a_plain_model_folder(tmp_path: Path) -> None:
    """Weights that only this trainer can read, or anything that is unpickled."""
    models = save_gpt2(tmp_path / "models", ["a", "b"])
    trainer = trainer_of("shared", models, tmp_path / "out", steps=1)
    trainer.train()
    folder = tmp_path / "out" / "checkpoint-1"
    loaded = SmallPolicy(folder)
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], weight), name
    endings = {file.suffix for file in folder.iterdir()}
    assert endings <= {".safetensors", ".json"}


def fixed_rollouts(trainer: PpoTrainer) -> Rollouts:
    """The same for any number of processes."""
    torch.manual_seed(3)
    rows = [trainer.inputs.rows[i % len(PROMPTS)] for i in range(8)]
    return sample_rollouts(trainer.policy, rows, trainer.inputs.sampling, reward)[0]


def learn_from_fixed_rollouts(folder: Path, share: slice) -> dict[str, Any]:
    """The trained weights, and what was logged, in the mean over the processes."""
    torch.manual_seed(1)
    trainer = trainer_of(
        # Adam blows rounding up to whole steps where a gradient should be 0, so with an epsilon.
        "shared",
        folder / "models",
        folder / "out",
        micro=2,
        batch=len(range(8)[share]),
        adam_epsilon=1e-3,
    )
    whole = fixed_rollouts(trainer)
    rollouts = Rollouts(
        whole.sequences.rows(torch.arange(8)[share]), whole.scores[share], whole.ended[share]
    )
    trainer.disable_dropout()
    trainer.config = ppo_config(kl_target=2.0, kl_horizon=100)
    with trainer.policy.reference() as trainer.reference:
        seen = trainer._reduce_mean(trainer.update_policy(rollouts))
    weights = torch.cat([weight.flatten() for weight in trainer.actor_critic.parameters()])
    return {"weights": weights.tolist(), "seen": seen, "beta": trainer.extra_state["beta"]}


@pytest.mark.long
def test_two_processes_are_as_one(tmp_path: Path) -> None:
    """Advantages whitened, or losses averaged, in each process by itself; gradients that are not
    shared; a coefficient that each process adapts for itself."""
    save_gpt2(tmp_path / "models", ["a", "b", "c", "d"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [
        in_process_of_its_own("half", str(tmp_path), RANK=rank, LOCAL_RANK=rank, **together)
        for rank in ("0", "1")
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    alone = learn_from_fixed_rollouts(tmp_path, slice(None))
    halves = [json.loads((tmp_path / f"half-{rank}.json").read_text()) for rank in (0, 1)]
    assert halves[0]["weights"] == halves[1]["weights"]
    assert halves[0]["beta"] == halves[1]["beta"] == pytest.approx(alone["beta"], rel=1e-5)
    halves_weights, whole_weights = (torch.tensor(state["weights"]) for state in (halves[0], alone))
    torch.testing.assert_close(halves_weights, whole_weights, rtol=0, atol=2e-5)
    for name in ("loss", "policy_loss", "value_loss", "approx_kl"):
        assert halves[0]["seen"][name] == pytest.approx(alone["seen"][name], abs=1e-5)


def main(role: str, *arguments: str) -> None:
    if role == "killed":
        kind, folder = arguments[0], Path(arguments[1])
        torch.manual_seed(0)
        trainer_of(kind, folder / "models", folder / "killed", Kill()).train()
        return
    folder, rank = Path(arguments[0]), int(os.environ["RANK"])
    state = learn_from_fixed_rollouts(folder, slice(4 * rank, 4 * rank + 4))
    (folder / f"half-{rank}.json").write_text(json.dumps(state))
    sys.stderr.flush()
    os._exit(0)  # workers of gloo can abort in their destructors


if __name__ == "__main__":
    main(*sys.argv[1:])
