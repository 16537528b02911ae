"""Trainers that several files here ask for their loss."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from bandit import bandit_spec, policy_and_training, save_bandit
from torch import Tensor
from trainers.drawn_answers import CURRENT, LONGEST
from trl import GRPOTrainer, RLOOTrainer


@pytest.fixture(scope="module")
def bandit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bandit(tmp_path_factory.mktemp("bandit"), seed=0)


@pytest.fixture(scope="module")
def built(bandit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Trainers as runs build them, once for the same words, that read what is drawn."""

    length = f"algo.max_completion_length={LONGEST} algo.num_generations=4"
    specs = {algo: bandit_spec(bandit, f"algo={algo} {length}") for algo in ("grpo", "rloo")}

    @cache
    def build(words: str) -> Any:
        name, *knobs = (word.partition("=")[::2] for word in words.split())
        spec = specs[name[1]]
        changed = {knob.removeprefix("algo."): yaml.safe_load(value) for knob, value in knobs}
        algo = type(spec.algo)(**(spec.algo.model_dump() | changed))
        assert not algo.problems()
        spec = spec.model_copy(update={"algo": algo})
        rows = [{"prompt": "p"}] * 64
        training = policy_and_training(spec, rows, tmp_path_factory.mktemp("run"))
        trainer: Any = spec.algo.build_trainer(training)
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        return trainer

    def scores(self: Any, *arguments: Any, **named: Any) -> tuple[Tensor, Tensor, None]:
        return CURRENT[0].new, CURRENT[0].entropies, None

    with pytest.MonkeyPatch.context() as patch:
        for kind in (GRPOTrainer, RLOOTrainer):
            patch.setattr(kind, "_get_per_token_logps_and_entropies", scores)
        yield build
