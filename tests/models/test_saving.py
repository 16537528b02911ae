"""What a run leaves behind loads anywhere, says what it is, and is what was trained."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from peft import LoraConfig, get_peft_model
from runs import SMALL, run_here, spec_of
from tiny_policy import TinyPolicy, policy_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlexp.builtin import tiny
from rlexp.cards.card import Card
from rlexp.cards.model_card import Weights, model_card
from rlexp.models import adapters
from rlexp.models.adapters import merged_weights
from rlexp.models.policy import Policy
from rlexp.models.saving import name_base, save_policy
from rlexp.runtime.cache import make_once
from rlexp.runtime.checkpoints import complete_checkpoints
from rlexp.runtime.environment import hub_closed
from rlexp.spec.errors import UserError

LORA = ("algo=dpo", "peft=lora", *SMALL)
RUNS = {
    "whole": ("algo=grpo", *SMALL),
    "adapter": LORA,
    "merged": (*LORA, "peft.save=merged"),
    "chat": (
        "algo=dpo",
        "model.chat=true",
        "model.chat_template=chatml",
        "data.max_prompt_length=300",
        *SMALL,
    ),
    "reward model": ("algo=reward", *SMALL),
    "reward adapter": ("algo=reward", "peft=lora", *SMALL),
}
FIRST = ("chat", "adapter")
"""Those of which the fast suite tries the card's code; each imports torch anew."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of each kind, made when it is first asked for."""
    done: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in done:
            done[kind] = run_here(tmp_path_factory.mktemp("run") / "run", *RUNS[kind])
        return done[kind]

    return folder


@pytest.fixture(autouse=True)
def cache_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged weights do not pile up in the user's cache."""
    monkeypatch.setattr(adapters, "cache_folder", lambda: tmp_path)


