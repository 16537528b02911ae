"""PPO's trainer as a whole: batches, adapters, early stops, conversations, whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from on_policy import (
    SmallPolicy,
    ppo_config,
    sample_rollouts,
    save_gpt2,
    save_model,
    trainer_inputs,
)
from peft import LoraConfig, get_peft_model
from runs import SMALL, composed, rlexp, run_folder, spec_of
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, TrainerCallback

from rlexp.spec.errors import UserError
from rlexp.trainers.config import PpoConfig
from rlexp.trainers.ppo import Experience, PpoTrainer
from rlexp.trainers.rollouts import GenerationConfig, Rollouts
from rlexp.trainers.token_scores.sequences import Sequences, score_tokens

WORDS = ["a", "b", "c", "d"]
PROMPTS = ("p", "p a b", "p b", "p c d a")
LORA = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.5, task_type="CAUSAL_LM")


def reward(prompts: Any, completions: Any, **columns: Any) -> list[float]:
    return [text.count("a") - 0.3 * text.count("b") for text in completions]


class Logs(TrainerCallback):
    """Keeps all that is logged."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.seen.append(logs)


def trainer_of(
    folder: Path, *, save: Any = save_gpt2, lora: bool = False, body: Any = None, **options: Any
) -> PpoTrainer:
    """A trainer; options that are no knobs go to its task."""
    policy = SmallPolicy(save(folder, WORDS))
    if lora:
        policy.model = get_peft_model(policy.model, LORA)
        for name, weight in policy.model.named_parameters():  # an adapter begins as nothing
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.3)
    of_ppo = {name: options.pop(name) for name in list(options) if name in vars(ppo_config())}
    sampled = {"output": folder / "out", "max_new_tokens": 6, "batch": 8, "prompts": PROMPTS}
    torch.manual_seed(5)
    trainer = PpoTrainer(
        trainer_inputs(policy, reward, **{**sampled, **options}), ppo_config(**of_ppo), body
    )
    # A critic without opinions would hide what the critic does.
    torch.nn.init.normal_(trainer.actor_critic.head.output.weight, std=0.3)
    return trainer


def rollouts_of(trainer: PpoTrainer) -> Rollouts:
    rows = [trainer.inputs.rows[i % len(PROMPTS)] for i in range(8)]
    return sample_rollouts(trainer.policy, rows, trainer.inputs.sampling, reward)[0]


def gradient(trainer: PpoTrainer, rollouts: Rollouts, parts: Sequence[Tensor]) -> Tensor:
    """Of the loss over parts of the batch, at weights that are not those that sampled."""
    trainer.disable_dropout()
    with trainer.policy.reference() as trainer.reference:
        experience, _ = trainer.compute_experience(rollouts)
    moved = Experience(**{**vars(experience), "log_probs": experience.log_probs + 0.05})
    trainer.actor_critic.zero_grad()
    tokens = rollouts.sequences.mask.sum()
    for part in parts:
        trainer.loss(moved, part, tokens)[0].backward()
    gradients = [
        weight.grad for weight in trainer.actor_critic.parameters() if weight.grad is not None
    ]
    return torch.cat([gradient.flatten() for gradient in gradients])


def test_parts_and_padding_change_nothing(tmp_path: Path) -> None:
    """A mean of means over micro-batches of different lengths, or padding that is seen."""
    trainer = trainer_of(tmp_path)
    rollouts = rollouts_of(trainer)
    whole = gradient(trainer, rollouts, [torch.arange(8)])
    parts = gradient(trainer, rollouts, [torch.tensor([5, 0, 1]), torch.tensor([2, 3, 4, 6, 7])])
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    ids, attention, mask = vars(rollouts.sequences).values()
    zeros = torch.zeros(8, 3, dtype=torch.long)
    wider = Sequences(
        torch.cat([zeros, ids, zeros], 1),
        torch.cat([zeros, attention, zeros], 1),
        torch.cat([mask, zeros.float()], 1),
    )
    padded = Rollouts(wider, rollouts.scores, rollouts.ended)
    with_padding = gradient(trainer, padded, [torch.arange(8)])
    torch.testing.assert_close(with_padding, whole, rtol=1e-5, atol=1e-6)


