"""A reference that is renewed: when, by how much, and the same after a stop."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bandit import bandit_spec, policy_and_training, save_bandit
from safetensors.torch import load_file

from rlexp.algos.common.reference import check_reference_sync
from rlexp.spec.errors import UserError
from rlexp.trainers.config import ReferenceConfig
from rlexp.trainers.reference import REFERENCE, ReferenceSync


def sync_of(every: int | None, mix: float) -> tuple[ReferenceSync, Any, Any]:
    """A sync with its reference, which is 0, and a policy, which is 1."""
    sync = ReferenceSync(ReferenceConfig(sync_reference=every, sync_reference_mix=mix))
    sync.reference = torch.nn.Linear(2, 2)
    policy = torch.nn.Linear(2, 2)
    for module, value in ((sync.reference, 0.0), (policy, 1.0)):
        for weight in module.parameters():
            torch.nn.init.constant_(weight, value)
    return sync, sync.reference, policy


def test_it_is_renewed_at_its_steps_alone() -> None:
    """A reference that follows at each step, or whose part and the policy's are exchanged."""
    sync, reference, policy = sync_of(3, 0.25)
    seen = []
    for step in range(1, 7):
        sync.after_step(step, policy)
        seen.append(reference.bias[0].item())
    assert seen == [0, 0, 0.25, 0.25, 0.25, 0.25 + 0.75 * 0.25]
    assert policy.bias[0] == 1 and policy.weight.requires_grad


def test_a_checkpoint_holds_it(tmp_path: Path) -> None:
    """A reference that begins anew after a stop, or a file where there is none to keep."""
    sync, _, policy = sync_of(1, 0.5)
    sync.after_step(1, policy)
    sync.save(tmp_path)
    other, reference, _ = sync_of(1, 0.5)
    other.load(tmp_path)
    assert reference.weight.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    never, _, policy = sync_of(None, 1.0)
    (tmp_path / "none").mkdir()
    never.after_step(1, policy)
    never.save(tmp_path / "none")
    never.load(tmp_path / "none")
    assert not list((tmp_path / "none").iterdir())


def test_an_adapter_that_nobody_asked_for_has_no_such_reference() -> None:
    """A reference that is never renewed, where memory has decided for an adapter."""
    config = ReferenceConfig(sync_reference=3, sync_reference_mix=1.0)
    policy: Any = SimpleNamespace(adapter=None)
    check_reference_sync(config, policy)
    policy.adapter = object()
    with pytest.raises(UserError, match=r"algo\.sync_reference=null, or peft=none"):
        check_reference_sync(config, policy)
    check_reference_sync(config.model_copy(update={"sync_reference": None}), policy)


PAIRS = [{"prompt": "p", "chosen": f" a{n % 8}", "rejected": f" a{(n + 3) % 8}"} for n in range(64)]
LABELS = [{"prompt": "p", "completion": f" a{n % 8}", "label": n % 8 > 3} for n in range(64)]
ROWS: dict[str, list[dict[str, Any]]] = {
    "grpo": [{"prompt": "p"}] * 64,
    "rloo": [{"prompt": "p"}] * 64,
    "dpo": PAIRS,
    "kto": LABELS,
}


@pytest.mark.parametrize(
    "algo",
    ["grpo", *(pytest.param(name, marks=pytest.mark.long) for name in ("rloo", "dpo", "kto"))],
)
def test_trls_trainers_go_on_with_the_reference_that_they_had(algo: str, tmp_path: Path) -> None:
    """TRL's own, which is the model of the beginning after a stop: the weights drift apart."""
    bandit = save_bandit(tmp_path / "bandit", seed=0)
    length = " algo.max_completion_length=1" if algo in ("grpo", "rloo") else ""
    spec = bandit_spec(
        bandit,
        f"algo={algo} algo.beta=0.5 algo.sync_reference=2 algo.sync_reference_mix=0.7 "
        f"algo.learning_rate=1e-2 train.batch_size=16 train.max_steps=5{length}",
    )
    spec = spec.model_copy(update={"train": spec.train.model_copy(update={"checkpoint_every": 1})})

    def trained_from(folder: Path, checkpoint: Path | None) -> Any:
        training = policy_and_training(spec, ROWS[algo], folder)
        trainer: Any = spec.algo.build_trainer(training)
        training.policy.model = trainer.model
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        return trainer

    trainer_whole = trained_from(tmp_path / "whole", None)
    resumed = trained_from(tmp_path / "resumed", tmp_path / "whole" / "checkpoint-3")
    for name, weight in trainer_whole.ref_model.named_parameters():
        assert torch.equal(dict(resumed.ref_model.named_parameters())[name], weight), name
    for name, weight in trainer_whole.model.named_parameters():
        assert torch.equal(dict(resumed.model.named_parameters())[name], weight), name
    last = load_file(tmp_path / "whole" / "checkpoint-5" / REFERENCE)
    head = trainer_whole.ref_model.lm_head.weight
    assert torch.equal(last["lm_head.weight"], head)
    assert not torch.equal(load_file(bandit / "model.safetensors")["lm_head.weight"], head)
