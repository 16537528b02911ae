"""The rows of a curriculum in the order in which one of transformers' or TRL's trainers reads them.

A trainer's data loader asks its sampler for the places of rows, all processes together: so one
sampler serves every trainer, several processes and micro-batches. It goes over the whole training
in one pass, which is why a trainer that goes on from a checkpoint only has to leave out as many
batches as were trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rlexp.curriculum.batches import BatchShape, Curriculum, RowOrder
from rlexp.spec.errors import RunFailed


class RowSampler:
    """Yields the place of a row for each sequence that a trainer takes, from first to last step."""

    def __init__(self, order: RowOrder, shape: BatchShape, answers: int, batches: int) -> None:
        """
        Args:
            order: the rows of each batch.
            shape: what a batch is.
            answers: sequences in a row that share one row.
            batches: of the whole training.
        """
        self.order, self.shape, self.answers, self.batches = order, shape, answers, batches

    def __iter__(self) -> Iterator[int]:
        for batch in range(self.batches):
            rows = self.order.rows_at(batch)
            for _ in range(self.shape.repeats):
                for row in rows:
                    yield from [row] * self.answers

    def __len__(self) -> int:
        return self.batches * self.shape.rows * self.shape.repeats * self.answers


def follow_curriculum(trainer: Any, curriculum: Curriculum, rows: int) -> None:
    """Have a trainer read its rows as a curriculum says.

    Args:
        trainer: one of transformers' or TRL's; its data loader is not made yet.
        curriculum: of these rows.
        rows: how many there are.

    Raises:
        RunFailed: the trainer has left out rows, so that places mean others.
    """
    if len(trainer.train_dataset) != rows:
        raise RunFailed(
            f"the curriculum orders {rows} rows, of which the trainer has "
            f"{len(trainer.train_dataset)}",
            "the trainer leaves out rows that are too long",
            "Raise algo.max_length, or set curriculum=none.",
        )
    make_loader = trainer.get_train_dataloader

    def get_train_dataloader() -> Any:
        loader = make_loader()
        shape, answers = batch_shape(trainer, loader)
        batches = shape.batches(trainer.args.max_steps)
        loader.set_sampler(RowSampler(curriculum.order(shape), shape, answers, batches))
        return loader

    trainer.get_train_dataloader = get_train_dataloader


def batch_shape(trainer: Any, loader: Any) -> tuple[BatchShape, int]:
    """Return what a trainer takes at once, and how many sequences share a row.

    TRL's sampler of repeated prompts says it itself; others take each row once.
    """
    accumulation = trainer.args.gradient_accumulation_steps
    batches = getattr(loader.batch_sampler, "batch_sampler", loader.batch_sampler)
    sampler = batches.sampler
    if hasattr(sampler, "repeat_count"):
        shape = BatchShape(sampler.batch_size, sampler.repeat_count, accumulation)
        return shape, sampler.mini_repeat_count
    processes = trainer.accelerator.num_processes
    rows = trainer.args.train_batch_size * accumulation * processes
    return BatchShape(rows), 1
