"""What an algorithm makes of a model's peculiarities: losses, routers, heads."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from runs import run_here
from small_models import small_model
from tiny_policy import TinyPolicy, policy_of

from rlexp.algos.common.fused_head import check_fused_head
from rlexp.algos.common.trl import check_router_loss, disable_functional_dropout
from rlexp.spec.errors import UserError


def test_dropout_without_a_module_is_off() -> None:
    """A KL between two networks, which a policy that has not moved reports as its distance."""
    model = small_model("qwen2", attention_dropout=0.9).train()
    ids = torch.arange(2, 12)[None]
    assert not torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)
    disable_functional_dropout(model)
    torch.testing.assert_close(model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_router_losses_that_trl_cannot_compute() -> None:
    """An attribute error at the first step, after the evaluation before it."""
    whole = SimpleNamespace(num_experts=4, num_experts_per_tok=2)
    for config, right in ((whole, True), (SimpleNamespace(num_local_experts=4), False)):
        model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda known=config: known))
        trainer = SimpleNamespace(model=model, aux_loss_enabled=True, router_aux_loss_coef=0.001)
        if right:
            check_router_loss(trainer)
            continue
        with pytest.raises(UserError, match=r"algo\.trl\.router_aux_loss_coef=0"):
            check_router_loss(trainer)
        trainer.aux_loss_enabled = False
        check_router_loss(trainer)


@pytest.mark.parametrize(("kind", "right"), [("qwen2", True), ("modernbert-decoder", False)])
def test_heads_that_trl_leaves_a_part_of_out(kind: str, right: bool) -> None:
    """A training on the log-probabilities of a model that nobody has."""
    from trl.trainer.utils import add_fused_lm_head

    model = small_model(kind)
    policy: Any = SimpleNamespace(tokenizer=None)
    trainer = SimpleNamespace(model=model, args=SimpleNamespace(temperature=0.7))
    check_fused_head(trainer, policy, "sft")  # a trainer without one
    add_fused_lm_head(model, temperature=0.7)
    if right:
        check_fused_head(trainer, policy, "sft")
        return
    with pytest.raises(UserError, match="algo=ppo"):
        check_fused_head(trainer, policy, "sft")


def test_the_reference_reads_padding_as_the_policy_does(tmp_path: Path) -> None:
    """A KL between a model and itself that is not 0, for one of the two is padded."""
    from rlexp.models.padding.treatment import PaddingTreatment

    policy = policy_of(TinyPolicy(), tmp_path)
    policy.padding = PaddingTreatment("apart", "apart")
    with policy.reference() as reference:
        assert "forward" in vars(reference.base_model)
        assert "input_ids" in inspect.signature(reference.base_model.forward).parameters


@pytest.mark.long
def test_a_mixture_of_experts_has_its_card(tmp_path: Path) -> None:
    """A run that fails in its last evaluation, where TRL has left the router losses on."""
    from transformers import AutoTokenizer

    from rlexp.builtin import tiny

    folder = tmp_path / "mixture"
    tokenizer = AutoTokenizer.from_pretrained(tiny.ensure_tiny_model())
    small_model("mixtral", len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    words = ["algo=sft", "reward=none", "model=local", f"model.path={folder}", "eval=quick"]
    more = ["train.max_steps=1", "train.batch_size=4", "eval.prompts=4", "eval.texts=4"]
    run = run_here(tmp_path / "run", *words, *more, "tracking=none", "hardware.threads=1")
    assert (run / "card.json").is_file()
    assert '"output_router_logits": true' not in (run / "model/config.json").read_text()
