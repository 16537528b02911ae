"""The renewed reference of TRL's trainers, which by themselves begin anew with it after a stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rlexp.algos.common.policy import PolicyToTrain
from rlexp.algos.common.trl import Training, trl_trainer
from rlexp.spec.errors import Problem, UserError
from rlexp.trainers.config import ReferenceConfig

if TYPE_CHECKING:
    from transformers import TrainingArguments

TrainerT = TypeVar("TrainerT")

REFERENCE_OF_TRL = {
    "sync_ref_model": "algo.sync_reference",
    "ref_model_sync_steps": "algo.sync_reference",
    "ref_model_mixup_alpha": "algo.sync_reference_mix",
}
"""TRL's fields for the same, whose reference a checkpoint does not hold."""


def check_reference_sync(config: ReferenceConfig, policy: PolicyToTrain) -> None:
    """Refuse to renew a reference that is the policy without its adapter, chosen by `peft=auto`.

    Raises:
        UserError: such a one.
    """
    if config.sync_reference is not None and policy.adapter is not None:
        key = "algo.sync_reference"
        got = f"{config.sync_reference} with an adapter, since all weights would not fit the memory"
        want, remedy = "a reference that is a model of its own", f"Set {key}=null, or peft=none."
        raise UserError(Problem(key, got, want, remedy))


def with_reference_sync(
    config: ReferenceConfig,
    kind: Callable[..., TrainerT],
    arguments: TrainingArguments,
    training: Training,
    columns: tuple[str, ...] = (),
    **more: Any,
) -> TrainerT:
    """Return `trl_trainer` of the same arguments, which renews its reference where that is wanted.

    A training that goes on from a checkpoint has the reference that it had.
    """
    check_reference_sync(config, training.policy)
    if config.sync_reference is None:
        return trl_trainer(kind, arguments, training, columns, **more)
    from rlexp.trainers.reference import ReferenceSync, SyncReference

    sync = ReferenceSync(config)
    # First, so that the file is there when a checkpoint is made whole.
    training = replace(training, callbacks=[SyncReference(sync), *training.callbacks])
    trainer: Any = trl_trainer(kind, arguments, training, columns, **more)
    sync.reference, train = trainer.ref_model, trainer.train

    def train_from(resume_from_checkpoint: str | None = None) -> Any:
        if resume_from_checkpoint is not None:
            sync.load(Path(resume_from_checkpoint))
        return train(resume_from_checkpoint=resume_from_checkpoint)

    trainer.train = train_from
    return trainer
