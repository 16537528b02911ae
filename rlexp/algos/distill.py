"""On-policy distillation (Agarwal et al. 2024, arXiv:2306.13649), with TRL's DistillationTrainer.

The policy samples an answer to each prompt and learns, at each of its tokens, from the whole
distribution that the teacher gives there: a reward at every token, where a run of GRPO has one an
answer. What is minimised lies between the forward and the reverse KL divergence.

Each row may have a teacher of its own. A teacher may also be the policy itself, as an exponential
moving average, that is shown more than the policy reads, such as the right answer (Shenfeld et al.
2026, arXiv:2601.19897).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr

from rlexp.algos.common.auxiliary_model import AuxiliaryModel
from rlexp.algos.common.rollouts import (
    explain_missing_server,
    longest_sequence,
    rollout_arguments,
    with_rollouts,
)
from rlexp.algos.common.trl import OWNED_OF_ROLLOUTS, Training, trl_trainer
from rlexp.spec.algo import RolloutAlgo, TrainerLike, TrlField
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import saved_path
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import KINDS
from rlexp.spec.reward import DataColumns
from rlexp.spec.text import Text, content_of

if TYPE_CHECKING:
    import torch

    from rlexp.algos.common.policy import PolicyToTrain

TEACHER = AuxiliaryModel(
    "algo.teacher",
    ("CausalLM", "LMHead"),
    "a causal language model",
    "Choose a teacher of the policy's family, or sft on texts that the teacher wrote, or set "
    "algo.across_tokenizers=true.",
)
AVERAGE = "ema"
COLUMN, PROMPT = "algo.teacher_column", "algo.teacher_prompt"
_NAMED = re.compile(r"{(\w+)}")


class Distill(RolloutAlgo):
    """A policy that learns from teachers with the same vocabulary."""

    needs_reward: ClassVar[bool] = False
    trl_runs_vllm: ClassVar[bool] = True
    trl_config: ClassVar[tuple[str, str]] = ("trainer/distillation_config.py", "DistillationConfig")
    owned: ClassVar[dict[str, str]] = {
        **OWNED_OF_ROLLOUTS,
        "teacher_model_name_or_path": "algo.teacher",
        "teacher_model_revision": "algo.teacher_revision",
    }

    teacher: str | None = Field(min_length=1)
    """Who is imitated: a model's folder, a run's folder, `run:ID`, one of its checkpoints
    (`run:ID/step-000020`), or a hub id. Its tokenizer must be the policy's: probabilities are
    compared token by token. `ema` is the policy itself, as a moving average; it wants a
    `teacher_prompt`."""
    teacher_revision: str | None
    """Hub branch, tag or commit of the teacher; null takes the main branch."""
    teachers: dict[str, str]
    """Several teachers, in the place of `teacher`: each by the name that the rows have for it."""
    teacher_column: str | None
    """Column of the data with the name of each row's teacher; of a mix, `source` will do."""
    teacher_prompt: str | None = Field(min_length=1)
    """What a teacher reads: `{prompt}`, which is the prompt's last turn, and columns of the data in
    braces; null: what the policy reads."""
    ema_decay: float = Field(ge=0, le=1)
    """Weight of the past in the policy's average, an optimizer step, for `teacher=ema`; 1 keeps
    what the policy began as."""
    divergence: Annotated[float, TrlField("beta")] = Field(ge=0, le=1)
    """0 is the forward KL(teacher || policy), which covers all that the teacher might say; 1 the
    reverse KL(policy || teacher), which keeps to what it would; between them the generalised
    Jensen-Shannon divergence."""
    temperature: Annotated[float, TrlField()] = Field(gt=0)
    """Softmax temperature of the rollouts, and of both models in the divergence."""
    across_tokenizers: bool
    """Whether the teacher may have other tokens (GOLD, for byte-level tokenizers): what stands
    between the places where both end a token is compared. A conversation goes through the teacher's
    own chat template, and an answer's end is not taught."""

    _folders: dict[str, Path] = PrivateAttr(default_factory=dict)

    @property
    def _paths(self) -> dict[str, str]:
        """The teachers that are models by themselves, by their names in the data."""
        alone = self.teacher and self.teacher != AVERAGE
        return {"": self.teacher} if alone else self.teachers  # pyright: ignore[reportReturnType]

    def problems(self) -> list[Problem]:
        """Teachers must be there, and write; each knob must have something to say."""
        there = [
            problem
            for name, path in self._paths.items()
            for problem in _teacher(name).problems(path)
        ]
        return [*super().problems(), *self._unclear(), *there]

    def _unclear(self) -> list[Problem]:
        problems = []
        if self.teacher is None and not self.teachers:
            want = "who is imitated: a model's folder, run:ID, a hub id, or ema"
            problems.append(Problem("algo.teacher", "nothing", want, "Set algo.teacher=FOLDER."))
        if self.teacher is not None and self.teachers:
            want = "null beside algo.teachers, which names one for each row"
            remedy = "Leave one of the two out."
            problems.append(Problem("algo.teacher", self.teacher, want, remedy))
        if bool(self.teachers) != (self.teacher_column is not None):
            names = ", ".join(self.teachers)
            want = f"the column with the names {names}" if names else "null with one teacher"
            got, remedy = str(self.teacher_column or "null"), f"Set {COLUMN}=null."
            problems.append(Problem(COLUMN, got, want, "" if names else remedy))
        if self.teacher_revision is not None and (self.teachers or self.teacher == AVERAGE):
            want = "null with several teachers, and with ema"
            problems.append(Problem("algo.teacher_revision", self.teacher_revision, want))
        if self.teacher == AVERAGE and self.teacher_prompt is None:
            want = (
                "a prompt that shows the teacher more with algo.teacher=ema: it says what the "
                "policy says otherwise, and there is nothing to learn"
            )
            remedy = f"Show it a column that helps: '{PROMPT}=\"{{prompt}} {{COLUMN}}\"'"
            problems.append(Problem(PROMPT, "null", want, remedy))
        if self.teacher_prompt is not None and "{prompt}" not in self.teacher_prompt:
            want = "a text with {prompt} in it"
            problems.append(Problem(PROMPT, repr(self.teacher_prompt), want))
        return problems + (self._too_much_across() if self.across_tokenizers else [])

    def _too_much_across(self) -> list[Problem]:
        """What only teachers of the policy's tokens can do."""
        key, off = "algo.across_tokenizers", "Set algo.across_tokenizers=false."
        ways = {
            "several teachers": self.teachers,
            "algo.teacher=ema": self.teacher == AVERAGE,
            "algo.teacher_prompt": self.teacher_prompt,
            "algo.rollout=vllm": self.rollout == "vllm",
            "algo.trl, which is another trainer's": self.trl,
        }
        want = "one teacher, who reads the prompt"
        return [Problem(key, f"true with {way}", want, off) for way, used in ways.items() if used]

    def columns(self) -> dict[str, set[str]]:
        """The data's columns that tell teachers apart, and those that they read."""
        read = set(_NAMED.findall(self.teacher_prompt or "")) - {"prompt"}
        return {COLUMN: {self.teacher_column} if self.teacher_column else set(), PROMPT: read}

    def row_problems(self, columns: DataColumns) -> list[tuple[int, Problem]]:
        """Rows of a teacher that is not there, or with nothing to show to one."""
        problems = []
        for key, names in self.columns().items():
            for name in names:
                for row, value in enumerate(columns[name]):
                    if key == COLUMN and value not in self.teachers:
                        want = f"one of algo.teachers: {', '.join(self.teachers)}"
                        remedy = "Name it too: +algo.teachers.NAME=PATH"
                        problem = Problem(COLUMN, f"{value!r} in {name}", want, remedy)
                        problems.append((row, problem))
                    if key == PROMPT and value is None:
                        got, want = f"nothing in {name}", f"a value: {PROMPT} shows it"
                        problems.append((row, Problem(PROMPT, got, want)))
        return problems

    def fits_model(self, model: ModelSpec) -> list[Problem]:
        """Teachers must read the policy's tokens, or both write bytes."""
        if self.across_tokenizers:
            return self._unlike_bytes(model)
        return [
            problem
            for name, path in self._paths.items()
            for problem in _teacher(name).token_problems(path, model)
        ]

    def _unlike_bytes(self, model: ModelSpec) -> list[Problem]:
        problems = []
        paths = {"model.path": model.tokenizer or model.path, TEACHER.key: self.teacher or ""}
        for key, path in paths.items():
            file = Path(saved_path(path, key)) / "tokenizer.json" if _is_there(path, key) else None
            if file and file.is_file() and '"ByteLevel"' not in file.read_text(encoding="utf-8"):
                want = "a byte-level tokenizer with algo.across_tokenizers=true"
                problems.append(Problem(key, f"{path}, whose tokens are no bytes", want))
        return problems

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Fetch the teachers."""
        for name, path in self._paths.items():
            folder = _teacher(name).fetch(path, self.teacher_revision, local_folder)
            self._folders[name] = folder

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's DistillationTrainer on prompts.

        Raises:
            UserError: a teacher with another vocabulary.
        """
        # the run prepares its parts before it builds a trainer
        assert self._folders.keys() == self._paths.keys()
        if self.across_tokenizers:
            return self._build_across(training)
        models = {name: self._load(name, training.policy) for name in self._paths}
        from trl import DistillationConfig

        from rlexp.algos.common.distillation.teachers import TeachersTrainer

        arguments = DistillationConfig(**rollout_arguments(self, training))
        more = {
            "teacher_models": models,
            "teacher_of": lambda row: row[self.teacher_column],
            "teacher_prompt": self.prompt_of if self.teacher_prompt else None,
            "ema_decay": self.ema_decay if self.teacher == AVERAGE else None,
        }
        with explain_missing_server(self):
            trainer = trl_trainer(TeachersTrainer, arguments, training, **more)
        return with_rollouts(self, training, trainer)

    def _build_across(self, training: Training) -> TrainerLike:
        from rlexp.algos.common.distillation.across_tokenizers import (
            CrossTokenizerTrainer,
            gold_arguments,
            prompt_texts,
        )

        policy, folder = training.policy, self._folders[""]
        prompts = [row["prompt"] for row in training.rows]
        end = policy.tokenizer.eos_token  # TRL asks for an answer, and samples others
        rows = [{"prompt": text, "completion": end} for text in prompt_texts(policy, prompts)]
        longest = longest_sequence(self, training) + 1
        arguments = gold_arguments(rollout_arguments(self, training), folder, longest)
        model, _ = KINDS["language"].load(folder, TEACHER.key, dtype=policy.model.dtype)
        policy.treat_padding(model)
        more = {
            "teacher_model": model.to(policy.model.device),
            "prompts": prompts,
            "ends": policy.eos_token_ids,
        }
        training = dataclasses.replace(training, rows=rows)
        trainer = trl_trainer(CrossTokenizerTrainer, arguments, training, **more)
        return with_rollouts(self, training, trainer)

    def prompt_of(self, row: dict[str, Any]) -> Text:
        """Return what a row's teacher reads."""
        assert self.teacher_prompt is not None
        prompt: Text = row["prompt"]
        last = prompt if isinstance(prompt, str) else content_of(prompt[-1])
        text = _NAMED.sub(
            lambda name: last if name[1] == "prompt" else str(row[name[1]]), self.teacher_prompt
        )
        return text if isinstance(prompt, str) else [*prompt[:-1], {**prompt[-1], "content": text}]

    def _load(self, name: str, policy: PolicyToTrain) -> Any:
        """Return a teacher beside the policy, where its distribution can be compared with that."""
        teacher, folder = _teacher(name), self._folders[name]
        teacher.check_tokens(folder, policy.tokenizer.get_vocab())
        model, _ = KINDS["language"].load(folder, teacher.key, dtype=policy.model.dtype)
        own, of_policy = (one.config.get_text_config().vocab_size for one in (model, policy.model))
        if own != of_policy:
            got = f"{folder}, which gives logits for {own} tokens"
            want = f"logits for as many as the policy's: {of_policy}"
            raise UserError(Problem(teacher.key, got, want, teacher.remedy))
        policy.treat_padding(model)
        return model.to(policy.model.device)


def _is_there(path: str, key: str) -> bool:
    try:
        return Path(saved_path(path, key)).is_dir()
    except UserError:  # the check of the path has told of it
        return False


def _teacher(name: str) -> AuxiliaryModel:
    return dataclasses.replace(TEACHER, key=f"algo.teachers.{name}") if name else TEACHER
