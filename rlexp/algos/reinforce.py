"""REINFORCE with a KL penalty and a baseline (rlexp.trainers.reinforce)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rlexp.algos.common.on_policy import on_policy_task
from rlexp.algos.common.rollouts import with_vllm
from rlexp.algos.common.trl import Training, whole_parts
from rlexp.spec.algo import RolloutAlgo
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.train import TrainSpec


class Reinforce(RolloutAlgo):
    """The policy gradient itself: one optimizer step on each batch of answers."""

    beta: float = Field(ge=0)
    """KL coefficient: what a nat of drift from the reference costs, in units of the reward. 0
    loads no reference, and nothing keeps the model writing well."""
    baseline: Literal["none", "moving_average", "leave_one_out"]
    """What an answer's return is compared with: nothing, the mean of earlier batches, or the mean
    of the other answers to its prompt (arXiv:2402.14740)."""
    baseline_decay: float = Field(ge=0, lt=1)
    """Weight of the past in the moving average, a step."""
    num_generations: int = Field(gt=0)
    """Completions a prompt; at least 2 for `leave_one_out`."""
    rollout: Literal["fast", "vllm"]  # pyright: ignore[reportIncompatibleVariableOverride]
    """Who samples: rlexp's own loop, or vLLM, for models that are large on GPUs (it draws by its
    own random numbers, so that a seed does not repeat a run)."""
    trl: dict[str, Any] = Field(max_length=0)
    """Empty: the trainer is rlexp's own."""

    def problems(self) -> list[Problem]:
        """A baseline of other answers where there is no other."""
        found = super().problems()
        if self.baseline != "leave_one_out" or self.num_generations > 1:
            return found
        want = "at least 2 where baseline=leave_one_out"
        return [*found, Problem("algo.num_generations", str(self.num_generations), want)]

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Each process answers whole prompts."""
        return whole_parts("algo.num_generations", self.num_generations, train, hardware)

    def build_trainer(self, training: Training) -> Any:
        """REINFORCE on prompts, with the run's reward."""
        from rlexp.trainers.reinforce import ReinforceConfig, ReinforceTrainer

        task = on_policy_task(self, training, generations=self.num_generations)
        knobs = ReinforceConfig(self.beta, self.baseline, self.baseline_decay)
        return with_vllm(self, training, ReinforceTrainer(task, knobs))
