"""A trained reward model's score of the whole text: prompt and completion.

Train one with `algo=reward`, then `reward=model reward.path=FOLDER`. Several, trained with other
seeds, are an ensemble: `reward.path='[A,B,C]'`. They agree where they learnt from data, and part
where a policy has found what only one of them likes, so their disagreement is subtracted: mean -
disagreement x standard deviation. Coste et al. 2024 (arXiv:2310.02743) subtract the variance; the
standard deviation has the unit of the scores, so that one factor serves models of any scale.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import BeforeValidator, Field

from rlexp.rewards.common.classifier import (
    NeuralReward,
    classifier_folder,
    classifier_problems,
    load_classifier,
    logits,
)
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import DataColumn, Message, Text

if TYPE_CHECKING:
    import torch
    from transformers import BatchEncoding, PreTrainedTokenizerBase


def _as_list(paths: object) -> object:
    return [paths] if isinstance(paths, str) else paths


Paths = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_as_list)]


class Model(NeuralReward):
    """The score of a sequence classifier with one output; any number, higher is better.

    Of several it is their mean minus `disagreement` x their standard deviation. Texts are tokenized
    as TRL's RewardTrainer does: prompt and completion in one, the end token after a plain text, the
    model's own chat template around a conversation. An empty completion is scored as the prompt
    alone.

    >>> pessimistic([[1.0, 2.0], [3.0, 2.0]], disagreement=0.5)
    [1.5, 2.0]
    """

    path: Paths = Field(min_length=1)
    """A reward model: its folder, the folder of the run that trained it, `run:ID`,
    `registry:NAME@ALIAS`, or a hub id. Or a list of them: an ensemble."""
    disagreement: float = Field(ge=0)
    """Factor of the ensemble's standard deviation, which is subtracted from its mean; with a single
    model it says nothing."""

    def problems(self) -> list[Problem]:
        """Return a problem for each model that is not there, or gives no score."""
        problems: list[Problem] = []
        if repeated := sorted({path for path in self.path if self.path.count(path) > 1}):
            problems.append(Problem("reward.path", f"{repeated[0]} twice", "different models"))
        for path in self.path:
            try:
                folder = classifier_folder(path)
            except UserError as error:
                problems += error.problems
                continue
            problems += classifier_problems(folder, scores=True) if folder else []
        return problems

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Fetch the models and load them."""
        folders = [self.fetch(path, device, local_folder) for path in self.path]
        if problems := [
            problem for folder in folders for problem in classifier_problems(folder, scores=True)
        ]:
            raise UserError(problems)
        for folder in folders:
            load_classifier(str(folder), self._device, 1)

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float]:
        members = [self._scores(path, prompts, completions) for path in self.path]
        return members[0] if len(members) == 1 else pessimistic(members, self.disagreement)

    def _scores(self, path: str, prompts: list[Text], completions: list[Text]) -> list[float]:
        model, tokenizer = load_classifier(self.folder_of(path), self._device, 1)
        encoded = [
            _encoded(tokenizer, prompt, completion)[-self.max_length :]
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        return logits(model, tokenizer, encoded, self.batch_size)[:, 0].tolist()


def pessimistic(members: list[list[float]], disagreement: float) -> list[float]:
    """Return the members' mean minus `disagreement` x their (population) standard deviation.

    Args:
        members: of each model, its n scores.
        disagreement: the factor.
    """
    import numpy

    scores = numpy.array(members, dtype=float)
    return (scores.mean(axis=0) - disagreement * scores.std(axis=0)).tolist()


def _encoded(tokenizer: PreTrainedTokenizerBase, prompt: Text, completion: Text) -> list[int]:
    if isinstance(prompt, str) and isinstance(completion, str):
        text = prompt + completion
        end = tokenizer.eos_token
        assert isinstance(end, str)
        encoding = tokenizer(text if text.endswith(end) else text + end)
    else:
        turns = [*_turns(prompt, "user"), *_turns(completion, "assistant")]
        encoding = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)
    return cast("BatchEncoding", encoding)["input_ids"]


def _turns(text: Text, role: str) -> list[Message]:
    return [{"role": role, "content": text}] if isinstance(text, str) else text
