"""On-policy distillation (Agarwal et al. 2024, arXiv:2306.13649), with TRL's DistillationTrainer.

The policy samples an answer to each prompt and learns, at each of its tokens, from the whole
distribution that the teacher gives there: a reward at every token, where a run of GRPO has one an
answer. What is minimised lies between the forward and the reverse KL divergence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from rlexp.algos.base import OWNED, Training, as_dataset, common_arguments
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.saved import is_adapter, saved_config, saved_path, vocabulary


class Distill(AlgoSpec):
    """A policy that learns from a teacher with the same vocabulary."""

    needs: ClassVar[Kind] = "prompts"
    trl_config: ClassVar[tuple[str, str]] = (
        "trainer/distillation_config.py",
        "DistillationConfig",
    )
    owned: ClassVar[dict[str, str]] = {
        **{name: key for name, key in OWNED.items() if name not in ("max_length", "beta")},
        "beta": "algo.divergence",
        "max_completion_length": "algo.max_completion_length",
        "temperature": "algo.temperature",
        "top_p": "algo.top_p",
        "top_k": "algo.top_k",
        "teacher_model_name_or_path": "algo.teacher",
        "teacher_model_revision": "algo.teacher_revision",
    }

    teacher: str = Field(min_length=1)
    """Who is imitated: a model's folder, a run's folder, `run:ID`, or a hub id. Its tokenizer must
    be the policy's: probabilities are compared token by token."""
    teacher_revision: str | None
    """Hub branch, tag or commit of the teacher; null takes the main branch."""
    divergence: float = Field(ge=0, le=1)
    """0 is the forward KL(teacher || policy), which covers all that the teacher might say; 1 the
    reverse KL(policy || teacher), which keeps to what it would; between them the generalised
    Jensen-Shannon divergence."""
    max_completion_length: int = Field(gt=0)
    """Longest completion, in tokens."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the rollouts, and of both models in the divergence."""
    top_p: float = Field(gt=0, le=1)
    """Nucleus sampling keeps the most likely tokens of this total probability; 1 keeps all."""
    top_k: int = Field(ge=0)
    """Most likely tokens kept; 0 keeps all."""

    _folder: Path | None = PrivateAttr(default=None)

    def problems(self) -> list[Problem]:
        """The teacher must be there, and write."""
        try:
            path = saved_path(self.teacher, "algo.teacher")
        except UserError as error:
            return list(error.problems)
        return _not_a_language_model(Path(path)) if Path(path).is_dir() else []

    def prepare(self, device: Any, local_folder: Any) -> None:
        """Fetch the teacher."""
        key = "algo.teacher"
        folder = local_folder(saved_path(self.teacher, key), self.teacher_revision, key)
        if wrong := _not_a_language_model(folder):
            raise UserError(wrong)
        self._folder = folder

    def build_trainer(self, training: Training) -> Any:
        """TRL's DistillationTrainer on prompts.

        Raises:
            UserError: a teacher with another vocabulary.
        """
        assert self._folder is not None  # the run prepares its parts before it builds a trainer
        _check_vocabulary(self._folder, training.policy.tokenizer)
        from transformers import AutoModelForCausalLM
        from trl import DistillationConfig, DistillationTrainer

        arguments = DistillationConfig(
            beta=self.divergence,
            max_completion_length=self.max_completion_length,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            **common_arguments(self, training),
        )
        policy = training.policy
        teacher = AutoModelForCausalLM.from_pretrained(
            self._folder, dtype=policy.model.dtype, use_safetensors=True
        )
        return DistillationTrainer(
            model=policy.model,
            teacher_model=teacher.to(policy.model.device),
            args=arguments,
            train_dataset=as_dataset(training.rows),
            processing_class=policy.tokenizer,
            peft_config=policy.adapter,
            callbacks=training.callbacks,
        )


def _not_a_language_model(folder: Path) -> list[Problem]:
    key, want = "algo.teacher", "a causal language model"
    if is_adapter(folder):
        remedy = "Merge it into its base with PEFT's merge_and_unload, and save that."
        return [Problem(key, f"{folder}, an adapter", f"{want}, whole", remedy)]
    names = saved_config(folder).get("architectures") or []
    if all("CausalLM" in name or "LMHead" in name for name in names):
        return []
    return [Problem(key, f"{folder}, a {', '.join(names)}", want)]


def _check_vocabulary(folder: Path, tokenizer: Any) -> None:
    theirs, ours = vocabulary(folder), tokenizer.get_vocab()
    if theirs is None or theirs == ours:
        return
    shared = sum(ours.get(piece) == index for piece, index in theirs.items())
    got = f"{folder}, of whose {len(theirs)} tokens {shared} are the policy's {len(ours)}"
    remedy = "Choose a teacher of the policy's family, or sft on texts that the teacher wrote."
    raise UserError(Problem("algo.teacher", got, "the policy's tokenizer", remedy))
