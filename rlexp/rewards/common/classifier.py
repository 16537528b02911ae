"""Sequence classifiers that rewards are made of: fetched, checked, loaded once, run in batches.

A reward model has one output, whose value is the score; a classifier has a class an output.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import is_adapter, saved_config, saved_path, vocabulary
from rlexp.spec.reward import Place, RewardSpec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HEADS = {"score", "classifier", "classification_head"}
"""What transformers calls the head that makes numbers of a text."""
TOKENIZERS = ("tokenizer*", "vocab.*", "*.model")
"""Files of which a tokenizer has one at least."""
TRAINED = "Train one: python -m rlexp algo=reward, then reward.path=THE_RUNS_FOLDER."


class NeuralReward(RewardSpec):
    """A reward by sequence classifiers: where and how they compute."""

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

    def fetch(
        self, path: str, device: torch.device | str, local_folder: Callable[..., Path]
    ) -> Path:
        """Return the folder of the model at `path`, after fetching it where it is elsewhere."""
        folder = local_folder(saved_path(path, "reward.path"), self.revision, "reward.path")
        self._folders[path] = str(folder)
        self._device = str(device) if self.device == "policy" else "cpu"
        return folder

    def folder_of(self, path: str) -> str:
        """Return the folder that `fetch` returned; without it, the one that the path names."""
        return self._folders.get(path) or saved_path(path, "reward.path")

    def probabilities(self, path: str, texts: list[str]) -> torch.Tensor:
        """Return a tensor (texts, classes) of the classifier's probabilities."""
        folder = self.folder_of(path)
        model, tokenizer = load_classifier(folder, self._device, None)
        if not texts:
            return logits(model, tokenizer, [], self.batch_size)
        limit = min(self.max_length, longest_input(model, tokenizer))
        encoded = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        scores = logits(model, tokenizer, encoded, self.batch_size)
        multi_label = model.config.problem_type == "multi_label_classification"
        return scores.sigmoid() if multi_label else scores.softmax(-1)


class MaybeClassifier(NeuralReward):
    """A reward that needs no classifier, and uses one with classes where `path` names it."""

    path: str | None
    """The classifier; null asks none."""

    @abstractmethod
    def misfits(self, folder: Path) -> list[Problem]:
        """Return what keeps the classifier in a folder from being used."""

    def runs_in(self) -> Place:
        return self.place if self.path else "workers"

    def problems(self) -> list[Problem]:
        """Return a problem where no classifier is there, or one that does not fit."""
        if self.path is None:
            return []
        try:
            folder = classifier_folder(self.path)
        except UserError as error:
            return list(error.problems)
        return self.misfits(folder) if folder else []

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Fetch the classifier and load it."""
        if self.path is None:
            return
        folder = self.fetch(self.path, device, local_folder)
        if problems := self.misfits(folder):
            raise UserError(problems)
        load_classifier(str(folder), self._device, None)


def classifier_folder(path: str) -> Path | None:
    """Return the folder that a path names; None for a model that has to be fetched first.

    Raises:
        UserError: a folder or run that is not there, or has no model.
    """
    folder = Path(saved_path(path, "reward.path"))
    return folder if folder.is_dir() else None


def classifier_problems(folder: Path, scores: bool) -> list[Problem]:
    """Return what keeps the model in a folder from being used; its weights are not read.

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
    outputs = len(class_names(folder))
    if scores and outputs != 1:
        return [Problem(key, f"{folder}, a classifier of {outputs} classes", "one output", remedy)]
    if not scores and outputs == 1:
        remedy = f"As a reward it is: reward=model reward.path={folder}"
        return [Problem(key, f"{folder}, a model of one output", "two classes or more", remedy)]
    token_ids, embedded = vocabulary(folder), config.get("vocab_size")
    if token_ids and embedded and max(token_ids.values()) >= embedded:
        got = f"{folder}: token {max(token_ids.values())}, of a model that embeds {embedded}"
        return [Problem(key, got, "the model's own tokenizer", "Save the two together again.")]
    return _without_head(folder) or _without_tokenizer(folder)


def class_names(folder: Path) -> list[str]:
    """Return the names of a classifier's classes, in the order of its outputs."""
    names = saved_config(folder).get("id2label")
    if names is None:  # transformers omits its default
        return ["LABEL_0", "LABEL_1"]
    return [names[index] for index in sorted(names, key=int)]


