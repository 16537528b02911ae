"""What differs between models by what their last layer gives: how they are loaded and adapted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlexp.spec.algo import Head


@dataclass(frozen=True)
class ModelHead:
    """One kind of last layer.

    Attributes:
        auto_class: transformers' class that loads such a model.
        task_type: PEFT's word for it.
        padding: attribute of the model whose `pad_token_id` says where a text ends.
        options: for `from_pretrained`.
    """

    auto_class: str
    task_type: str
    padding: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self, folder: Path, **options: Any) -> Any:
        """The model in a folder, safetensors only; a head that is not there begins random."""
        import transformers

        kind = getattr(transformers, self.auto_class)
        return kind.from_pretrained(folder, **self.options, use_safetensors=True, **options)


LANGUAGE = ModelHead("AutoModelForCausalLM", "CAUSAL_LM", "generation_config")
REWARD = ModelHead("AutoModelForSequenceClassification", "SEQ_CLS", "config", {"num_labels": 1})
HEADS: dict[Head, ModelHead] = {"language": LANGUAGE, "reward": REWARD}


def head_of_adapter(task_type: str | None) -> ModelHead:
    """The head of the model that an adapter of this PEFT task belongs to; not all name a task."""
    return next((head for head in HEADS.values() if head.task_type == task_type), LANGUAGE)