def test_micro_batches_train_the_same(tmp_path: Path) -> None:
    """An optimizer step after each micro-batch, or gradients that are not added up."""
    trained = []
    for micro in (8, 2):
        # A larger epsilon: Adam blows rounding up to whole steps where a gradient should be 0.
        trainer = trainer_of(tmp_path, micro=micro, steps=2, minibatches=2, adam_epsilon=1e-3)
        torch.manual_seed(0)
        trainer.train()
        trained.append(torch.cat([weight.flatten() for weight in trainer.model.parameters()]))
    torch.testing.assert_close(*trained, rtol=0, atol=2e-5)


@pytest.mark.parametrize("lora", [False, True])
def test_the_first_ratio_is_1(tmp_path: Path, lora: bool) -> None:
    """Dropout in one of the passes that form the ratio, or another distribution in one of them:
    GPT-2 and the adapter both have dropout."""
    logs = Logs()
    trainer = trainer_of(
        tmp_path, lora=lora, epochs=1, steps=2, temperature=1.4, callbacks=(logs,), micro=4
    )
    trainer.train()
    for seen in logs.seen:
        assert seen["ratio"] == pytest.approx(1, abs=1e-5)
        assert seen["approx_kl"] == pytest.approx(0, abs=1e-6)
        assert seen["clip_fraction"] == 0


def test_the_reference_of_an_adapter_is_the_base(tmp_path: Path) -> None:
    """An adapter that stays on, or a base that is trained along."""
    trainer = trainer_of(tmp_path, lora=True, steps=3)
    trainer.train()
    ids = torch.tensor([[2, 3, 4, 5]])
    base = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with trainer.policy.reference() as reference, torch.no_grad():
        assert torch.equal(reference(ids).logits, base(ids).logits)
        assert not torch.allclose(trainer.model(ids).logits, base(ids).logits)


def test_gradient_checkpointing_recomputes_the_same(tmp_path: Path) -> None:
    """Layers in training mode whose dropout comes back, or layers that do not recompute."""
    trainer = trainer_of(tmp_path, save=save_model)
    rollouts = rollouts_of(trainer)
    plain = gradient(trainer, rollouts, [torch.arange(8)])
    trainer = trainer_of(tmp_path, save=save_model, activation_checkpointing=True)
    calls: list[int] = []
    layer: Any = trainer.model.model.layers[0]
    layer.mlp.register_forward_pre_hook(lambda *given: calls.append(1))
    assert torch.equal(gradient(trainer, rollouts, [torch.arange(8)]), plain)
    assert len(calls) == 3  # looking back, forward, and once more in the backward pass


def test_stops_early_and_adapts(tmp_path: Path) -> None:
    """A limit that is never looked at; a coefficient that stays, or moves the wrong way."""
    logs = Logs()
    trainer = trainer_of(
        tmp_path,
        steps=3,
        epochs=5,
        early_stop_kl=1e-9,
        kl_target=1e-6,
        kl_horizon=80,
        callbacks=(logs,),
    )
    trainer.train()
    assert all(seen["updates"] <= 2 for seen in logs.seen)
    coefficients = [seen["kl_coefficient"] for seen in logs.seen]
    assert coefficients[0] == pytest.approx(0.1)
    steps = [later / sooner for sooner, later in pairwise(coefficients)]
    assert all(step == pytest.approx(1.02) or step == pytest.approx(0.98) for step in steps)


def test_a_separate_critic_leaves_the_policy_alone(tmp_path: Path) -> None:
    """A value loss that trains the policy's body, or a critic that is not trained at all."""
    body = AutoModel.from_pretrained(save_gpt2(tmp_path, WORDS))
    trainer = trainer_of(tmp_path, body=body)
    rollouts = rollouts_of(trainer)
    trainer.disable_dropout()
    with trainer.policy.reference() as trainer.reference:
        experience, _ = trainer.compute_experience(rollouts)
    _, seen = trainer.loss(experience, torch.arange(8), rollouts.sequences.mask.sum())
    seen["value_loss"].backward()
    assert all(weight.grad is None for weight in trainer.model.parameters())
    assert any(
        weight.grad is not None and weight.grad.abs().sum() > 0 for weight in body.parameters()
    )


