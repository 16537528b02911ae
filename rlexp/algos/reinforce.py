"""REINFORCE with a KL penalty and a baseline (rlexp.trainers.reinforce)."""

from __future__ import annotations

from pydantic import Field

from rlexp.algos.common.on_policy import OnPolicyAlgo, trainer_inputs
from rlexp.algos.common.reference import check_reference_sync
from rlexp.algos.common.rollouts import with_vllm
from rlexp.algos.common.trl import Training, whole_parts
from rlexp.spec.algo import TrainerLike
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.train import TrainSpec
from rlexp.trainers.config import ReinforceConfig


class Reinforce(ReinforceConfig, OnPolicyAlgo):
    """The policy gradient itself: one optimizer step on each batch of answers."""

    num_generations: int = Field(gt=0)
    """Completions a prompt; at least 2 for `leave_one_out`."""

    def problems(self) -> list[Problem]:
        """A baseline of other answers where there is no other."""
        problems = super().problems()
        if self.baseline != "leave_one_out" or self.num_generations > 1:
            return problems
        want = "at least 2 where baseline=leave_one_out"
        return [*problems, Problem("algo.num_generations", str(self.num_generations), want)]

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Each process answers whole prompts."""
        return whole_parts("algo.num_generations", self.num_generations, train, hardware)

    def build_trainer(self, training: Training) -> TrainerLike:
        """REINFORCE on prompts, with the run's reward."""
        from rlexp.trainers.reinforce import ReinforceTrainer

        check_reference_sync(self, training.policy)
        inputs = trainer_inputs(
            self, training, with_reference=self.beta > 0, generations=self.num_generations
        )
        return with_vllm(self, training, ReinforceTrainer(inputs, self))
