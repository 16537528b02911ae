"""Trainers read the rows of a curriculum: each batch its own, over processes and micro-batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate.data_loader import BatchSamplerShard
from runs import spec_of
from tiny_policy import TinyPolicy, policy_of
from torch.utils.data import BatchSampler

from rlexp.algos.common.row_sampler import RowSampler, follow_curriculum
from rlexp.algos.common.trl import Training
from rlexp.curriculum.batches import BatchShape, Curriculum
from rlexp.curriculum.pace import Competence
from rlexp.runtime.environment import silence_libraries
from rlexp.spec.errors import RunFailed

ROWS = [
    {
        "prompt": f"w{n}",
        "completion": f"w{n} w{n + 1}",
        "chosen": f"w{n} w{n + 1}",
        "rejected": f"w{n + 2}",
        "label": n % 2 == 0,
    }
    for n in range(20)
]
COLUMNS = {
    "sft": ("prompt", "completion"),
    "kto": ("prompt", "completion", "label"),
    **dict.fromkeys(("dpo", "orpo", "cpo"), ("prompt", "chosen", "rejected")),
    **dict.fromkeys(("grpo", "rloo", "online_dpo"), ("prompt",)),
}
STEPS, BATCH, MICRO = 4, 8, 4


def curriculum() -> Curriculum:
    """Opens from four rows to all twenty in four steps."""
    return Curriculum(0, {"all": range(20)}, {}, Competence(0.2, STEPS, power=1))


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_each_batch(processes: int) -> None:
    """A row that two processes learn from, one that none does; a process that is a batch ahead."""
    order = curriculum().order(BatchShape(BATCH))
    sampler = RowSampler(order, BatchShape(BATCH), answers=1, batches=STEPS)
    assert len(sampler) == len(list(sampler)) == STEPS * BATCH
    size = 2
    shards = [
        list(BatchSamplerShard(BatchSampler(sampler, size, False), processes, index))
        for index in range(processes)
    ]
    steps = BATCH // (size * processes)  # micro-batches of a process
    for step in range(STEPS):
        rows = [
            row
            for shard in shards
            for micro in shard[step * steps : (step + 1) * steps]
            for row in micro or ()
        ]
        assert sorted(rows) == sorted(order.rows_at(step))


def test_answers_to_a_prompt_stand_together_and_rollouts_are_repeated() -> None:
    """Groups of answers that are split; a second pass over other rows."""
    order, shape = curriculum().order(BatchShape(2)), BatchShape(2, repeats=3)
    one, two = order.rows_at(0)
    sampler = RowSampler(order, shape, answers=4, batches=2)
    assert list(sampler)[:24] == ([one] * 4 + [two] * 4) * 3


def test_rows_that_a_trainer_left_out_are_missed() -> None:
    """Places that mean other rows, because a trainer has dropped some by itself."""
    trainer = SimpleNamespace(train_dataset=ROWS[1:])
    with pytest.raises(RunFailed, match="20 rows, of which the trainer has 19"):
        follow_curriculum(trainer, curriculum(), len(ROWS))


def trainer_of(algo: str, folder: Path) -> tuple[Any, Training]:
    silence_libraries()  # of TRL's warning of what is experimental
    spec = spec_of(
        f"algo={algo}",
        f"train.batch_size={BATCH}",
        f"train.micro_batch_size={MICRO}",
        f"train.max_steps={STEPS}",
        "hardware=cpu",
        *(["algo.num_generations=2"] if algo in ("grpo", "rloo") else []),
    )
    policy = policy_of(TinyPolicy(), folder / "model")
    rows = [{name: row[name] for name in COLUMNS[algo]} for row in ROWS]
    training = Training(spec, policy, rows, folder, False, [])
    return spec.algo.build_trainer(replace(training, curriculum=curriculum())), training


@pytest.mark.slow
@pytest.mark.parametrize("algo", sorted(COLUMNS))
def test_each_trainer_reads_the_curriculums_rows(algo: str, tmp_path: Path) -> None:
    """A trainer that makes its data loader in another way than the others, and keeps its order."""
    trainer, training = trainer_of(algo, tmp_path)
    loader = trainer.get_train_dataloader()
    read = [row for batch in loader.batch_sampler for row in batch]
    if algo == "kto":  # takes rows as they stand, since it looks at neighbours
        order = curriculum().order(BatchShape(BATCH))
        expected = [row for step in range(STEPS) for row in order.rows_at(step)]
        prompts = [training.rows[row]["prompt"] for row in expected]
        assert [trainer.train_dataset[row]["prompt"] for row in read] == prompts
        return
    answers = {"grpo": 2, "rloo": 2}.get(algo, 1)
    shape = BatchShape(BATCH // 2, 2, 2) if answers > 1 else BatchShape(BATCH)
    order = curriculum().order(shape)
    expected = [
        row
        for step in range(STEPS)
        for _ in range(shape.repeats)
        for row in order.rows_at(step)
        for _ in range(answers)
    ]
    assert read == expected
    assert len(loader) // trainer.args.gradient_accumulation_steps == STEPS
