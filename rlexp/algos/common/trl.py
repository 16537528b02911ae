"""What all trainers built on transformers' Trainer share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rlexp.algos.common.fused_head import check_fused_head, score_labelled_positions
from rlexp.algos.common.policy import PolicyToTrain
from rlexp.algos.common.reward_function import RewardFunction
from rlexp.algos.common.row_sampler import follow_curriculum
from rlexp.curriculum.batches import BatchShape, Curriculum
from rlexp.scoring import Scorer
from rlexp.spec.algo import AlgoSpec, VllmSpec, trl_names, trl_values
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.run import RunSpec
from rlexp.spec.train import TrainSpec

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainerCallback, TrainingArguments

TrainerT = TypeVar("TrainerT")

OWNED = {
    "output_dir": "hydra.run.dir",
    "max_steps": "train.max_steps",
    "num_train_epochs": "train.max_steps",
    "per_device_train_batch_size": "train.batch_size and train.micro_batch_size",
    "gradient_accumulation_steps": "train.micro_batch_size",
    "learning_rate": "algo.learning_rate",
    "lr_scheduler_type": "train.lr_scheduler",
    "warmup_steps": "train.warmup_steps",
    "weight_decay": "train.weight_decay",
    "max_grad_norm": "train.max_grad_norm",
    "seed": "seed",
    "gradient_checkpointing": "train.gradient_checkpointing",
    "save_steps": "train.checkpoint_every",
    "save_strategy": "train.checkpoint_every",
    "save_total_limit": "train.keep_checkpoints",
    "use_cpu": "hardware.device",
    "bf16": "hardware.mixed_precision",
    "fp16": "hardware.mixed_precision",
    "report_to": "tracking.uri",
    "chat_template_kwargs": "model.chat_template_kwargs",
    "push_to_hub": "tracking.uri: rlexp uploads nothing to a hub",
}
"""TRL fields that have a key outside of `algo` in rlexp."""

OWNED_OF_ROLLOUTS = {
    **OWNED,
    "reward_weights": "reward=mix and reward.terms.<name>.weight",
    # TRL sees one reward, in which a mix has already put its terms on one scale.
    "multi_objective_aggregation": "reward=mix and reward.normalize=group (GDPO)",
    "use_vllm": "algo.rollout=vllm",
    **trl_names(VllmSpec, "algo.vllm"),
}
"""The same for algorithms that sample."""

EXPERTS = ("num_experts", "num_experts_per_tok")
"""What TRL reads of a mixture's config to compute its router loss."""


@dataclass(frozen=True)
class Training:
    """All that a trainer is built from."""

    spec: RunSpec
    policy: PolicyToTrain
    rows: list[dict[str, Any]]
    """Training rows of the algorithm's kind, framed for the model."""
    folder: Path
    """Where checkpoints go."""
    mixed_bf16: bool
    """Whether the training step runs under bfloat16 autocast."""
    callbacks: list[TrainerCallback]
    scorer: Scorer | None = None
    """Of the run's reward; None where the reward runs in this process alone."""
    curriculum: Curriculum | None = None
    """Which of the rows each batch has; None leaves that to the trainer."""
    mixed_fp16: bool = False
    """Whether it runs under float16 autocast, with scaled losses."""

    def reward_function(self) -> RewardFunction:
        """Return the run's reward as trainers call it."""
        alone = self.spec.scoring.model_copy(update={"workers": 0})
        scorer = self.scorer or Scorer(self.spec.reward, alone)
        return RewardFunction(scorer, self.policy.eos_token_ids, self.policy.thinking)

    def in_order(self) -> Training:
        """Return the same with a row for each place of the training, in the curriculum's order."""
        assert self.curriculum is not None
        train = self.spec.train
        order = self.curriculum.order(BatchShape(train.batch_size))
        rows = [self.rows[row] for step in range(train.max_steps) for row in order.rows_at(step)]
        return replace(self, rows=rows, curriculum=None)


def common_arguments(algo: AlgoSpec, training: Training) -> dict[str, Any]:
    """Return the arguments that every config of a trainer takes, in transformers' own names."""
    spec, train = training.spec, training.spec.train
    share = train.batch_size // spec.hardware.processes
    micro = train.micro_batch_size or share
    device = training.policy.model.device.type
    return {
        "output_dir": str(training.folder),
        "max_steps": train.max_steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": share // micro,
        "learning_rate": algo.learning_rate * training.policy.learning_rate_factor,
        "lr_scheduler_type": train.lr_scheduler,
        "warmup_steps": train.warmup_steps,
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.max_grad_norm,
        "seed": spec.seed,
        "use_cpu": device == "cpu",
        "bf16": training.mixed_bf16,
        "fp16": training.mixed_fp16,
        "activation_checkpointing": train.gradient_checkpointing,
        "dataloader_pin_memory": device == "cuda",
        "save_steps": train.checkpoint_every,
        "logging_steps": 1,
        # A NaN must reach the guard that ends the run, not be averaged away.
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        **algo.trl,
    }


def trl_arguments(algo: AlgoSpec, training: Training) -> dict[str, Any]:
    """Return `common_arguments`, and the algorithm's knobs that are fields of TRL's config."""
    return {**trl_values(algo), **common_arguments(algo, training)}


