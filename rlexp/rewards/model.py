"""What a trained reward model thinks of the whole text: prompt and completion.

Train one with `algo=reward`, then `reward=model reward.path=FOLDER`. Several, trained with other
seeds, are an ensemble: `reward.path='[A,B,C]'`. They agree where they learnt from data, and part
where a policy has found what only one of them likes, so their disagreement is subtracted: mean -
disagreement x standard deviation. Coste et al. 2024 (arXiv:2310.02743) subtract the variance; the
standard deviation has the unit of the scores, so that one factor serves models of any scale.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from rlexp.rewards.common.classifier import NeuralReward, classifier_problems, loaded, logits, seen
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import DataColumn, Text


def _listed(paths: Any) -> Any:
    return [paths] if isinstance(paths, str) else paths


Paths = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_listed)]


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
        """The models must be there, and score."""
        found: list[Problem] = []
        if twice := sorted({path for path in self.path if self.path.count(path) > 1}):
            found.append(Problem("reward.path", f"{twice[0]} twice", "different models"))
        for path in self.path:
            try:
                folder = seen(path)
            except UserError as error:
                found += error.problems
                continue
            found += classifier_problems(folder, scores=True) if folder else []
        return found

    def prepare(self, device: Any, local_folder: Any) -> None:
        """Fetch the models and load them."""
        folders = [self.found(path, device, local_folder) for path in self.path]
        if wrong := [
            problem for folder in folders for problem in classifier_problems(folder, scores=True)
        ]:
            raise UserError(wrong)
        for folder in folders:
            loaded(str(folder), self._device, 1)

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float]:
        members = [self._scores(path, prompts, completions) for path in self.path]
        return members[0] if len(members) == 1 else pessimistic(members, self.disagreement)

    def _scores(self, path: str, prompts: list[Text], completions: list[Text]) -> list[float]:
        model, tokenizer = loaded(self.folder_of(path), self._device, 1)
        encoded = [
            _encoded(tokenizer, prompt, completion)[-self.max_length :]
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        return logits(model, tokenizer, encoded, self.batch_size)[:, 0].tolist()


def pessimistic(members: list[list[float]], disagreement: float) -> list[float]:
    """Mean of the members' scores minus `disagreement` x their (population) standard deviation.

    Args:
        members: of each model, its n scores.
        disagreement: the factor.
    """
    import numpy

    scores = numpy.array(members, dtype=float)
    return (scores.mean(axis=0) - disagreement * scores.std(axis=0)).tolist()


def _encoded(tokenizer: Any, prompt: Text, completion: Text) -> list[int]:
    if isinstance(prompt, str) and isinstance(completion, str):
        whole = prompt + completion
        end = "" if whole.endswith(tokenizer.eos_token) else tokenizer.eos_token
        return tokenizer(whole + end)["input_ids"]
    turns = [*_turns(prompt, "user"), *_turns(completion, "assistant")]
    return tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"]


def _turns(text: Text, role: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": text}] if isinstance(text, str) else text
