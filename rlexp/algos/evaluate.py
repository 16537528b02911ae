"""No training: a model as it stands is evaluated, and where there is another one, against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from rlexp.spec.algo import UntrainedAlgo
from rlexp.spec.checks.model import model_is_there
from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem
from rlexp.spec.files.model_problems import folder_problems
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import Head


class Evaluate(UntrainedAlgo):
    """What `python -m rlexp evaluate` runs on a model that writes."""

    reads_training_rows: ClassVar[bool] = False
    run_by: ClassVar[str] = "rlexp.runner.evaluate.run_evaluation"

    model: str | None
    """The model that is evaluated, in the form of `model.path`, which then is what it is compared
    with; null evaluates `model.path` itself."""
    of_run: bool
    """Whether a run trained the model from `model.path` by the same reward: then the card warns of
    what training does, as a run's does."""

    @property
    def warns_of_training(self) -> bool:
        return self.of_run

    @classmethod
    def sentence(cls, config: Mapping[str, Any]) -> str:
        reference, examined = config["model"]["path"], config["algo"]["model"]
        compared = f", against `{reference}`" if examined else ""
        data, reward = config["data"]["name"], config["reward"]["name"]
        model = examined or reference
        return f"An evaluation of `{model}`{compared}, on {data}, by the reward {reward}."

    def examined(self, reference: ModelSpec) -> ModelSpec:
        """The model that is evaluated, where it is another one than the reference."""
        if self.model is None:
            return reference
        changed = {"path": self.model, "revision": None, "tokenizer": None}
        return reference.model_copy(update=changed)

    def fits_model(self, model: ModelSpec) -> list[Problem]:
        if self.model is None:
            return []
        examined = self.examined(model)
        problems = model_is_there(examined)
        folder = Path(examined.path).expanduser()
        if not problems and folder.is_dir():
            problems = folder_problems(folder, examined, (self.head,), "algo.model")
        return [replace(problem, key="algo.model") for problem in problems]


class EvaluateRanking(Evaluate):
    """The same on a model that scores texts: does it put pairs in the right order?"""

    needs: ClassVar[Kind] = "pairs"
    head: ClassVar[Head] = "reward"

    @property
    def matches_labels(self) -> bool:
        return True
