"""How fast PPO is beside TRL's last one: python benchmarks/ppo.py [--model FOLDER]

TRL 1.12.0 was the last release with a PPO trainer. It is installed into a folder of its own, beside
everything else as it is here, so that both run on the same torch and transformers. Both train the
same weights on the same prompts with the same batch, lengths, epochs and minibatches, and both ask
a reward model of the policy's size for rewards. They run in turns, each in a process of its own;
what is compared is the median time of a step, in pairs of neighbours. `floor` is what cannot be
left out: the rollout, a forward pass of policy and reference, and a forward and a backward pass
for each epoch, written down bare.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

VERSION = "1.12.0"
BATCH, LONGEST, EPOCHS = 64, 48, 4
WARM_UP = 2


def prompts_of(count: int) -> list[str]:
    """Openings of film reviews."""
    from rlexp import grammar

    return [" ".join(each.text.split()[:5]) for each in grammar.sample_reviews(count, seed=1)]


def models(folder: Path) -> tuple[Any, Any, Any]:
    """The policy, its tokenizer, and a random reward model of its size."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
    policy = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(0)
    reward = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, dtype=torch.float32, pad_token_id=tokenizer.pad_token_id
    )
    return policy, tokenizer, reward.eval()


def stopwatch() -> tuple[Any, list[float]]:
    """A callback, and the list of times at which steps ended."""
    from transformers import TrainerCallback

    ends: list[float] = []

    class Stopwatch(TrainerCallback):
        def on_step_end(self, *given: Any, **named: Any) -> None:
            ends.append(time.perf_counter())

    return Stopwatch(), ends


def step_seconds(ends: list[float]) -> float:
    steps = [later - sooner for sooner, later in pairwise(ends)]
    return statistics.median(steps[WARM_UP:])


def with_trl(folder: Path, steps: int, scratch: str) -> float:
    """Median seconds of a step of TRL's PPO."""
    import trl
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification
    from trl.experimental.ppo import PPOConfig, PPOTrainer  # pyright: ignore[reportMissingImports]

    assert trl.__version__ == VERSION, trl.__version__
    policy, tokenizer, reward = models(folder)
    watch, ends = stopwatch()
    value = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, pad_token_id=tokenizer.pad_token_id
    )
    arguments = PPOConfig(
        output_dir=scratch,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=1,
        num_mini_batches=1,
        num_ppo_epochs=EPOCHS,
        total_episodes=BATCH * steps,
        local_rollout_forward_batch_size=BATCH,
        num_sample_generations=0,
        response_length=LONGEST,
        stop_token="eos",
        temperature=1.0,
        learning_rate=5e-4,
        kl_coef=0.05,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        seed=0,
    )
    ids = tokenizer(prompts_of(2048))["input_ids"]
    PPOTrainer(
        args=arguments,
        processing_class=tokenizer,
        model=policy,
        ref_model=copy.deepcopy(policy),
        reward_model=reward,
        value_model=value,
        train_dataset=Dataset.from_dict({"input_ids": ids}),
        eval_dataset=Dataset.from_dict({"input_ids": ids[:8]}),
        callbacks=[watch],
    ).train()
    return step_seconds(ends)


class OurPolicy:
    """What rlexp's trainers ask of a policy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model, self.tokenizer, self.rewarding = models(folder)
        self.initial = copy.deepcopy(self.model).eval()

    def roll_out(self, prompts: list[str], **sampling: Any) -> Any:
        from rlexp.models.rollout import roll_out

        ids, pad = self.tokenizer(prompts)["input_ids"], self.tokenizer.pad_token_id
        end = [self.tokenizer.eos_token_id]
        return roll_out(self.model, ids, eos_token_ids=end, pad_token_id=pad, **sampling)

    def reference(self) -> Any:
        return nullcontext(self.initial)

    def reward(self, prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        import torch

        texts = [p + c for p, c in zip(prompts, completions, strict=True)]
        with torch.no_grad():
            batch = self.tokenizer(texts, padding=True, return_tensors="pt")
            names = ("input_ids", "attention_mask")
            return self.rewarding(**{name: batch[name] for name in names}).logits[:, 0].tolist()


def with_rlexp(folder: Path, steps: int, scratch: str, critic: str) -> float:
    """Median seconds of a step of rlexp's PPO."""
    import yaml
    from transformers import AutoModel, TrainingArguments

    from rlexp.conf_dir import CONF
    from rlexp.trainers.loop import Task
    from rlexp.trainers.ppo import PpoKnobs, PpoTrainer
    from rlexp.trainers.rollouts import Sampling

    policy = OurPolicy(folder)
    watch, ends = stopwatch()
    arguments = TrainingArguments(
        output_dir=scratch,
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        learning_rate=5e-4,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        seed=0,
    )
    task = Task(
        arguments,
        policy,
        [{"prompt": prompt} for prompt in prompts_of(2048)],
        policy.reward,
        Sampling(LONGEST, 1.0, 0, 1.0),
        [watch],
        generations=1,
        keeps_reference=True,
    )
    config = yaml.safe_load((CONF / "algo" / "ppo.yaml").read_text(encoding="utf-8"))["algo"]
    knobs = {each.name: config[each.name] for each in fields(PpoKnobs)}
    knobs |= {"epochs": EPOCHS, "critic_learning_rate": float(knobs["critic_learning_rate"])}
    body = AutoModel.from_pretrained(folder) if critic == "separate" else None
    PpoTrainer(task, PpoKnobs(**knobs), body).train()
    return step_seconds(ends)


