"""What a trained reward model thinks of the whole text: prompt and completion.

Train one with `algo=reward`, then `reward=model reward.path=FOLDER`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import RewardSpec, Text
from rlexp.spec.saved import is_adapter, saved_config, saved_path, vocabulary

HEADS = {"score", "classifier", "classification_head"}
"""What transformers calls the head that makes one number of a text."""
TOKENIZERS = ("tokenizer*", "vocab.*", "*.model")
"""Files of which a tokenizer has one at least."""


class Model(RewardSpec):
    """The score of a sequence classifier with one output; any number, higher is better.

    Texts are tokenized as TRL's RewardTrainer does: prompt and completion in one, the end token
    after a plain text, the model's own chat template around a conversation. An empty completion is
    scored as the prompt alone.
    """

    path: str = Field(min_length=1)
    """A reward model: its folder, the folder of the run that trained it, `run:ID`,
    `registry:NAME@ALIAS`, or a hub id."""
    revision: str | None
    """Hub branch, tag or commit; null takes the main branch."""
    device: Literal["policy", "cpu"]
    """Where it computes: beside the policy, or on the CPU where that one's memory is short."""
    batch_size: int = Field(gt=0)
    """Texts scored at once."""
    max_length: int = Field(gt=0)
    """Tokens of prompt and completion; longer texts lose their beginning."""

    _folder: str | None = PrivateAttr(default=None)
    _device: str = PrivateAttr(default="cpu")

    def problems(self) -> list[Problem]:
        """The model must be there, and score."""
        try:
            path = saved_path(self.path, "reward.path")
        except UserError as error:
            return list(error.problems)
        return unfit(Path(path)) if Path(path).is_dir() else []

    def prepare(self, device: Any, local_folder: Any) -> None:
        """Fetch the model and load it."""
        path = saved_path(self.path, "reward.path")
        folder = local_folder(path, self.revision, "reward.path")
        if wrong := unfit(folder):
            raise UserError(wrong)
        self._folder = str(folder)
        self._device = str(device) if self.device == "policy" else "cpu"
        _loaded(self._folder, self._device)

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: list[Any]
    ) -> list[float]:
        import torch

        if not completions:
            return []
        folder = self._folder or saved_path(self.path, "reward.path")
        model, tokenizer = _loaded(folder, self._device)
        encoded = [
            _encoded(tokenizer, prompt, completion)[-self.max_length :]
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        scores = torch.empty(len(encoded))
        # Texts of about the same length share a batch, which wastes little on padding.
        order = torch.tensor([len(ids) for ids in encoded]).argsort(stable=True)
        with torch.inference_mode():
            for batch in order.split(self.batch_size):
                rows = {"input_ids": [encoded[index] for index in batch]}
                padded = tokenizer.pad(rows, return_tensors="pt", padding_side="right")
                logits = model(**padded.to(model.device), use_cache=False).logits
                scores[batch] = logits[:, 0].float().cpu()
        return scores.tolist()


def unfit(folder: Path) -> list[Problem]:
    """What keeps the model in a folder from being a reward; its weights are not read."""
    config, key = saved_config(folder), "reward.path"
    remedy = "Train one: python -m rlexp algo=reward, then reward.path=THE_RUNS_FOLDER."
    if is_adapter(folder):
        kind = config.get("task_type")
        got = f"{folder}, an adapter for {kind}"
        if kind != "SEQ_CLS":
            return [Problem(key, got, "one for SEQ_CLS", remedy)]
        return _without_head(folder) or _without_tokenizer(folder)
    names = config.get("architectures") or ["model of unknown architecture"]
    if not any(name.endswith("ForSequenceClassification") for name in names):
        got = f"{folder}, a {', '.join(names)}"
        return [Problem(key, got, "a …ForSequenceClassification", remedy)]
    outputs = len(
        config.get("id2label", ("NEGATIVE", "POSITIVE"))
    )  # transformers omits its default
    if outputs != 1:
        return [Problem(key, f"{folder}, a classifier of {outputs} classes", "one output", remedy)]
    pieces, embedded = vocabulary(folder), config.get("vocab_size")
    if pieces and embedded and max(pieces.values()) >= embedded:
        got = f"{folder}: token {max(pieces.values())}, of a model that embeds {embedded}"
        return [Problem(key, got, "the model's own tokenizer", "Save the two together again.")]
    return _without_head(folder) or _without_tokenizer(folder)


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


@lru_cache(maxsize=4)
def _loaded(folder: str, device: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    kind: Any = AutoModelForSequenceClassification
    if is_adapter(Path(folder)):
        from peft import AutoPeftModelForSequenceClassification

        kind = AutoPeftModelForSequenceClassification
    model = kind.from_pretrained(folder, num_labels=1, use_safetensors=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.to(device).eval().requires_grad_(False), tokenizer


def _encoded(tokenizer: Any, prompt: Text, completion: Text) -> list[int]:
    if isinstance(prompt, str) and isinstance(completion, str):
        whole = prompt + completion
        end = "" if whole.endswith(tokenizer.eos_token) else tokenizer.eos_token
        return tokenizer(whole + end)["input_ids"]
    turns = [*_turns(prompt, "user"), *_turns(completion, "assistant")]
    return tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"]


def _turns(text: Text, role: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": text}] if isinstance(text, str) else text
