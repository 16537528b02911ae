"""Sequence classifiers that rewards are made of: found, checked, loaded once, asked in batches.

A reward model has one output, whose value is the score; a classifier has a class an output.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import is_adapter, saved_config, saved_path, vocabulary
from rlexp.spec.reward import Place, RewardSpec

HEADS = {"score", "classifier", "classification_head"}
"""What transformers calls the head that makes numbers of a text."""
TOKENIZERS = ("tokenizer*", "vocab.*", "*.model")
"""Files of which a tokenizer has one at least."""
TRAINED = "Train one: python -m rlexp algo=reward, then reward.path=THE_RUNS_FOLDER."


class NeuralReward(RewardSpec):
    """What rewards that ask a sequence classifier have in common: where and how it computes."""

    place: ClassVar[Place] = "here"

    revision: str | None
    """Hub branch, tag or commit; null takes the main branch."""
    device: Literal["policy", "cpu"]
    """Where it computes: beside the policy, or on the CPU where that one's memory is short."""
    batch_size: int = Field(gt=0)
    """Texts scored at once."""
    max_length: int = Field(gt=0)
    """Tokens of a text; longer ones lose their beginning. Never more than the model can read."""

    _folders: dict[str, str] = PrivateAttr(default_factory=dict)
    _device: str = PrivateAttr(default="cpu")

    def found(self, path: str, device: Any, local_folder: Any) -> Path:
        """The folder of the model at `path`, fetched where it is elsewhere, remembered for use."""
        folder = local_folder(saved_path(path, "reward.path"), self.revision, "reward.path")
        self._folders[path] = str(folder)
        self._device = str(device) if self.device == "policy" else "cpu"
        return folder

    def folder_of(self, path: str) -> str:
        """The folder that `found` remembered; without it, the one that the path names."""
        return self._folders.get(path) or saved_path(path, "reward.path")

    def probabilities(self, path: str, texts: list[str]) -> Any:
        """Tensor (texts, classes): of each text, how probable the classifier holds each class."""
        folder = self.folder_of(path)
        model, tokenizer = loaded(folder, self._device, None)
        if not texts:
            return logits(model, tokenizer, [], self.batch_size)
        limit = min(self.max_length, longest_input(model, tokenizer))
        encoded = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        found = logits(model, tokenizer, encoded, self.batch_size)
        several = model.config.problem_type == "multi_label_classification"
        return found.sigmoid() if several else found.softmax(-1)


class MaybeClassifier(NeuralReward):
    """A reward that asks a classifier with classes where `path` names one, and none where not."""

    path: str | None
    """The classifier; null asks none."""

    @abstractmethod
    def misfits(self, folder: Path) -> list[Problem]:
        """What keeps the classifier in a folder from being asked."""

    def runs_in(self) -> Place:
        return self.place if self.path else "workers"

    def problems(self) -> list[Problem]:
        """A classifier must be there, and fit."""
        if self.path is None:
            return []
        try:
            folder = seen(self.path)
        except UserError as error:
            return list(error.problems)
        return self.misfits(folder) if folder else []

    def prepare(self, device: Any, local_folder: Any) -> None:
        """Fetch the classifier and load it."""
        if self.path is None:
            return
        folder = self.found(self.path, device, local_folder)
        if wrong := self.misfits(folder):
            raise UserError(wrong)
        loaded(str(folder), self._device, None)


def seen(path: str) -> Path | None:
    """The folder that a path names; None for a model that has to be fetched first.

    Raises:
        UserError: a folder or run that is not there, or has no model.
    """
    folder = Path(saved_path(path, "reward.path"))
    return folder if folder.is_dir() else None


def classifier_problems(folder: Path, scores: bool) -> list[Problem]:
    """What keeps the model in a folder from being asked; its weights are not read.

    Args:
        folder: the model's.
        scores: whether it must be a reward model, of one output, instead of one with classes.
    """
    config, key = saved_config(folder), "reward.path"
    remedy = TRAINED if scores else "Give a model that sorts texts into classes."
    if is_adapter(folder):
        kind = config.get("task_type")
        if kind != "SEQ_CLS":
            return [Problem(key, f"{folder}, an adapter for {kind}", "one for SEQ_CLS", remedy)]
        if not scores:  # an adapter does not name its classes
            return [Problem(key, f"{folder}, an adapter", "whole weights", "Merge it first.")]
        return _without_head(folder) or _without_tokenizer(folder)
    names = config.get("architectures") or ["model of unknown architecture"]
    if not any(name.endswith("ForSequenceClassification") for name in names):
        got = f"{folder}, a {', '.join(names)}"
        return [Problem(key, got, "a …ForSequenceClassification", remedy)]
    classes = len(labels(folder))
    if scores and classes != 1:
        return [Problem(key, f"{folder}, a classifier of {classes} classes", "one output", remedy)]
    if not scores and classes == 1:
        remedy = f"As a reward it is: reward=model reward.path={folder}"
        return [Problem(key, f"{folder}, a model of one output", "two classes or more", remedy)]
    pieces, embedded = vocabulary(folder), config.get("vocab_size")
    if pieces and embedded and max(pieces.values()) >= embedded:
        got = f"{folder}: token {max(pieces.values())}, of a model that embeds {embedded}"
        return [Problem(key, got, "the model's own tokenizer", "Save the two together again.")]
    return _without_head(folder) or _without_tokenizer(folder)


