"""Groups of answers that all earn the same are replaced, within a bound, and counted."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rlexp.algos.common.dynamic_sampling import DynamicSampler
from rlexp.curriculum.batches import uniform
from rlexp.scoring.scorer import ScoredBatch

ANSWERS, ROWS = 2, [{"prompt": f"p{n}", "level": n} for n in range(40)]


class Rollout:
    """An answer of as many tokens as its prompt's number among those that were asked for."""

    def __init__(self, prompts: list[str]) -> None:
        self.asked = prompts

    def prompts(self) -> list[list[int]]:
        return [[int(prompt[1:])] for prompt in self.asked]

    def completions(self) -> list[list[int]]:
        return [[int(prompt[1:]), place] for place, prompt in enumerate(self.asked)]

    def completion_log_probs(self) -> list[list[float]]:
        return [[-1.0, -2.0]] * len(self.asked)

    @property
    def ended(self) -> list[bool]:
        return [True] * len(self.asked)


class Reward:
    """Pays the second answer to a prompt where `teaches` says so."""

    def __init__(self, teaches: Callable[[int], bool]) -> None:
        self.teaches, self.calls = teaches, 0
        self.scored: ScoredBatch | None = None

    def draw(
        self, prompts: list[str], completions: Any, log_metric: Any, level: Any, **more: Any
    ) -> list[float]:
        self.calls += 1
        log_metric("reward_term", 0.5)
        assert [ids[-1] for ids in more["completion_ids"]] == [*range(len(level))]
        assert more["completion_ended"] == [True] * len(level)
        assert [int(prompt[1:]) for prompt in prompts] == level
        return [float(place % 2 and self.teaches(row)) for place, row in enumerate(level)]


def sampler_of(
    teaches: Callable[[int], bool], attempts: int = 3, steps: int = 0, passes: int = 1
) -> tuple[DynamicSampler, list[Any]]:
    """A sampler in a trainer that keeps what it is given to learn from."""
    learnt: list[Any] = []
    policy = SimpleNamespace(
        roll_out=lambda prompts, **sampling: Rollout(prompts),
        tokenizer=SimpleNamespace(
            batch_decode=lambda ids, **options: [str(one) for one in ids], pad_token_id=0
        ),
        sampler=None,
    )
    reward = Reward(teaches)

    def learn(model: Any, inputs: Any) -> None:
        answers = policy.sampler([]) if policy.sampler else None
        learnt.append((inputs, answers, reward.scored))

    trainer = SimpleNamespace(
        training_step=learn,
        train_dataset=ROWS,
        state=SimpleNamespace(global_step=steps, num_input_tokens_seen=0),
        args=SimpleNamespace(
            num_generations=ANSWERS,
            generation_batch_size=8,
            steps_per_generation=1,
            num_iterations=passes,
            gradient_accumulation_steps=1,
        ),
        accelerator=SimpleNamespace(
            num_processes=1, process_index=0, device="cpu", gather=lambda tensor: tensor
        ),
    )
    curriculum: Any = uniform(0, len(ROWS))
    made: Any = reward
    given: Any = policy
    return DynamicSampler(trainer, given, made, curriculum, {}, attempts), learnt


BATCH = [row for row in ROWS[:4] for _ in range(ANSWERS)]


def test_uniform_groups_are_replaced_and_the_trainer_finds_their_answers() -> None:
    """Answers of one prompt rewarded as another's; groups that teach something thrown away."""
    sampler, learnt = sampler_of(lambda row: row in (1, 2) or row > 3)
    sampler(None, BATCH)
    ((rows, kept, scored),) = learnt
    chosen = [row["level"] for row in rows[::ANSWERS]]
    assert chosen[1:3] == [1, 2] and min(chosen[0], chosen[3]) > 3
    assert [row["level"] for row in rows[1::ANSWERS]] == chosen
    assert [ids[0] for ids in kept.completions()] == [row["level"] for row in rows]
    assert kept.prompts() == [[row["level"]] for row in rows]
    assert kept.completion_ids.shape == (8, 2)
    assert scored.totals == [0.0, 1.0] * 4
    metrics = scored.metrics
    assert metrics["rollout/uniform_groups"] == metrics["rollout/replaced_groups"] == 0.5
    assert metrics["rollout/reward_drawn"] == 0.25  # not of what was chosen by its reward
    assert metrics["perf/resampling_seconds"] > 0
    assert metrics["rollout/discarded_tokens"] == 12  # two groups of two, three tokens each
    assert sampler.trainer.state.num_input_tokens_seen == 12


def test_nothing_is_asked_again_where_all_groups_differ() -> None:
    """A second round of sampling for nothing; other rows than the order's."""
    sampler, learnt = sampler_of(lambda row: True)
    sampler(None, BATCH)
    assert learnt[0][0] == BATCH and sampler.reward.calls == 1  # pyright: ignore
    assert learnt[0][2].metrics["rollout/discarded_tokens"] == 0


@pytest.mark.parametrize("attempts", [1, 4])
def test_the_bound_holds(attempts: int) -> None:
    """Sampling without end where no prompt teaches anything."""
    sampler, learnt = sampler_of(lambda row: False, attempts)
    sampler(None, BATCH)
    assert sampler.reward.calls == 1 + attempts  # pyright: ignore
    assert learnt[0][0] == BATCH
    assert learnt[0][2].metrics["rollout/replaced_groups"] == 0
    assert learnt[0][2].metrics["rollout/discarded_tokens"] == attempts * 4 * 2 * 3


def test_further_passes_learn_from_the_same_answers() -> None:
    """Answers sampled anew for each pass over a batch, of which the trainer would use none."""
    sampler, learnt = sampler_of(lambda row: True, passes=3)
    for _ in range(4):
        sampler(None, BATCH)
    assert [answers is not None for _, answers, _ in learnt] == [True, False, False, True]
    assert sampler.policy.sampler is None and sampler.reward.scored is None


def test_a_training_that_goes_on_replaces_by_the_same_rows() -> None:
    """Rows counted from 0 again after a stop."""
    whole, learnt = sampler_of(lambda row: row > 3)
    for _ in range(3):
        whole(None, BATCH)
    resumed, again = sampler_of(lambda row: row > 3, steps=2)
    resumed(None, BATCH)
    assert again[0][0] == learnt[2][0] != learnt[1][0]


def test_processes_replace_by_different_rows() -> None:
    """A prompt answered in two processes; one process that does not wait for another's round."""
    chosen: list[set[int]] = []
    for index in (0, 1):
        sampler, learnt = sampler_of(lambda row, index=index: row > 3 or (index == 1 and row > 1))
        accelerator = sampler.trainer.accelerator
        accelerator.num_processes, accelerator.process_index = 2, index
        rounds = iter([4, 0, 16])  # groups to replace in either process, then the tokens
        accelerator.gather = lambda tensor, rounds=rounds: torch.tensor([next(rounds)])
        sampler(None, BATCH)
        assert sampler.reward.calls == 2  # pyright: ignore
        chosen.append({row["level"] for row in learnt[0][0]})
    assert chosen[0].isdisjoint(range(4)) and len(chosen[0]) == 4
    assert {2, 3} < chosen[1] and len(chosen[1]) == 4
    assert chosen[0].isdisjoint(chosen[1])
