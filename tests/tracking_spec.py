"""A specification with what tracking reads of it, for the tests and the processes they start."""

from __future__ import annotations

from typing import Any

from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import DataSpec
from rlexp.spec.eval import EvalSpec
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.peft import NoPeft
from rlexp.spec.reward import RewardSpec
from rlexp.spec.run import RunSpec
from rlexp.spec.tracking import TrackingSpec
from rlexp.spec.train import TrainSpec


class ToyAlgo(AlgoSpec):
    beta: float
    loss: str
    clip: float | None


def tracking_spec(uri: str | None, name: str = "toy run", experiment: str = "rlexp") -> RunSpec:
    def part(kind: Any, **fields: Any) -> Any:
        return kind.model_construct(**fields)

    return RunSpec.model_construct(
        seed=7,
        name=name,
        train=part(TrainSpec, max_steps=3, batch_size=4, lr_scheduler="linear"),
        algo=ToyAlgo(name="toy", learning_rate=1e-3, trl={"x": 1}, beta=0.1, loss="a", clip=None),
        model=part(ModelSpec, name="tiny", dtype="auto"),
        peft=NoPeft(kind="none"),
        data=part(DataSpec, name="reviews", max_completion_length=48),
        reward=part(RewardSpec, name="sentiment"),
        hardware=part(HardwareSpec, name="cpu", processes=1),
        eval=part(EvalSpec, name="default", gold={}),
        tracking=TrackingSpec(
            name="mlflow",
            uri=uri,
            registry=uri,
            experiment=experiment,
            tags={"purpose": "test"},
            log_model=False,
        ),
    )
