"""Studies of every kind that a report makes a page of, made by Optuna without any training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from rlexp.sweep import study as attributes
from rlexp.sweep.confirmation.ranking import CONFIRMS, SEED
from rlexp.sweep.optuna_internals import storage_of

SPACE: Mapping[str, BaseDistribution] = {
    "algo.learning_rate": FloatDistribution(3e-4, 6e-3, log=True),
    "algo.beta": FloatDistribution(0.1, 2.0, log=True),
    "algo.epochs": IntDistribution(1, 4),
    "algo.loss_type": CategoricalDistribution(("[sigmoid]", "[ipo]", "[hinge]")),
}
SMOOTHING = "algo.label_smoothing"
"""A parameter that only some trials have."""


def new_study(
    *directions: str, storage: str | None = None, name: str = "some", space: Any = SPACE
) -> optuna.Study:
    """A study without trials, known by what a sweep tells of it."""
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=[StudyDirection[direction.upper()] for direction in directions or ("maximize",)],
    )
    metrics = ["eval/reward", "eval/kl", "eval/length", "eval/win_rate"][: len(study.directions)]
    recorded = {
        attributes.OBJECTIVES: metrics,
        attributes.SPACE: {key: f"interval of {key}" for key in space},
        attributes.COMMAND: "python -m rlexp -m sweep=some",
        attributes.SAMPLER: "optuna.samplers.TPESampler",
        attributes.PRUNER: "optuna.pruners.MedianPruner",
    }
    for key, value in recorded.items():
        study.set_user_attr(key, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.set_metric_names(metrics)
    return study


def add(study: optuna.Study, *values: float, state: str = "COMPLETE", **more: Any) -> int:
    """A trial with these values; its number.

    Args:
        more: `params` and their `space`, `intermediate` values by step, attributes as `attrs`.
    """
    params = more.get("params", {})
    space = {**SPACE, SMOOTHING: FloatDistribution(0.0, 0.3), **more.get("space", {})}
    study.add_trial(
        create_trial(
            state=TrialState[state],
            values=list(values) if state == "COMPLETE" else None,
            params=params,
            distributions={key: space[key] for key in params},
            intermediate_values=more.get("intermediate", {}),
            user_attrs=more.get("attrs", {}),
        )
    )
    return len(study.trials) - 1


def parameters(index: int) -> dict[str, Any]:
    """Values that differ from trial to trial, one of them conditional."""
    share = index * 0.618 % 1
    loss = ("[sigmoid]", "[ipo]", "[hinge]")[index % 3]
    params = {
        "algo.learning_rate": 3e-4 * 20**share,
        "algo.beta": 0.1 * 20 ** (index * 0.414 % 1),
        "algo.epochs": 1 + index % 4,
        "algo.loss_type": loss,
    }
    return {**params, SMOOTHING: 0.3 * share} if loss == "[sigmoid]" else params


def score(params: Mapping[str, Any]) -> float:
    """A reward that has a best learning rate, and a loss that it likes."""
    off = math.log(params["algo.learning_rate"] / 2e-3)
    return 0.8 - 0.1 * off**2 + 0.1 * (params["algo.loss_type"] == "[ipo]")


def searched(count: int = 16, *directions: str, **more: Any) -> optuna.Study:
    """A study with complete, pruned, failed and running trials."""
    study = new_study(*directions, **more)
    for index in range(count):
        params = parameters(index)
        value = score(params)
        curve = {step: value * step / 20 for step in (5, 10, 15, 20)}
        if index % 8 == 5:
            add(study, params=params, state="PRUNED", intermediate={5: curve[5]})
        elif index % 8 == 7:
            add(study, params=params, state="FAIL", attrs={"error": "RunFailed: it diverged"})
        else:
            others = [abs(0.3 - value), 20.0 + index, value / 2][: len(study.directions) - 1]
            add(study, value, *others, params=params, intermediate=curve)
    add(study, params=parameters(count), state="RUNNING")
    return study


def confirm(study: optuna.Study, values: Mapping[int, list[float | None]]) -> None:
    """Runs of some trials with the seeds 1, 2, …; None for one that failed."""
    confirmation = optuna.create_study(
        study_name=f"{study.study_name}{attributes.CONFIRM}",
        storage=storage_of(study),
        directions=study.directions,
    )
    for number, by_seed in values.items():
        for seed, value in enumerate(by_seed, start=1):
            attrs = {CONFIRMS: number, SEED: seed}
            if value is None:
                add(
                    confirmation, state="FAIL", attrs={**attrs, "error": "ValueError: not this one"}
                )
            else:
                add(confirmation, value, attrs=attrs)


def trial_folder(sweep: Path, number: int) -> Path:
    """As much of a trial's folder as a report reads."""
    folder = sweep / str(number)
    folder.mkdir(parents=True)
    config = {"seed": 0, "name": f"trial-{number:03d}", "algo": {"beta": number / 10}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "card.html").write_text("a card", encoding="utf-8")
    return folder
