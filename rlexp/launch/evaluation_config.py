"""The config of an evaluation, made from that of a run that trains."""

from __future__ import annotations

from rlexp.config.stored import Config
from rlexp.spec.keys import LATER_PARTS

ALGO = "rlexp.algos.evaluate"


def evaluation_config(
    config: Config, reference: Config, model: str | None, *, of_run: bool, scores: bool = False
) -> Config:
    """Return a config with an evaluation in the place of the training.

    Args:
        config: of the run: by its data, rewards and evaluation.
        reference: the config's `model`, which is compared with.
        model: what is evaluated, in the form of `model.path`; None evaluates the reference itself.
        of_run: whether a run trained the model from the reference by the same reward.
        scores: whether it is a reward model.
    """
    algo = {
        "_target_": f"{ALGO}.{'EvaluateRanking' if scores else 'Evaluate'}",
        "name": "evaluate",
        "learning_rate": None,
        "model": model,
        "of_run": of_run,
        "trl": {},
    }
    return {
        **config,
        **LATER_PARTS,  # nothing is drawn: without a curriculum
        "algo": algo,
        "model": reference,
        "train": {**config["train"], "best_metric": None},
        "hardware": {**config["hardware"], "processes": 1},
    }
