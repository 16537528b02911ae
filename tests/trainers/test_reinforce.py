"""REINFORCE's baselines and gradient, against exact sums over all answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from on_policy import (
    END,
    SPECIAL,
    SmallPolicy,
    all_answers,
    answer_log_probs,
    ppo_config,
    reinforce_config,
    sample_rollouts,
    save_model,
    trainer_inputs,
)
from runs import spec_of
from torch import Tensor

from rlexp.spec.errors import UserError
from rlexp.trainers.ppo import PpoTrainer
from rlexp.trainers.reinforce import (
    ReinforceTrainer,
    leave_one_out,
    policy_gradient_loss,
)
from rlexp.trainers.rollouts import Rollouts
from rlexp.trainers.token_scores.sequences import Sequences, score_tokens

BETA = 0.2
LONGEST = 3


def reward(prompts: Any, completions: Any, **columns: Any) -> list[float]:
    return [text.count("a") - 0.5 * text.count("b") for text in completions]


def test_leave_one_out_is_the_mean_of_the_others() -> None:
    """A baseline that holds the answer's own return, which would bias the gradient."""
    returns = torch.tensor([1.0, 2.0, 6.0, 0.0, 10.0, 5.0])
    assert leave_one_out(returns, 3).tolist() == [4.0, 3.5, 1.5, 7.5, 2.5, 5.0]