def test_reinforce_plus_plus_is_ppo_with_a_critic_that_learns_nothing(tmp_path: Path) -> None:
    """A recipe whose baseline is something else than 0, or whose KL divergence is not what is still
    to come (REINFORCE++, arXiv:2501.03262, equation 6)."""
    knobs = composed("experiment=reinforce_pp")["algo"]
    config = PpoConfig(**{name: knobs[name] for name in PpoConfig.model_fields})
    policy = SmallPolicy(save_model(tmp_path, WORDS))
    options = {"max_new_tokens": 5, "steps": 3, "batch": 8, "prompts": PROMPTS}
    trainer = PpoTrainer(
        trainer_inputs(policy, reward, output=tmp_path / "out", **options), config, None
    )
    trainer.train()
    rows = [{"prompt": prompt} for prompt in PROMPTS]
    rollouts, _ = sample_rollouts(policy, rows, trainer.inputs.sampling, reward)
    with policy.reference() as trainer.reference:
        kept, _ = trainer.compute_experience(rollouts)
        reference = score_tokens(trainer.reference, kept.sequences, 1.0, None).log_probs
    assert (kept.values == 0).all()
    wanted: list[float] = []
    for i, length in enumerate(kept.sequences.mask.sum(1).int().tolist()):
        costs = config.beta * (kept.log_probs - reference)[i, :length].detach()
        wanted += [float(rollouts.scores[i] - costs[t:].sum()) for t in range(length)]
    assert kept.sequences.mask.sum() > len(PROMPTS) and config.beta > 0
    true = torch.tensor(wanted)
    true = (true - true.mean()) / true.std(correction=0)
    got = kept.advantages[kept.sequences.mask.bool()]
    torch.testing.assert_close(got, true, rtol=1e-4, atol=1e-4)


def test_conversations_and_columns_reach_the_reward(tmp_path: Path) -> None:
    """Messages scored as text, a column that is lost, or one value for all answers."""
    asked: dict[str, Any] = {}

    def judge(**given: Any) -> list[float]:
        asked.update(given)
        given["log_metric"]("reward_words", 0.5)
        return [1.0, 2.0]

    talk = [{"role": "user", "content": "p a"}]

    class Chat(SmallPolicy):
        def roll_out(self, prompts: Any, **sampling: Any) -> Any:
            return super().roll_out(["p a" for _ in prompts], **sampling)

    policy = Chat(save_gpt2(tmp_path, WORDS))
    rows = [{"prompt": talk, "opening": "x"}, {"prompt": talk, "opening": "y"}]
    rollouts, seen = sample_rollouts(policy, rows, GenerationConfig(4, 1.0, 0, 1.0), judge)
    assert asked["prompts"] == [talk, talk]
    assert asked["opening"] == ["x", "y"]
    assert [[message["role"] for message in answer] for answer in asked["completions"]] == [
        ["assistant"]
    ] * 2
    assert rollouts.scores.tolist() == [1.0, 2.0]
    assert seen["reward"] == 1.5
    assert seen["reward_words"] == 0.5


@pytest.mark.long
def test_a_run_of_ppo_leaves_what_every_run_leaves(tmp_path: Path) -> None:
    """Callbacks that are not called, metrics that people look for under other names."""
    options = ("algo=ppo", "algo.critic=separate", "peft=lora", "algo.minibatches=2")
    folder = run_folder(rlexp(*options, *SMALL, folder=tmp_path), tmp_path)
    spool = (folder / "spool.jsonl").read_text(encoding="utf-8")
    names = ("reward", "kl", "entropy", "length", "cut_share", "kl_sequence")
    assert all(f'"rollout/{name}"' in spool for name in names)
    names = ("loss", "policy_loss", "value_loss", "approx_kl", "clip_fraction", "ratio", "lr")
    assert all(f'"train/{name}"' in spool for name in (*names, "explained_variance", "grad_norm"))
    assert '"perf/tokens_per_second"' in spool
    assert (folder / "model" / "adapter_model.safetensors").is_file()
    saved = {path.name for path in (folder / "checkpoints" / "step-000002").iterdir()}
    assert {"critic.safetensors", "optimizer.safetensors", "training.json"} <= saved
    assert not [name for name in saved if name.endswith((".bin", ".pt", ".pth", ".pkl"))]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("algo.minibatches=5", "algo.minibatches"),
        ("algo.critic_path=/nowhere", "algo.critic_path"),
        ("+algo.trl.optim=sgd", "algo.trl"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(override: str, key: str) -> None:
    """A batch that is not divided, or a knob that nothing reads."""
    with pytest.raises(UserError) as caught:
        spec_of("algo=ppo", "train.batch_size=64", override)
    assert [problem.key for problem in caught.value.problems] == [key]


def test_a_target_needs_a_coefficient() -> None:
    """A coefficient of 0, which no factor moves."""
    with pytest.raises(UserError, match=r"algo\.beta"):
        spec_of("algo=ppo", "algo.beta=0", "algo.kl_target=6")
