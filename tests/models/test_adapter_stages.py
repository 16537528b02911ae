"""An adapter from stage to stage: it goes on, or another begins, and the reference is what was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_runs import SIX, assert_same, cut_after, events_of, resume_here
from peft import LoraConfig, PeftModel, get_peft_model
from runs import problems_of, run_here, run_of, spec_of
from tiny_policy import TinyPolicy
from transformers import AutoModelForCausalLM

from rlexp.builtin import tiny
from rlexp.models import adapters
from rlexp.models.adapters import keep_beginning, merged_weights
from rlexp.models.load import load_policy
from rlexp.models.locate import local_folder, whole_folder
from rlexp.models.policy import Policy
from rlexp.models.saving import name_base, save_policy
from rlexp.spec.errors import UserError

IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])
LORA = ("peft=lora", "peft.r=4", "peft.alpha=8")
ON = (*LORA, "peft.start=continue")


@pytest.fixture(autouse=True)
def cache_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged weights do not pile up in the user's cache."""
    monkeypatch.setattr(adapters, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the embedded model that changes what it says."""
    folder = tmp_path_factory.mktemp("adapter")
    base = tiny.ensure_tiny_model()
    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=0.1
    )
    torch.manual_seed(0)
    model = get_peft_model(model, config)
    move(model)
    model.save_pretrained(str(folder))
    for file in base.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def move(model: Any, by: float = 0.05) -> None:
    """A step of training, as far as the weights are concerned."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += by * torch.randn_like(weight)


@torch.no_grad()
def log_probs(model: Callable[..., Any]) -> torch.Tensor:
    return model(IDS).logits.log_softmax(-1)


def loaded(*overrides: str) -> Policy:
    spec = spec_of("algo=dpo", "model=local", "model.dtype=float32", *overrides)
    return load_policy(spec, "language", torch.device("cpu"), lambda *_: None)


def base_log_probs() -> torch.Tensor:
    return log_probs(AutoModelForCausalLM.from_pretrained(tiny.ensure_tiny_model()).eval())


@pytest.mark.parametrize("options", [{}, {"use_dora": True}], ids=["lora", "dora"])
def test_without_its_adapter_is_with_its_beginning(options: dict[str, Any]) -> None:
    """A reference that is the base; one that moves with the policy; a policy that has lost what it
    learnt once the reference was asked."""
    model = get_peft_model(
        TinyPolicy().model, LoraConfig(r=4, target_modules="all-linear", **options)
    )
    without = log_probs(model.eval())
    move(model)
    keep_beginning(model)
    began = log_probs(model)
    assert (began - without).abs().max() > 1e-2
    move(model)
    moved = log_probs(model)
    with model.disable_adapter():
        assert torch.equal(log_probs(model), began)
    assert torch.equal(log_probs(model), moved)
    assert (moved - began).abs().max() > 1e-2


def test_the_reference_may_be_asked_between_forward_and_backward() -> None:
    """Gradients that are taken at the reference's weights."""
    gradients = []
    for asks in (False, True):
        torch.manual_seed(0)
        model = get_peft_model(TinyPolicy().model, LoraConfig(r=4, target_modules="all-linear"))
        move(model)
        keep_beginning(model)
        move(model)
        loss = model(IDS).logits.logsumexp(-1).sum()
        if asks:
            with model.disable_adapter():
                log_probs(model)
        loss.backward()
        gradients.append([w.grad for w in model.parameters() if w.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_it_goes_on_as_it_was_saved(adapter: Path, tmp_path: Path) -> None:
    """An adapter that begins anew or is frozen; a reference that is its base; a base that has the
    update in it before it gets it; a dropout that the config asks for, and the file's stays."""
    policy = loaded(f"model.path={adapter}", *ON, "peft.dropout=0.25")
    plain = AutoModelForCausalLM.from_pretrained(adapter).eval()
    began = log_probs(policy.model.eval())
    assert torch.allclose(began, log_probs(plain), atol=1e-6)
    assert (began - base_log_probs()).abs().max() > 1e-2
    assert policy.model.peft_config["default"].lora_dropout == 0.25
    trained = [name for name, weight in policy.model.named_parameters() if weight.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    assert Path(policy.folder) == tiny.ensure_tiny_model()
    move(policy.model)
    with policy.reference() as reference:
        assert torch.equal(log_probs(reference), began)
        kl = (began.exp() * (began - log_probs(policy.model))).sum(-1)
    assert kl.min() > 1e-4
    whole = AutoModelForCausalLM.from_pretrained(policy.initial_folder).eval()
    assert torch.allclose(log_probs(whole), began, atol=1e-5)


@pytest.mark.parametrize("merged", [False, True])
def test_what_it_leaves_is_the_trained_one_on_the_first_base(
    merged: bool, adapter: Path, tmp_path: Path
) -> None:
    """A merged model that is its base, or has the update twice; an adapter whose base is a folder
    that is gone, or the adapter that it went on from."""
    policy = loaded(f"model.path={adapter}", *ON)
    move(policy.model)
    trained = log_probs(policy.model.eval())
    name_base(policy)
    save_policy(policy, tmp_path / "model", merged=merged)
    assert (tmp_path / "model" / "config.json").is_file() == merged
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    assert torch.allclose(log_probs(plain), trained, atol=1e-5)
    assert (log_probs(plain) - base_log_probs()).abs().max() > 1e-2
    if not merged:
        config = json.loads((tmp_path / "model" / "adapter_config.json").read_text())
        assert Path(config["base_model_name_or_path"]) == tiny.ensure_tiny_model()
        assert not [path for path in (tmp_path / "model").iterdir() if path.is_dir()]
        again = merged_weights(tmp_path / "model", tiny.ensure_tiny_model())
        whole = AutoModelForCausalLM.from_pretrained(again).eval()
        assert torch.allclose(log_probs(whole), trained, atol=1e-5)


def test_in_bfloat16_merging_rounds_and_going_on_does_not(adapter: Path) -> None:
    """An adapter whose small update is lost in the base's format before it is trained on."""
    settings = (f"model.path={adapter}", "model.dtype=bfloat16")
    gone_on, merged = loaded(*settings, *ON), loaded(*settings, *LORA)
    base = AutoModelForCausalLM.from_pretrained(tiny.ensure_tiny_model(), dtype=torch.bfloat16)
    exact = log_probs(PeftModel.from_pretrained(base, str(adapter)).eval()).float()
    assert torch.equal(log_probs(gone_on.model.eval()).float(), exact)
    assert (log_probs(merged.model.eval()).float() - exact).abs().max() < 0.3


def test_another_one_begins_on_an_adapter_that_stands_on_one(adapter: Path, tmp_path: Path) -> None:
    """A chain of adapters of which the last is merged into the first base alone."""
    model = AutoModelForCausalLM.from_pretrained(merged_weights(adapter, tiny.ensure_tiny_model()))
    second = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    )
    move(second)
    expected = log_probs(second.eval())
    second.save_pretrained(str(tmp_path / "second"))
    file = tmp_path / "second" / "adapter_config.json"
    config = json.loads(file.read_text()) | {"base_model_name_or_path": str(adapter)}
    file.write_text(json.dumps(config))
    whole = whole_folder(tmp_path / "second", local_folder)
    found = log_probs(AutoModelForCausalLM.from_pretrained(whole).eval())
    assert torch.allclose(found, expected, atol=1e-5)


def test_merged_weights_that_are_gone_are_made_again(adapter: Path, tmp_path: Path) -> None:
    """A run's adapter that is lost with a cache: it began on another adapter's merged weights."""
    merged = merged_weights(adapter, tiny.ensure_tiny_model())
    model = AutoModelForCausalLM.from_pretrained(merged)
    second = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    )
    move(second)
    expected = log_probs(second.eval())
    for folder in ("model", "checkpoints/step-000001"):
        second.save_pretrained(str(tmp_path / folder))
    (tmp_path / "config.yaml").write_text(f"model: {{path: {adapter}}}")
    shutil.rmtree(merged)
    for folder in ("model", "checkpoints/step-000001"):
        policy = loaded(f"model.path={tmp_path / folder}", "peft=none")
        assert torch.allclose(log_probs(policy.model.eval()), expected, atol=1e-5)


class TestMistakes:
    @pytest.mark.parametrize(
        ("changes", "key", "says"),
        [
            (("peft.r=8",), "peft.r", "4, as the adapter in"),
            (("peft.alpha=9",), "peft.alpha", "8, as the adapter in"),
            (("peft=dora",), "peft", "lora, as the adapter in"),
            (("peft.target_modules=[q_proj]",), "peft.target_modules", "down_proj"),
            (("algo=reward",), "peft.start", "SEQ_CLS"),
        ],
    )
    def test_another_adapter_than_asked_for(
        self, changes: tuple[str, ...], key: str, says: str, adapter: Path
    ) -> None:
        """A rank or a scale of the config that is passed over without a word."""
        path = ("model=local", f"model.path={adapter}")
        assert says in problems_of("algo=dpo", *path, *ON, *changes)[key]

    def test_whole_weights(self) -> None:
        """An adapter that begins anew where it was to go on."""
        path = f"model.path={tiny.ensure_tiny_model()}"
        for chosen in (["model=tiny"], ["model=local", path]):
            assert "whole weights" in problems_of("algo=dpo", *chosen, *ON)["peft.start"]

    def test_four_bits(self) -> None:
        """An adapter that is laid over other weights than its own."""
        assert "merged" in problems_of("peft=qlora", "peft.start=continue")["peft.start"]

    def test_layers_that_all_linear_means_and_the_adapter_has_not(
        self, adapter: Path, tmp_path: Path
    ) -> None:
        """`all-linear` on the card, and half of the layers left as they are."""
        narrow = tmp_path / "narrow"
        shutil.copytree(adapter, narrow)
        config = json.loads((narrow / "adapter_config.json").read_text())
        config["target_modules"] = ["q_proj", "v_proj"]
        (narrow / "adapter_config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=r"peft.target_modules=\[q_proj,v_proj\]"):
            loaded(f"model.path={narrow}", *ON)


LOG_KL = {"algo=grpo", "algo=ppo", "algo=reinforce", "algo=rloo"}
"""Trainings that log the KL of their samples from the reference at each step."""


@pytest.mark.parametrize(
    "algo",
    [
        pytest.param(["algo=dpo"], marks=pytest.mark.long),
        pytest.param(["algo=ppo"], marks=pytest.mark.slow),
        pytest.param(["algo=kto"], marks=pytest.mark.slow),
        pytest.param(["algo=grpo"], marks=pytest.mark.slow),
        pytest.param(["algo=rloo", "algo.num_generations=4"], marks=pytest.mark.slow),
        pytest.param(["algo=reinforce"], marks=pytest.mark.slow),
        pytest.param(["algo=online_dpo"], marks=pytest.mark.slow),
        pytest.param(["algo=sft"], marks=pytest.mark.slow),
        pytest.param(["algo=orpo"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_every_training_is_held_to_the_adapter_it_began_with(
    algo: list[str], adapter: Path, tmp_path: Path
) -> None:
    """A trainer whose reference is the base, or follows the policy; a second adapter in checkpoint
    or model; an update that is not saved."""
    card = run_of(
        tmp_path / "run",
        *algo,
        "model=local",
        f"model.path={adapter}",
        *ON,
        "train.max_steps=2",
        "algo.learning_rate=1e-3",
        "train.lr_scheduler=constant",
    )
    assert card["before"]["kl"] == 0 < card["after"]["kl"]
    steps = [e for e in events_of(tmp_path / "run") if "train/loss" in e.get("metrics", {})]
    first = steps[0]["metrics"]
    if algo[0] in LOG_KL:
        assert abs(first["rollout/kl"]) < 1e-6
    if algo == ["algo=dpo"]:
        assert first["train/loss"] == pytest.approx(0.693147, abs=1e-5)
        assert steps[1]["metrics"]["train/loss"] != first["train/loss"]
    model = tmp_path / "run" / "model"
    for folder in (model, *(tmp_path / "run" / "checkpoints").glob("step-*")):
        assert not (folder / "ref").exists()
    config = json.loads((model / "adapter_config.json").read_text())
    assert Path(config["base_model_name_or_path"]) == tiny.ensure_tiny_model()
    trained = log_probs(AutoModelForCausalLM.from_pretrained(model).eval())
    began = log_probs(AutoModelForCausalLM.from_pretrained(adapter).eval())
    assert (trained - began).abs().max() > 1e-4
    assert (trained - base_log_probs()).abs().max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("algo", [["algo=dpo"], ["algo=ppo", "algo.critic=separate"]], ids=" ".join)
def test_a_killed_training_of_it_goes_on_bit_for_bit(
    algo: list[str], adapter: Path, tmp_path: Path
) -> None:
    """A resume from the adapter that the run began with; a reference that is the checkpoint."""
    options = (*algo, "model=local", f"model.path={adapter}", *ON, *SIX)
    whole = run_here(tmp_path / "whole", *options, "train.keep_checkpoints=9")
    killed = cut_after(whole, tmp_path / "killed", 4)
    resume_here(killed)
    assert_same(killed, whole)
