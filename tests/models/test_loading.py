"""Weights that are loaded whole, or not at all; and those that a rate moves, or does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from model_folders import write_model
from runs import spec_of
from safetensors.torch import load_file, save_file
from small_models import small_model

from rlexp.models.locate import fetch
from rlexp.models.policy import hide_router_losses
from rlexp.spec.errors import UserError
from rlexp.spec.files.rounding import USUAL_WEIGHT, smallest_rate
from rlexp.spec.model_kind import KINDS


def saved(folder: Path, kind: str = "qwen2", **config: Any) -> Path:
    small_model(kind, **config).save_pretrained(folder)
    return folder


def rewrite(folder: Path, change: Any) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def refused(folder: Path, kind: str = "language") -> str:
    with pytest.raises(UserError) as caught:
        KINDS[kind].load(folder)  # pyright: ignore[reportArgumentType]
    return str(caught.value)


@pytest.mark.parametrize("tied", [True, False])
def test_whole_weights_load(tied: bool, tmp_path: Path) -> None:
    """Tied embeddings, or buffers, taken for missing tensors."""
    model, fresh = KINDS["language"].load(saved(tmp_path, tie_word_embeddings=tied))
    assert fresh == []
    assert model.config.tie_word_embeddings is tied


def test_tensors_that_all_layers_lack(tmp_path: Path) -> None:
    """What no look at names alone can find: every layer lacks the same."""
    lost = "post_attention_layernorm.weight"

    def drop(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.endswith(lost)]:
            del tensors[name]

    rewrite(saved(tmp_path), drop)
    text = refused(tmp_path)
    assert "without 3 of them" in text and f"model.layers.0.{lost}" in text


def test_tensors_of_another_shape(tmp_path: Path) -> None:
    """A stack trace for a config.json of another size."""
    rewrite(saved(tmp_path), lambda tensors: tensors.update({"model.norm.weight": torch.ones(5)}))
    assert "model.norm.weight of [5] instead of [16]" in refused(tmp_path)


def test_a_reward_models_head_may_be_new_and_its_body_not(tmp_path: Path) -> None:
    """A body that begins at random along with the head."""
    model, fresh = KINDS["reward"].load(saved(tmp_path))
    assert fresh == ["score.weight"]
    model.save_pretrained(tmp_path / "scorer")
    assert KINDS["reward"].load(tmp_path / "scorer")[1] == []
    rewrite(tmp_path, lambda tensors: tensors.pop("model.norm.weight"))
    assert "model.norm.weight" in refused(tmp_path, "reward")


def test_a_download_is_looked_at_before_torch(tmp_path: Path) -> None:
    """A snapshot of the hub that was cut off, or is of another kind, found out by loading it."""
    model = spec_of("model=smollm2-135m").model
    snapshot = write_model(tmp_path / "snapshot")
    fetch(model, lambda *place: snapshot, ["language"])
    (snapshot / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="cut off"):
        fetch(model, lambda *place: snapshot, ["language"])
    write_model(snapshot, architectures=["Qwen2ForSequenceClassification"])
    with pytest.raises(UserError, match="a causal language model"):
        fetch(model, lambda *place: snapshot, ["language"])
    fetch(model, lambda *place: snapshot, ["reward"])


def test_the_base_of_a_downloaded_adapter_is_looked_at(tmp_path: Path) -> None:
    """An adapter whose base is fetched, and is not whole."""
    adapter, base = tmp_path / "adapter", write_model(tmp_path / "base")
    adapter.mkdir()
    save_file({"a": torch.zeros(2)}, adapter / "adapter_model.safetensors")
    names_base = '{"base_model_name_or_path": "owner/base", "task_type": "CAUSAL_LM"}'
    (adapter / "adapter_config.json").write_text(names_base)
    model = spec_of("model=smollm2-135m").model

    def folder_of(path: str, *rest: Any) -> Path:
        return base if path == "owner/base" else adapter

    fetch(model, folder_of, ["language"])
    (base / "model.safetensors").unlink()
    with pytest.raises(UserError, match="without weights in safetensors"):
        fetch(model, folder_of, ["language"])


def test_a_mixtures_router_losses_are_off(tmp_path: Path) -> None:
    """Sampling and evaluations that fail in a loss which they never wanted."""
    folder = saved(tmp_path, "mixtral", output_router_logits=True)
    model, _ = KINDS["language"].load(folder)
    assert hide_router_losses(model) is True
    assert hide_router_losses(model) is False
    model.save_pretrained(tmp_path / "saved")
    assert '"output_router_logits": true' not in (tmp_path / "saved" / "config.json").read_text()


def share_moved(dtype: torch.dtype, rate: float) -> float:
    """The share of usual weights that three of AdamW's steps change."""
    generator = torch.Generator().manual_seed(0)
    start = (torch.randn(4096, generator=generator) * USUAL_WEIGHT).to(dtype)
    weights = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([weights], lr=rate, weight_decay=0.0)
    for _ in range(3):
        weights.grad = torch.ones_like(weights)
        optimizer.step()
    return (weights.detach() != start).float().mean().item()


def test_the_smallest_rate_is_the_formats() -> None:
    """A threshold that lets trainings through in which hardly a weight moves, or refuses others."""
    assert share_moved(torch.bfloat16, 1e-6) < 0.05
    assert share_moved(torch.bfloat16, 1e-5) < 0.25
    assert share_moved(torch.bfloat16, smallest_rate()) > 0.5
    assert share_moved(torch.float32, 1e-6) > 0.99
