"""Which algorithms go on bit for bit: what docs/resume.md says of each is tried here."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from killed_runs import assert_same, cut_after, points_of, resume_here
from runs import run_here
from safetensors.torch import load_file, save_file

from rlexp.builtin import tiny
from rlexp.runtime.paths import CONF

SHORT = (
    "train.max_steps=6",
    "train.batch_size=8",
    "train.checkpoint_every=1",
    "train.keep_checkpoints=9",
    "data.size=80",
    "data.max_rows=20",  # a training goes on in its second pass over the data
    "eval=quick",
    "eval.prompts=4",
    "eval.texts=0",
    "eval.bootstrap=10",
    "tracking=none",
    "hardware=cpu",
    "hardware.threads=1",
)
GROUPS = ("algo.num_generations=4", "data.max_rows=6")
"""Two prompts a step, so that six make three steps."""


def another_model(folder: Path) -> Path:
    """The tiny model with its weights moved a little: a teacher that there is something to learn
    from."""
    shutil.copytree(tiny.ensure_tiny_model(), folder)
    weights = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    moved = {
        name: weight + 0.05 * torch.randn(weight.shape, generator=generator)
        for name, weight in weights.items()
    }
    save_file(moved, folder / "model.safetensors", {"format": "pt"})
    return folder


EMA_READS = "algo.teacher_prompt='\"Praise. {prompt}\"'"
CASES: list[tuple[list[str], int]] = [
    (["algo=ppo", "algo.critic=separate", "algo.kl_target=2", "peft=lora"], 4),
]
LONG: list[tuple[list[str], int]] = [
    (["algo=grpo", "algo.num_iterations=2", *GROUPS], 3),
    (["algo=reinforce", "algo.baseline=moving_average", "algo.sync_reference=3"], 4),
    (["algo=rloo", "algo.sync_reference=2", *GROUPS], 3),
    (["algo=sft"], 4),
    (["algo=distill", "reward=none"], 4),
]
SLOW: list[tuple[list[str], int]] = [
    (["algo=dpo", "peft=lora"], 4),
    (["algo=grpo", "train.micro_batch_size=4", *GROUPS], 4),
    (["algo=grpo", "peft=lora", *GROUPS], 4),
    (["algo=kto"], 4),
    (["algo=orpo"], 4),
    (["algo=cpo"], 4),
    (["algo=online_dpo"], 4),
    (["algo=reward"], 4),
    (["algo=distill", "algo.teacher=ema", EMA_READS, "reward=none"], 4),
]
"""Together they take a minute; what is special about TRL's trainers is in the others."""


@pytest.mark.parametrize(
    ("options", "step"),
    [
        *CASES,
        *(pytest.param(*case, marks=pytest.mark.long) for case in LONG),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
@pytest.mark.slow
def test_it_goes_on_bit_for_bit(
    options: list[str], step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State that a trainer keeps to itself and forgets: moments, buffers, counts, its place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    if "algo=distill" in options and EMA_READS not in options:
        options = [*options, f"algo.teacher={another_model(tmp_path / 'teacher')}"]
    whole = run_here(tmp_path / "whole", *SHORT, *options)
    killed = cut_after(whole, tmp_path / "killed", step)
    assert resume_here(killed) == 0
    assert_same(killed, whole)


@pytest.mark.long
def test_another_micro_batch_changes_the_rounding_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on with less memory, and skips or repeats rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    whole = run_here(tmp_path / "whole", *SHORT, "algo=sft")
    killed = cut_after(whole, tmp_path / "killed", 4)
    assert resume_here(killed, "train.micro_batch_size=4") == 0
    losses = [
        [
            float(values[0])
            for (name, _), values in points_of(folder).items()
            if name == "train/loss"
        ]
        for folder in (killed, whole)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_table_tells_of_every_algorithm_what_was_tried() -> None:
    """An algorithm that nobody tried, or a promise that no test keeps."""
    text = (CONF.parent / "docs" / "resume.md").read_text(encoding="utf-8")
    promised = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE))
    algorithms = {file.stem for file in (CONF / "algo").glob("*.yaml")}
    assert set(promised) == algorithms
    tried = {options[0].removeprefix("algo=") for options, _ in [*CASES, *LONG, *SLOW]}
    assert {name for name, exact in promised.items() if exact == "yes"} == tried
