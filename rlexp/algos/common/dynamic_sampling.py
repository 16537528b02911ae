"""Dynamic sampling (`rlexp.trainers.groups`) for TRL's trainers.

Groups are chosen before the trainer learns from the batch: it then finds the rows that were chosen
in the place of its own, and their answers and rewards ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rlexp.algos.common.policy import PolicyToTrain
from rlexp.algos.common.reward_function import RewardFunction
from rlexp.curriculum.batches import BatchShape, Curriculum
from rlexp.scoring.scorer import ScoredBatch
from rlexp.trainers.groups import (
    DISCARDED,
    AnsweredRow,
    GroupReplacement,
    KeptAnswers,
    Row,
    answer_rows,
)


class DynamicSampler:
    """Chooses the rows of each batch of rollouts of one of TRL's trainers with groups of answers.

    It stands in the place of the trainer's `training_step`, which is called once a backward pass.
    """

    def __init__(
        self,
        trainer: Any,
        policy: PolicyToTrain,
        reward: RewardFunction,
        curriculum: Curriculum,
        sampling: dict[str, Any],
        attempts: int,
    ) -> None:
        """
        Args:
            trainer: a GRPOTrainer or RLOOTrainer that samples by the policy's `roll_out_ids`.
            policy: whose model is trained.
            reward: the trainer's.
            curriculum: from which other prompts are drawn.
            sampling: how answers are drawn, in the words of `roll_out`.
            attempts: times that uniform groups are replaced, at most.
        """
        self.trainer, self.policy, self.reward, self.sampling = trainer, policy, reward, sampling
        self.learn, arguments = trainer.training_step, trainer.args
        self.answers = arguments.num_generations
        self.shape = BatchShape(
            arguments.generation_batch_size // self.answers,
            arguments.steps_per_generation * arguments.num_iterations,
            arguments.gradient_accumulation_steps,
        )
        order, rows = curriculum.order(self.shape), trainer.train_dataset
        self.replacement = GroupReplacement(
            self._answer, rows, order, attempts, trainer.accelerator
        )
        self.passes: int | None = None  # done in this training; None before its first one

    def __call__(self, model: Any, inputs: list[Row], *rest: Any) -> Any:
        """Take a trainer's step on rows, of which those that teach nothing are replaced first."""
        done = self.trainer.state.global_step * self.shape.accumulation
        passes: int = done if self.passes is None else self.passes
        self.passes = passes + 1
        if passes % self.shape.repeats:  # TRL learns once more from the answers that it has
            return self.learn(model, inputs, *rest)
        batch = passes // self.shape.repeats
        groups, metrics = self.replacement.choose(inputs[:: self.answers], batch)
        self.trainer.state.num_input_tokens_seen += int(metrics[DISCARDED])
        rows = [group.row for group in groups for _ in range(self.answers)]
        with self._ready(groups, metrics):
            return self.learn(model, rows, *rest)

    def _answer(self, rows: Sequence[Row]) -> tuple[list[AnsweredRow], dict[str, float]]:
        draw, state = self.reward.draw, self.trainer.state
        return answer_rows(self.policy, rows, self.answers, self.sampling, draw, state)

    @contextmanager
    def _ready(self, groups: Sequence[AnsweredRow], metrics: dict[str, float]) -> Iterator[None]:
        """Let the trainer find these answers where it samples, and their rewards where it asks."""
        kept = KeptAnswers(groups, self.policy.tokenizer.pad_token_id)
        rewards = [reward for group in groups for reward in group.rewards]
        before: Callable[..., Any] | None = self.policy.sampler
        self.policy.sampler = lambda prompts, **sampling: kept
        self.reward.scored = ScoredBatch(rewards, metrics)
        try:
            yield
        finally:
            self.policy.sampler, self.reward.scored = before, None
