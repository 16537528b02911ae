"""What a model is: one that writes, or one that scores texts. What differs stands here alone.

A kind is known by its head (`AlgoSpec.head`): how it is loaded and adapted, on which held-out rows
and by what it is evaluated, and what people read of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from rlexp.spec.files.loading import load_whole

Head = Literal["language", "reward"]
"""The next token's logits, or one number for a whole text."""


@dataclass(frozen=True)
class ModelKind:
    """A kind of model."""

    head: Head
    architecture: str
    """The end of its class's name: transformers' `AutoModelFor<architecture>` loads it."""
    task: str
    """PEFT's word for it."""
    evaluator: str
    """Module and name of the function that evaluates it; imported late, since this room is light.

    It is called with policy, rows, reward, texts, `eval` and, by name, `trained` and `grammatical`,
    as `rlexp.evaluation.policy.evaluate` is."""
    rows: str
    """What people call the held-out rows that it is evaluated on."""
    writes: bool
    """Whether it can be sampled from: best-of-n, guards' probes and slices ask for that."""
    padding: str = "config"
    """Attribute of the model whose `pad_token_id` says where a text ends."""
    config: Mapping[str, int] = field(default_factory=dict)
    """What its class's config wants beside the folder's."""

    @property
    def auto_class(self) -> str:
        """Name of the class of transformers that loads it."""
        return f"AutoModelFor{self.architecture}"

    def load(self, folder: Path, key: str = "model.path", **options: Any) -> tuple[Any, list[str]]:
        """Return the model in a folder, and what of its head is not there and begins at random.

        Args:
            folder: config and weights, safetensors only.
            key: that names the model.
            options: for `from_pretrained`, beside what the kind wants.

        Raises:
            UserError: weights that are not whole.
        """
        new_head, options = not self.writes, {**self.config, **options}
        return load_whole(self.auto_class, folder, key, new_head=new_head, **options)

    @property
    def evaluate(self) -> Callable[..., Any]:
        """The function that evaluates it; an `Evaluation` comes back."""
        module, _, name = self.evaluator.rpartition(".")
        return getattr(import_module(module), name)


KINDS: dict[Head, ModelKind] = {
    "language": ModelKind(
        head="language",
        architecture="CausalLM",
        task="CAUSAL_LM",
        evaluator="rlexp.evaluation.policy.evaluate",
        rows="prompts",
        writes=True,
        padding="generation_config",
    ),
    "reward": ModelKind(
        head="reward",
        architecture="SequenceClassification",
        task="SEQ_CLS",
        evaluator="rlexp.evaluation.ranking.pairwise_accuracy.evaluate_reward_model",
        rows="pairs",
        writes=False,
        config={"num_labels": 1},
    ),
}
"""All kinds, by their head."""


def kind_of_task(task: str | None) -> ModelKind:
    """Return the kind that PEFT calls by this word; a language model where it has none."""
    return next((kind for kind in KINDS.values() if kind.task == task), KINDS["language"])


def kind_of_config(config: Mapping[str, Any]) -> ModelKind:
    """Return the kind of a saved model, by its config or its adapter's; else a language model."""
    names = [*(config.get("architectures") or []), config.get("task_type") or ""]
    for kind in KINDS.values():
        if any(kind.architecture in name or name == kind.task for name in names):
            return kind
    return KINDS["language"]