def floor(folder: Path, steps: int) -> float:
    """Median seconds of what cannot be left out, with a shared critic."""
    import torch

    from rlexp.trainers.sequences import Sequences, judge

    policy = OurPolicy(folder)
    prompts = prompts_of(BATCH * steps)
    ends: list[float] = []
    policy.model.eval()
    for step in range(steps):
        chosen = prompts[step * BATCH : (step + 1) * BATCH]
        rollout = policy.roll_out(
            chosen, max_new_tokens=LONGEST, temperature=1.0, top_k=0, top_p=1.0
        )
        texts = policy.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
        policy.reward(chosen, texts)
        sequences = Sequences.of(rollout)
        pieces = [
            sequences.rows(index) for index in sequences.pieces(torch.arange(BATCH), BATCH // 2)
        ]
        with torch.no_grad():
            for piece in pieces:
                judge(policy.model, piece, 1.0)
                judge(policy.initial, piece, 1.0)
        for _ in range(EPOCHS):
            for piece in pieces:
                (judge(policy.model, piece, 1.0).log_probs * piece.mask).sum().backward()
            policy.model.zero_grad()
        ends.append(time.perf_counter())
    return step_seconds(ends)


def measured(what: str, arguments: argparse.Namespace) -> float:
    """Seconds of a step, from a process of its own."""
    paths = [str(Path(__file__).parents[1])]
    if what == "trl":
        paths.insert(0, str(arguments.library))
    command = [sys.executable, __file__, "--only", what, "--model", str(arguments.model)]
    done = subprocess.run(
        [*command, "--steps", str(arguments.steps)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TRL_EXPERIMENTAL_SILENCE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def install(library: Path) -> None:
    """TRL's release into a folder that only its own processes see."""
    if (library / "trl").is_dir():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*command, str(library), f"trl=={VERSION}"], check=True)


def compare(arguments: argparse.Namespace) -> None:
    install(arguments.library)
    seconds: dict[str, list[float]] = {"trl": [], "shared": [], "separate": [], "floor": []}
    for pair in range(arguments.pairs):
        for what, found in seconds.items():
            found.append(measured(what, arguments))
        print(f"  round {pair}:", *(f"{k} {v[-1] * 1000:.0f} ms" for k, v in seconds.items()))
    for what in ("shared", "separate"):
        ratios = [a / b for a, b in zip(seconds["trl"], seconds[what], strict=True)]
        over = [a / b for a, b in zip(seconds[what], seconds["floor"], strict=True)]
        print(
            f"PPO, {what} critic: {statistics.median(ratios):.2f} times as fast as TRL {VERSION} "
            f"({min(ratios):.2f} to {max(ratios):.2f}), {statistics.median(over):.2f} times the "
            f"floor; {statistics.median(seconds[what]) * 1000:.0f} ms a step"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a small model's folder; by default the tiny")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument(
        "--library", type=Path, default=Path(tempfile.gettempdir(), f"trl-{VERSION}")
    )
    parser.add_argument("--only", choices=("trl", "shared", "separate", "floor"))
    arguments = parser.parse_args()
    if arguments.model is None:
        from rlexp.models import tiny

        arguments.model = tiny.ensure()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if arguments.only is None:
        compare(arguments)
        return
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.only == "trl":
            found = with_trl(arguments.model, arguments.steps, scratch)
        elif arguments.only == "floor":
            found = floor(arguments.model, arguments.steps)
        else:
            found = with_rlexp(arguments.model, arguments.steps, scratch, arguments.only)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
