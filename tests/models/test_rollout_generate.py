"""rlexp's rollouts in the place of `generate`: RLOO, online DPO and distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from runs import spec_of
from tiny_policy import END, PROMPTS, Recording, TinyPolicy, policy_of
from transformers import GenerationConfig, GenerationMixin

from rlexp.algos.common.trl import Training
from rlexp.models.policy import Policy
from rlexp.models.sampling.generate_patch import InPlaceOfGenerate
from rlexp.models.sampling.rollout import roll_out
from rlexp.spec.errors import UserError


def asked(**changed: Any) -> GenerationConfig:
    """What TRL's trainers hand to `generate`."""
    usual = dict(max_new_tokens=7, do_sample=True, pad_token_id=0, bos_token_id=None)
    usual |= dict(eos_token_id=[END], temperature=0.7, top_p=0.9, top_k=9, min_p=None)
    usual |= dict(repetition_penalty=1.0, cache_implementation=None, disable_compile=True)
    return GenerationConfig(**(usual | changed))


def padded_prompts() -> dict[str, torch.Tensor]:
    width = max(map(len, PROMPTS))
    ids = [[0] * (width - len(prompt)) + prompt for prompt in PROMPTS]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


@pytest.mark.parametrize("with_adapter", [False, True], ids=["whole", "adapter"])
def test_generate_gives_the_rollouts(with_adapter: bool, tmp_path: Path) -> None:
    """Catches knobs that do not arrive, padding that is read as prompt, answers that go to other
    rows, an adapter that is left out, and a model that keeps the method afterwards."""
    policy = policy_of(TinyPolicy(), tmp_path)
    if with_adapter:
        wrapped = get_peft_model(policy.model, LoraConfig(init_lora_weights=False))
        policy.model = wrapped
    stands_in: Any = InPlaceOfGenerate(policy)
    nothing = None
    stands_in.on_train_begin(nothing, nothing, nothing)
    torch.manual_seed(3)
    whole = policy.model.generate(**padded_prompts(), generation_config=asked())
    torch.manual_seed(3)
    how: Any = dict(max_new_tokens=7, temperature=0.7, top_k=9, top_p=0.9)
    wanted = roll_out(policy.model, PROMPTS, eos_token_ids=[END], pad_token_id=0, **how)
    width = max(map(len, PROMPTS))
    assert torch.equal(whole[:, :width], padded_prompts()["input_ids"])
    assert torch.equal(whole[:, width:], wanted.completion_ids)
    stands_in.on_train_end(nothing, nothing, nothing)
    assert "generate" not in vars(policy.model)


@pytest.mark.parametrize(
    "changed",
    [
        {"repetition_penalty": 1.2},
        {"min_p": 0.1},
        {"do_sample": False},
        {"eos_token_id": [END, 7]},
        {"pad_token_id": 3},
        {"num_beams": 4},
        {"suppress_tokens": [5]},
    ],
    ids=str,
)
def test_generate_refuses_what_it_does_not_know(changed: dict[str, Any], tmp_path: Path) -> None:
    """Catches an option of `generate` that silently has no effect."""
    policy = policy_of(TinyPolicy(), tmp_path)
    (name,) = changed
    with pytest.raises(UserError, match=rf"{name}=[\s\S]*algo\.rollout=transformers"):
        options: Any = {**padded_prompts(), "generation_config": asked(**changed)}
        InPlaceOfGenerate(policy).generate(**options)


def training_of(algo: str, rollout: str, tmp_path: Path, *more: str) -> tuple[Any, Policy, list]:
    """A trainer with its policy and the reward's calls."""
    spec = spec_of(
        *[f"algo={algo}", "train.batch_size=8", "train.max_steps=2", "hardware=cpu", *more],
        *["algo.max_completion_length=6", "algo.temperature=0.5", "algo.top_k=7"],
        *["algo.top_p=0.9", f"algo.rollout={rollout}"],
    )
    reward = Recording(name="long", calls=[])
    spec = spec.model_copy(update={"reward": reward})
    policy = policy_of(TinyPolicy(), tmp_path / "model")
    rows = [{"prompt": f"w{i} w{i + 9}", "number": i} for i in range(8)]
    training = Training(spec, policy, rows, tmp_path / "checkpoints", False, [])
    return spec.algo.build_trainer(training), policy, reward.calls