def class_indices(folder: Path, wanted: Sequence[str]) -> list[int]:
    """Return the outputs with one of the wanted names, upper and lower case alike."""
    names = {name.casefold() for name in wanted}
    return [index for index, name in enumerate(class_names(folder)) if name.casefold() in names]


def missing_classes(folder: Path, wanted: Sequence[str], key: str) -> list[Problem]:
    """Return a problem where the classifier has no class of the wanted names."""
    if class_indices(folder, wanted):
        return []
    names = class_names(folder)
    want = f"one of the model's classes ({', '.join(names)})"
    remedy = f"Look into its documentation what they mean, then: {key}='[{names[-1]}]'"
    return [Problem(key, ", ".join(wanted) or "nothing", want, remedy)]


def unnamed_classes(folder: Path, wanted: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Return a problem for each key whose names are inside of a class that no key names.

    Such a class (`very positive`, beside `positive`) would count nothing, silently.

    Args:
        folder: the classifier's.
        wanted: the names of classes by the key that holds them.
    """
    named = {name.casefold() for names in wanted.values() for name in names}
    others = [name for name in class_names(folder) if name.casefold() not in named]
    problems = []
    for key, names in wanted.items():
        own = [name for name in class_names(folder) if name.casefold() in set(_folded(names))]
        left = [other for other in others if set(_folded(names)) & set(_words(other))]
        if left and own:
            got = f"{', '.join(own)}, of a classifier that also has {', '.join(left)}"
            remedy = f"Name all that count: {key}='[{','.join([*own, *left])}]'"
            problems.append(Problem(key, got, "every class that means this", remedy))
    return problems


def _folded(names: Sequence[str]) -> list[str]:
    return [name.casefold() for name in names]


def _words(name: str) -> list[str]:
    """Return the words of a class's name, which models write as VeryPositive or very_positive."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W_]+", apart.casefold())


@lru_cache(maxsize=16)
def load_classifier(
    folder: str, device: str, outputs: int | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load model and tokenizer, once a process. `outputs` None: the folder tells their number."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side="left")
    model_class: Any = AutoModelForSequenceClassification
    if is_adapter(Path(folder)):
        from peft import AutoPeftModelForSequenceClassification

        model_class = AutoPeftModelForSequenceClassification
    count = {} if outputs is None else {"num_labels": outputs}
    model = model_class.from_pretrained(folder, use_safetensors=True, **count)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.to(device).eval().requires_grad_(False), tokenizer


def longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many tokens a model can read: often 512, and one more is an index error."""
    limit, positions = tokenizer.model_max_length, model.config.max_position_embeddings
    return limit if limit <= positions else positions - 2  # RoBERTa's family keeps two for itself


def logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: list[list[int]],
    batch_size: int,
) -> torch.Tensor:
    """Return a float32 tensor (texts, outputs) on the CPU, of texts that are tokenized already."""
    import torch

    scores = torch.empty(len(encoded), int(model.config.num_labels or 0))
    options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    # Texts of about the same length share a batch, which wastes little on padding.
    order = torch.tensor([len(ids) for ids in encoded], dtype=torch.long).argsort(stable=True)
    with torch.inference_mode():
        for batch in order.split(batch_size) if encoded else ():
            rows = {"input_ids": [encoded[index] for index in batch]}
            padded = tokenizer.pad(rows, return_tensors="pt", padding_side="right")
            scores[batch] = model(**padded.to(model.device), **options).logits.float().cpu()
    return scores


def _without_head(folder: Path) -> list[Problem]:
    """Refuse a folder without a head: it would begin at random, with no more than a warning."""
    names = _tensor_names(folder)
    if not names or any(HEADS & set(name.split(".")) for name in names):
        return []
    got = f"{folder}, whose weights have no head ({' or '.join(sorted(HEADS))})"
    remedy = "Save it again with its head: a random one gives random rewards."
    return [Problem("reward.path", got, "a trained head", remedy)]


def _tensor_names(folder: Path) -> list[str]:
    """Return the names of the tensors in a folder's safetensors, from their headers."""
    from safetensors import safe_open

    names: list[str] = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as tensors:
            names += tensors.keys()
    return names


def _without_tokenizer(folder: Path) -> list[Problem]:
    if any(next(folder.glob(pattern), None) for pattern in TOKENIZERS):
        return []
    remedy = "Save the tokenizer that it was trained with beside it, by save_pretrained."
    return [Problem("reward.path", f"{folder}, without a tokenizer", "the model's own", remedy)]
