"""REINFORCE with a KL penalty and a baseline (rlexp.trainers.reinforce)."""

from __future__ import annotations

from rlexp.algos.common.on_policy import OnPolicyAlgo, trainer_inputs
from rlexp.algos.common.reference import check_reference_sync
from rlexp.algos.common.rollouts import with_vllm
from rlexp.algos.common.trl import Training
from rlexp.spec.algo import TrainerLike
from rlexp.spec.errors import Problem
from rlexp.trainers.config import ReinforceConfig


class Reinforce(ReinforceConfig, OnPolicyAlgo):
    """The policy gradient itself: one optimizer step on each batch of answers."""

    def problems(self) -> list[Problem]:
        """A baseline of other answers where there is no other."""
        problems = super().problems()
        if self.baseline != "leave_one_out" or self.num_generations > 1:
            return problems
        want = "at least 2 where baseline=leave_one_out"
        return [*problems, Problem("algo.num_generations", str(self.num_generations), want)]

    def build_trainer(self, training: Training) -> TrainerLike:
        """REINFORCE on prompts, with the run's reward."""
        from rlexp.trainers.reinforce import ReinforceTrainer

        check_reference_sync(self, training.policy)
        inputs = trainer_inputs(self, training, with_reference=self.beta > 0)
        return with_vllm(self, training, ReinforceTrainer(inputs, self))