OF_ALGORITHMS = {"rloo": ("algo.num_generations=4",), "online_dpo": ()}


@pytest.mark.parametrize("algo", OF_ALGORITHMS)
def test_a_training_samples_by_the_rollouts(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a trainer that still samples by transformers, other knobs than the run's, answers
    that the reward sees in another order than they were sampled in, and columns of other rows."""
    trainer, policy, calls = training_of(algo, "fast", tmp_path, *OF_ALGORITHMS[algo])
    rollouts, sampling = [], policy.roll_out_ids
    monkeypatch.delattr(GenerationMixin, "generate")

    def recorded(prompts: Any, **how: Any) -> Any:
        rollouts.append((prompts, how, sampling(prompts, **how)))
        return rollouts[-1][2]

    monkeypatch.setattr(policy, "roll_out_ids", recorded)
    trainer.train()
    assert len(rollouts) == len(calls) == 2
    for (ids, sampling_options, rollout), (prompts, completions, columns) in zip(
        rollouts, calls, strict=True
    ):
        assert sampling_options == dict(max_new_tokens=6, temperature=0.5, top_k=7, top_p=0.9)
        assert ids == policy.encode(prompts) == rollout.prompts()
        decoded = policy.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
        assert completions == decoded
        assert [f"w{i} w{i + 9}" for i in columns["number"]] == prompts


@pytest.mark.parametrize("algo", OF_ALGORITHMS)
def test_transformers_samples_where_it_is_asked_for(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a switch without effect: `rollout=transformers` sampled by rlexp's loop."""
    trainer, _, calls = training_of(algo, "transformers", tmp_path, *OF_ALGORITHMS[algo])
    monkeypatch.delattr(Policy, "roll_out_ids")
    trainer.train()
    assert len(calls) == 2


@pytest.mark.parametrize("algo", ["rloo", "online_dpo", "distill"])
def test_sampling_options_of_trl_are_not_lost(algo: str, tmp_path: Path) -> None:
    """Catches a `min_p` that the user gave and that nothing heeds."""
    more = [f"algo.teacher={tmp_path}"] if algo == "distill" else []
    with pytest.raises(UserError, match=r"wants algo\.rollout=transformers"):
        spec_of(f"algo={algo}", "+algo.trl.min_p=0.1", *more)


def test_online_dpo_tells_what_the_other_algorithms_tell(tmp_path: Path) -> None:
    """Catches a KL or a length that counts the padding behind answers, and numbers that only this
    algorithm has another word for."""
    trainer, policy, calls = training_of("online_dpo", "fast", tmp_path)
    seen: list[dict[str, Any]] = []

    class Seeing(type(trainer.callback_handler.callbacks[0])):  # any TrainerCallback
        def on_log(self, args, state, control, logs=None, **kwargs):
            seen.append(dict(logs or {}))

    trainer.add_callback(Seeing())
    rollouts, sampling = [], policy.roll_out_ids
    policy.roll_out_ids = lambda *a, **how: rollouts.append(sampling(*a, **how)) or rollouts[-1]  # pyright: ignore[reportAttributeAccessIssue]
    trainer.train()
    last = [logs for logs in seen if "reward" in logs][-1]
    lengths = rollouts[-1].completion_mask.sum(1).float()
    assert last["completions/mean_length"] == pytest.approx(lengths.mean().item())
    cut = 1 - rollouts[-1].ended.float().mean().item()
    assert last["completions/clipped_ratio"] == pytest.approx(cut)
    assert last["reward"] == pytest.approx(sum(len(c) for c in calls[-1][1]) / len(calls[-1][1]))
    implicit = (last["rewards/chosen"] + last["rewards/rejected"]) / 2
    beta = trainer.beta
    assert last["kl"] == pytest.approx(implicit / beta / lengths.mean().item())
    assert not [name for name in last if name.startswith(("objective/", "val/"))]