def labels(folder: Path) -> list[str]:
    """The names of a classifier's classes, in the order of its outputs."""
    names = saved_config(folder).get("id2label")
    if names is None:  # transformers omits its default
        return ["LABEL_0", "LABEL_1"]
    return [names[index] for index in sorted(names, key=int)]


def classes(folder: Path, wanted: Sequence[str]) -> list[int]:
    """Which outputs have one of the wanted names, upper and lower case alike."""
    names = {name.casefold() for name in wanted}
    return [index for index, name in enumerate(labels(folder)) if name.casefold() in names]


def unnamed(folder: Path, wanted: Sequence[str], key: str) -> list[Problem]:
    """Told where the classifier has no class of the wanted names."""
    if classes(folder, wanted):
        return []
    has = labels(folder)
    want = f"one of the model's classes ({', '.join(has)})"
    remedy = f"Look into its documentation what they mean, then: {key}='[{has[-1]}]'"
    return [Problem(key, ", ".join(wanted) or "nothing", want, remedy)]


@lru_cache(maxsize=16)
def loaded(folder: str, device: str, outputs: int | None) -> tuple[Any, Any]:
    """Model and tokenizer, once a process. `outputs` None: the folder tells their number."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side="left")
    kind: Any = AutoModelForSequenceClassification
    if is_adapter(Path(folder)):
        from peft import AutoPeftModelForSequenceClassification

        kind = AutoPeftModelForSequenceClassification
    count = {} if outputs is None else {"num_labels": outputs}
    model = kind.from_pretrained(folder, use_safetensors=True, **count)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.to(device).eval().requires_grad_(False), tokenizer


def longest_input(model: Any, tokenizer: Any) -> int:
    """Tokens that a model can read: of an encoder often 512, and one more is an index error."""
    told, positions = tokenizer.model_max_length, model.config.max_position_embeddings
    return told if told <= positions else positions - 2  # RoBERTa's family keeps two for itself


def logits(model: Any, tokenizer: Any, encoded: list[list[int]], batch_size: int) -> Any:
    """Tensor (texts, outputs) in float32 on the CPU, of texts that are tokenized already."""
    import torch

    found = torch.empty(len(encoded), model.config.num_labels)
    options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    # Texts of about the same length share a batch, which wastes little on padding.
    order = torch.tensor([len(ids) for ids in encoded], dtype=torch.long).argsort(stable=True)
    with torch.inference_mode():
        for batch in order.split(batch_size) if encoded else ():
            rows = {"input_ids": [encoded[index] for index in batch]}
            padded = tokenizer.pad(rows, return_tensors="pt", padding_side="right")
            found[batch] = model(**padded.to(model.device), **options).logits.float().cpu()
    return found


def _without_head(folder: Path) -> list[Problem]:
    """A head that is not among the weights would begin at random, with no more than a warning."""
    names = _weights(folder)
    if not names or any(HEADS & set(name.split(".")) for name in names):
        return []
    got = f"{folder}, whose weights have no head ({' or '.join(sorted(HEADS))})"
    remedy = "Save it again with its head: a random one gives random rewards."
    return [Problem("reward.path", got, "a trained head", remedy)]


def _weights(folder: Path) -> list[str]:
    """Names of the tensors in a folder's safetensors, from their headers."""
    from safetensors import safe_open

    found: list[str] = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as tensors:
            found += tensors.keys()
    return found


def _without_tokenizer(folder: Path) -> list[Problem]:
    if any(next(folder.glob(pattern), None) for pattern in TOKENIZERS):
        return []
    remedy = "Save the tokenizer that it was trained with beside it, by save_pretrained."
    return [Problem("reward.path", f"{folder}, without a tokenizer", "the model's own", remedy)]