def logits(folder: Path) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True).eval()
    with torch.no_grad():
        return model(**tokenizer("The film was", return_tensors="pt")).logits


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.long if kind in FIRST else pytest.mark.slow)
        for kind in RUNS
    ],
)
def test_the_card_is_the_hubs_and_its_code_runs(kind: str, made: Any) -> None:
    """Front matter that the hub refuses, a card without licence or result, a snippet that names a
    class or a file that is not there."""
    folder = made(kind) / "model"
    card = ModelCard.load(folder / "README.md")
    front_matter = card.data.to_dict()
    assert front_matter["license"] == "apache-2.0"
    assert front_matter["library_name"] == ("peft" if "adapter" in kind else "transformers")
    assert front_matter["model-index"][0]["results"][0]["metrics"]
    assert "base_model" not in front_matter  # no repository of the hub
    assert "Licence: apache-2.0" in card.text and "None" not in card.text
    assert "[" in card.text.partition("95% interval")[2]
    (code,) = card.text.split("```python\n")[1:]
    done = subprocess.run(
        [sys.executable, "-c", code.partition("```")[0]],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.long
def test_an_unknown_licence_is_said_to_be_unknown(tmp_path: Path) -> None:
    """A licence that the card makes up for weights of which nothing is known."""
    folder = run_here(
        tmp_path / "run",
        "algo=sft",
        "model=local",
        f"model.path={tiny.ensure_tiny_model()}",
        *SMALL,
    )
    card = ModelCard.load(folder / "model" / "README.md")
    assert card.data.to_dict()["license"] == "other"
    assert "check it before you pass the model on" in card.text
    assert str(tiny.ensure_tiny_model()) not in card.text


@pytest.mark.long
def test_merged_weights_are_the_adapters_model(made: Any) -> None:
    """An update that is left out, added twice, or rounded away when it goes into the weights; a
    merged model that still wants its base; a cache that gives one adapter's weights for another."""
    adapter, merged = made("adapter") / "model", made("merged") / "model"
    assert (merged / "config.json").is_file() and not (merged / "adapter_config.json").exists()
    base = logits(tiny.ensure_tiny_model())
    assert (logits(adapter) - base).abs().max() > 1e-2
    assert torch.allclose(logits(merged), logits(adapter), atol=1e-5)
    cached = merged_weights(adapter, tiny.ensure_tiny_model())
    assert torch.allclose(logits(cached), logits(adapter), atol=1e-5)
    first, _ = complete_checkpoints(made("adapter") / "checkpoints")
    assert merged_weights(first, tiny.ensure_tiny_model()) != cached


@pytest.mark.parametrize("kind", ["whole", "adapter"])
def test_checkpoints_load_like_the_model(kind: str, made: Any) -> None:
    """A checkpoint without tokenizer or config, which only its own run can read; a final model that
    is not what the last step left."""
    folder = made(kind)
    first, last = (
        logits(checkpoint) for checkpoint in complete_checkpoints(folder / "checkpoints")
    )
    assert torch.equal(last, logits(folder / "model"))
    assert not torch.equal(first, last)


@pytest.mark.long
def test_tokenizer_and_template_are_those_of_the_training(made: Any) -> None:
    """A tokenizer that splits otherwise after saving; a chat template that is lost, or one lent to
    a model without chat, which makes the next run frame its prompts."""
    trained = AutoTokenizer.from_pretrained(tiny.ensure_tiny_model())
    text = "It was a dull remake, I hated it."
    for kind in ("whole", "adapter", "merged", "chat"):
        saved = AutoTokenizer.from_pretrained(made(kind) / "model")
        assert saved(text)["input_ids"] == trained(text)["input_ids"]
        assert bool(saved.chat_template) == (kind == "chat")
    generation = AutoModelForCausalLM.from_pretrained(made("whole") / "model").generation_config
    assert generation.eos_token_id == trained.eos_token_id


@pytest.mark.long
def test_an_adapters_folder_begins_another_run(made: Any, tmp_path: Path) -> None:
    """A run that takes the base for the adapter: as its policy, or as the reference of its KL."""
    folder = made("adapter")
    second_folder = run_here(
        tmp_path / "run", "algo=dpo", "model=local", f"model.path={folder / 'model'}", *SMALL
    )
    first, second = (
        Card.from_json(run_folder / "card.json") for run_folder in (folder, second_folder)
    )
    assert second.before["reward"] == pytest.approx(first.after["reward"], abs=1e-6)
    assert second.before["perplexity"] == pytest.approx(first.after["perplexity"], rel=1e-6)
    assert second.before["kl"] == 0


@pytest.mark.parametrize("kind", ["whole", "adapter", "merged"])
def test_processes_that_do_not_write_take_part_in_saving(kind: str, tmp_path: Path) -> None:
    """A sharded model whose state dict the first process waits for alone, for ever; a second
    process that writes over what the first one writes."""
    policy = policy_of(TinyPolicy(), tmp_path / "base")
    if kind != "whole":
        policy.model = get_peft_model(policy.model, LoraConfig(target_modules="all-linear"))
    gathered: list[str] = []
    policy.model.register_state_dict_post_hook(lambda *called: gathered.append(kind))
    (tmp_path / "run").mkdir()
    save_policy(policy, tmp_path / "run" / "model", merged=kind == "merged", write=False)
    assert gathered == [kind]
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


def test_an_adapter_names_its_base_as_everybody_does(tmp_path: Path) -> None:
    """An adapter whose base is a path of the machine that trained it."""
    model = get_peft_model(TinyPolicy().model, LoraConfig(target_modules="all-linear"))
    spec = spec_of("model=qwen0.5b").model
    policy = Policy(model, None, tmp_path, spec, True, None, 1.0, [])
    name_base(policy)
    with hub_closed():  # as in a run
        model.save_pretrained(str(tmp_path))
    assert '"base_model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct"' in (
        tmp_path / "adapter_config.json"
    ).read_text(encoding="utf-8")


def test_a_base_of_the_hub_is_named_in_the_front_matter(made: Any) -> None:
    """A card from which the hub cannot tell what the model was made of."""
    folder = made("adapter")
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["model"] |= {"path": "Qwen/Qwen2.5-0.5B-Instruct", "license": "apache-2.0"}
    config["data"] |= {"path": "openai/gsm8k"}
    card = Card.from_json(folder / "card.json")
    front_matter = model_card(config, card, {}, Weights(2, adapter=True)).data.to_dict()
    assert front_matter["base_model"] == "Qwen/Qwen2.5-0.5B-Instruct"
    assert front_matter["base_model_relation"] == "adapter"
    assert front_matter["datasets"] == ["openai/gsm8k"]


def test_four_bits_are_not_merged() -> None:
    """Weights in four bits that silently lose the update."""
    with pytest.raises(UserError) as caught:
        spec_of("peft=qlora", "peft.save=merged")
    (problem,) = [problem for problem in caught.value.problems if problem.key == "peft.save"]
    assert "merges it into the whole weights later" in problem.want


def test_half_a_download_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    """A cache entry of a download that was cut off, found by the next run."""

    def cut_off(draft: Path) -> None:
        (draft / "model.safetensors").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_once(tmp_path / "model", cut_off)
    assert not (tmp_path / "model").exists()
    make_once(tmp_path / "model", lambda draft: draft.joinpath("a").touch())
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["a"]