def trl_trainer(
    kind: Callable[..., TrainerT],
    arguments: TrainingArguments,
    training: Training,
    columns: tuple[str, ...] = (),
    **more: Any,
) -> TrainerT:
    """Return one of TRL's trainers on the run's policy and these columns, or all, of its rows."""
    rows, policy = training.rows, training.policy
    if columns:
        rows = [{name: row[name] for name in columns} for row in rows]
    score_labelled_positions()
    with _router_losses_as_saved(policy):
        trainer = kind(
            model=policy.model,
            args=arguments,
            train_dataset=as_dataset(rows),
            processing_class=policy.tokenizer,
            peft_config=None if policy.continues else policy.adapter,
            callbacks=training.callbacks,
            **more,
        )
    if policy.continues:
        _take_beginning_as_reference(trainer)
    if (reference := getattr(trainer, "ref_model", None)) is not None:
        policy.treat_padding(reference)  # TRL has loaded it by itself
    if getattr(arguments, "disable_dropout", False):
        disable_functional_dropout(trainer.model)  # pyright: ignore[reportAttributeAccessIssue]
    if training.curriculum is not None:
        follow_curriculum(trainer, training.curriculum, len(rows))
    check_router_loss(trainer)
    check_fused_head(trainer, policy, training.spec.algo.name)
    return trainer


def _take_beginning_as_reference(trainer: Any) -> None:
    """Drop the copies that TRL makes of an adapter that goes on, or of the whole model.

    Without them it asks for the model without its adapter, and gets the adapter's beginning
    (`rlexp.models.adapters.keep_beginning`). An adapter beside the trained one would stand in each
    checkpoint, and keep transformers from loading the trained one again.
    """
    model = trainer.model
    if "ref" in model.peft_config:
        model.delete_adapter("ref")
        model.set_adapter("default")
    if getattr(trainer, "ref_model", None) is not None:
        trainer.ref_model = None


def disable_functional_dropout(model: Any) -> None:
    """Switch off the dropout that a model's layers call by a rate of their own.

    TRL switches off modules of dropout alone. Layers that are left out at random are meant too
    (`layerdrop`).
    """
    for module in model.modules():
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def check_router_loss(trainer: Any) -> None:
    """Refuse a mixture whose router loss TRL would fail to compute, at its first step."""
    if not getattr(trainer, "aux_loss_enabled", False):
        return
    config = trainer.model.config.get_text_config()
    unknown = [name for name in EXPERTS if not hasattr(config, name)]
    if unknown:
        key, name = "algo.trl.router_aux_loss_coef", type(config).__name__
        got = f"{trainer.router_aux_loss_coef:g}, for a {name} without {' and '.join(unknown)}"
        want = "0: TRL cannot compute the router loss of this mixture of experts"
        raise UserError(Problem(key, got, want, f"Set {key}=0."))


@contextmanager
def _router_losses_as_saved(policy: PolicyToTrain) -> Iterator[None]:
    """Show a trainer whether the model's folder asks for router losses; then they are off again.

    TRL reads it when a trainer is built, and asks for the losses in each training step by itself.
    """
    config = policy.model.config.get_text_config()
    if not hasattr(config, "output_router_logits"):
        yield
        return
    config.output_router_logits = policy.router_losses
    try:
        yield
    finally:
        config.output_router_logits = False


def as_dataset(rows: list[dict[str, Any]]) -> Dataset:
    """Return rows as a dataset of the library `datasets`.

    Its tables have one type a column: turns with keys of their own (tool calls with different
    arguments) would all get the keys of all, with nulls, which a chat template writes down. Such
    columns are kept as JSON, and so are those for rewards whose values are of several types.
    """
    from datasets import Dataset, Features, Json, List

    mixed = [name for name in rows[0] if any(_has_own_keys(row.get(name)) for row in rows)]
    if not mixed:
        return Dataset.from_list(rows, on_mixed_types="use_json")
    others = [{name: row[name] for name in row if name not in mixed} for row in rows]
    features = Features(
        {
            **(Dataset.from_list(others, on_mixed_types="use_json").features if others[0] else {}),
            **{name: List(Json()) for name in mixed},
        }
    )
    return Dataset.from_list(rows, features=features)


def _has_own_keys(value: object) -> bool:
    """Whether a value is turns of which one has more than a role and a content."""
    return isinstance(value, list) and any(
        isinstance(turn, dict) and turn.keys() - {"role", "content"} for turn in value
    )


def whole_groups(train: TrainSpec, num_generations: int) -> list[Problem]:
    """Return a problem where the batch is not filled by whole groups of completions."""
    if train.batch_size < 2:
        return [Problem("train.batch_size", str(train.batch_size), "at least 2 for a group")]
    want = f"a divisor of train.batch_size ({train.batch_size})"
    return _divisor_problems("algo.num_generations", num_generations, train.batch_size, want, 2)


def whole_parts(key: str, parts: int, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
    """Return a problem where a process's share of the batch is not divided by what a key says."""
    share = train.batch_size // hardware.processes
    want = f"a divisor of the {share} sequences of a process (train.batch_size / processes)"
    return _divisor_problems(key, parts, share, want, 1)


def _divisor_problems(key: str, value: int, whole: int, want: str, least: int) -> list[Problem]:
    if whole % value == 0:
        return []
    divisors = [n for n in range(least, whole + 1) if whole % n == 0]
    near = min(divisors, key=lambda n: abs(n - value), default=1)
    return [Problem(key, str(value), want, f"{near} is the nearest.")]
