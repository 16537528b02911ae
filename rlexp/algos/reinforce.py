"""REINFORCE with a KL penalty and a baseline (rlexp.trainers.reinforce)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from rlexp.algos.base import Training
from rlexp.algos.on_policy import on_policy_task
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec, TrainSpec


class Reinforce(AlgoSpec):
    """The policy gradient itself: one optimizer step on each batch of answers."""

    needs: ClassVar[Kind] = "prompts"
    needs_reward: ClassVar[bool] = True

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
    max_completion_length: int = Field(gt=0)
    """Longest completion, in tokens."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the rollouts."""
    top_p: float = Field(gt=0, le=1)
    """Nucleus sampling keeps the most likely tokens of this total probability; 1 keeps all."""
    top_k: int = Field(ge=0)
    """Most likely tokens kept; 0 keeps all."""
    trl: dict[str, Any] = Field(max_length=0)
    """Empty: the trainer is rlexp's own."""

    def problems(self) -> list[Problem]:
        """A baseline of other answers where there is no other."""
        if self.baseline != "leave_one_out" or self.num_generations > 1:
            return []
        want = "at least 2 where baseline=leave_one_out"
        return [Problem("algo.num_generations", str(self.num_generations), want)]

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """Each process answers whole prompts."""
        share = train.batch_size // hardware.processes
        if share % self.num_generations == 0:
            return []
        want = f"a divisor of the {share} sequences of a process (train.batch_size / processes)"
        near = min(
            (n for n in range(1, share + 1) if share % n == 0),
            key=lambda n: abs(n - self.num_generations),
        )
        remedy = f"{near} is the nearest."
        return [Problem("algo.num_generations", str(self.num_generations), want, remedy)]

    def build_trainer(self, training: Training) -> Any:
        """REINFORCE on prompts, with the run's reward."""
        from rlexp.trainers.reinforce import ReinforceKnobs, ReinforceTrainer

        task = on_policy_task(self, training, generations=self.num_generations)
        knobs = ReinforceKnobs(self.beta, self.baseline, self.baseline_decay)
        return ReinforceTrainer(task, knobs)