def test_the_loss_is_the_mean_over_answers_of_the_sum_over_tokens() -> None:
    """A mean over tokens, by which long answers count for less."""
    log_probs = torch.tensor([[-1.0, -2.0, -9.0], [-3.0, -1.0, -4.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    loss = policy_gradient_loss(log_probs, mask, torch.tensor([2.0, -0.5]))
    assert float(loss) == -(2.0 * -3.0 - 0.5 * -8.0) / 2


def test_the_moving_average_knows_earlier_batches_only(tmp_path: Path) -> None:
    """A baseline of the batch's own mean, or one that never moves."""
    trainer = trainer_of(tmp_path, "moving_average")
    assert trainer.baseline(torch.tensor([1.0, 3.0])).tolist() == [2.0, 2.0]
    assert trainer.baseline(torch.tensor([12.0, 12.0])).tolist() == [2.0, 2.0]
    assert trainer.baseline(torch.tensor([0.0, 0.0])).tolist() == pytest.approx([3.0, 3.0])


def trainer_of(folder: Path, baseline: Any, generations: int = 1) -> ReinforceTrainer:
    policy = SmallPolicy(save_model(folder, ["a", "b"]))
    inputs = trainer_inputs(
        policy, reward, output=folder / "out", max_new_tokens=LONGEST, generations=generations
    )
    trainer = ReinforceTrainer(inputs, reinforce_config(baseline, BETA))
    trainer.reference = SmallPolicy(save_model(folder / "other", ["a", "b"], seed=1)).model.eval()
    return trainer


def exact_gradient(trainer: ReinforceTrainer, answers: list[tuple[int, ...]]) -> Tensor:
    """Of E[r] - beta KL(policy || reference), by the sum over all answers there are."""
    model, prompt = trainer.model, SPECIAL.index("p")
    texts = trainer.policy.tokenizer.batch_decode(answers, skip_special_tokens=True)
    rewards = torch.tensor(reward(None, texts), dtype=torch.float64)
    logs = answer_log_probs(model, prompt, answers)
    with torch.no_grad():
        reference_logs = answer_log_probs(trainer.reference, prompt, answers)
    objective = (logs.exp() * (rewards - BETA * (logs - reference_logs))).sum()
    return flat(torch.autograd.grad(objective, list(model.parameters())))


def flat(gradients: Any) -> Tensor:
    return torch.cat([gradient.flatten().double() for gradient in gradients])


def test_the_expected_step_is_the_gradient_of_the_objective(tmp_path: Path) -> None:
    """A KL term that is differentiated, dropped or turned round; an end token without credit.

    Every answer is given once, weighted by its probability, so that nothing is left to chance."""
    trainer = trainer_of(tmp_path, "none")
    answers = all_answers(trainer.model.config.vocab_size, LONGEST)
    expected = exact_gradient(trainer, answers)
    rollouts = listed(trainer, answers)
    with torch.no_grad():
        logs = answer_log_probs(trainer.model, SPECIAL.index("p"), answers)
    kl, _ = trainer._kl_and_entropy(rollouts.sequences)
    returns = rollouts.scores - BETA * kl
    weights = logs.exp() * len(answers)  # the loss divides by the number of answers
    judged = score_tokens(trainer.model, rollouts.sequences, 1.0, None)
    mask = rollouts.sequences.mask
    for constant in (0.0, 0.7):  # a baseline changes nothing in expectation
        loss = policy_gradient_loss(
            judged.log_probs.double(), mask.double(), weights * (returns - constant)
        )
        gradient = flat(
            torch.autograd.grad(loss, list(trainer.model.parameters()), retain_graph=True)
        )
        torch.testing.assert_close(-gradient, expected, rtol=1e-4, atol=1e-6)


def listed(trainer: ReinforceTrainer, answers: list[tuple[int, ...]]) -> Rollouts:
    """All answers as if they had been sampled."""
    prompt = SPECIAL.index("p")
    rows = [[prompt, *answer] + [0] * (LONGEST - len(answer)) for answer in answers]
    mask = torch.tensor([[float(t < len(answer)) for t in range(LONGEST)] for answer in answers])
    attention = torch.cat([torch.ones(len(answers), 1), mask], 1).long()
    texts = trainer.policy.tokenizer.batch_decode(answers, skip_special_tokens=True)
    ended = torch.tensor([answer[-1] == END for answer in answers])
    return Rollouts(
        Sequences(torch.tensor(rows), attention, mask), torch.tensor(reward(None, texts)), ended
    )


@pytest.mark.long
def test_sampled_gradients_agree_with_the_exact_one(tmp_path: Path) -> None:
    """A rollout that samples from another distribution than the one whose gradient is taken."""
    trainer = trainer_of(tmp_path, "leave_one_out", generations=4096)
    answers = all_answers(trainer.model.config.vocab_size, LONGEST)
    expected = exact_gradient(trainer, answers)
    gradients: list[Tensor] = []

    def keep_gradient(microbatches: list[Tensor], loss_of: Any) -> Tensor:
        loss = torch.stack([loss_of(microbatch) for microbatch in microbatches]).sum()
        gradients.append(-flat(torch.autograd.grad(loss, list(trainer.model.parameters()))))
        return torch.tensor(0.0)

    trainer.optimizer_step = keep_gradient  # pyright: ignore[reportAttributeAccessIssue]
    torch.manual_seed(0)
    rows = [{"prompt": "p"}] * 4096
    rollouts, _ = sample_rollouts(trainer.policy, rows, trainer.inputs.sampling, reward)
    trainer.update_policy(rollouts)
    cosine = torch.nn.functional.cosine_similarity(gradients[0], expected, dim=0)
    assert cosine > 0.98
    assert gradients[0].norm() == pytest.approx(expected.norm().item(), rel=0.15)


def test_ppo_without_a_critic_takes_the_same_first_step(tmp_path: Path) -> None:
    """A PPO whose advantages or ratios stand for another gradient than the policy's.

    Where the critic says 0, lambda is 1 and beta is 0, each token's advantage is the answer's
    reward, and PPO's mean over tokens is REINFORCE's mean over answers up to their mean length."""
    trainer = trainer_of(tmp_path, "none")
    rollouts = listed(trainer, all_answers(trainer.model.config.vocab_size, LONGEST))
    bare = ppo_config(beta=0.0, lam=1.0, whiten_advantages=False, value_coefficient=0.0)
    inputs = trainer_inputs(trainer.policy, reward, output=tmp_path / "out", max_new_tokens=LONGEST)
    ppo = PpoTrainer(inputs, bare, None)
    experience, _ = ppo.compute_experience(rollouts)
    count, tokens = len(rollouts.scores), rollouts.sequences.mask.sum()
    weights = list(trainer.model.parameters())
    loss, _ = ppo.loss(experience, torch.arange(count), tokens)
    gradient = flat(torch.autograd.grad(loss, weights)) * tokens / count
    judged = score_tokens(trainer.model, rollouts.sequences, 1.0, None)
    loss = policy_gradient_loss(judged.log_probs, rollouts.sequences.mask, rollouts.scores)
    expected = flat(torch.autograd.grad(loss, weights))
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_a_baseline_of_others_wants_others() -> None:
    """A leave-one-out baseline that divides by zero at the first step."""
    with pytest.raises(UserError) as caught:
        spec_of("algo=reinforce", "algo.baseline=leave_one_out")
    assert [problem.key for problem in caught.value.problems] == ["algo.num_generations"]
    with pytest.raises(UserError) as caught:
        spec_of("algo=reinforce", "algo.num_generations=5", "train.batch_size=64")
    assert "4 is the nearest" in str(caught.value)


def test_scaled_losses_take_the_same_step(tmp_path: Path) -> None:
    """Gradients clipped before they are unscaled, or a step on gradients that overflowed."""
    weights = []
    for scale in (None, 2.0**10):
        trainer = trainer_of(tmp_path, "none")
        if scale is not None:
            trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        rollouts = listed(trainer, all_answers(trainer.model.config.vocab_size, LONGEST))
        metrics = trainer.update_policy(rollouts)
        weights.append((flat(trainer.model.parameters()), metrics["grad_norm"]))
    (plain, norm), (scaled, norm_of_scaled) = weights
    torch.testing.assert_close(scaled, plain, rtol=1e-4, atol=1e-6)
    assert norm_of_scaled == pytest.approx(norm, rel=1e-4)
    scaler = trainer.accelerator.scaler
    assert scaler is not None
    trainer.optimizer_step(
        [torch.arange(1)], lambda part: float("inf") * next(trainer.model.parameters()).sum()
    )
    torch.testing.assert_close(flat(trainer.model.parameters()), scaled)
    assert scaler.get_scale() == 2.0**9
