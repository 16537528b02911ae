"""Folders that no run can use are refused by their files alone: nothing is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_folders import HIDDEN, QWEN2, qwen2_tensors, write_model, write_shards
from runs import problems_of, spec_of
from safetensors.numpy import save_file

from rlexp.spec.checks.model import model_is_whole
from rlexp.spec.files.architecture import architecture_problems, has_no_sdpa
from rlexp.spec.files.positions import position_limit
from rlexp.spec.files.safetensors_header import BrokenFile, stored_tensors
from rlexp.spec.files.weights import weight_problems
from rlexp.spec.model_kind import Head

KEY = "model.path"


def told(folder: Path, **config: Any) -> str:
    return "\n".join(map(str, weight_problems(folder, {**QWEN2, **config}, KEY)))


def test_whole_weights_pass(tmp_path: Path) -> None:
    """A check that finds fault with a good model: in one file, in shards, tied, with buffers."""
    tied = {name: value for name, value in qwen2_tensors().items() if name != "lm_head.weight"}
    buffers = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(2, np.float32)}
    write_model(tmp_path / "tied", tied | buffers)
    assert told(write_model(tmp_path / "one")) == ""
    assert told(write_shards(tmp_path / "two")) == ""
    assert told(tmp_path / "tied", tie_word_embeddings=True) == ""
    assert told(tmp_path / "tied", architectures=["Qwen2ForSequenceClassification"]) == ""


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        (["model.layers.1.mlp.up_proj.weight"], "model.layers.1.mlp.up_proj.weight"),
        (["lm_head.weight"], "lm_head.weight"),
        (["model.embed_tokens.weight"], "embed_tokens"),
        ([name for name in qwen2_tensors() if ".2." in name], "model.layers.2.self_attn.q_proj"),
    ],
)
def test_missing_tensors_are_named(lost: list[str], named: str, tmp_path: Path) -> None:
    """A layer, a head or embeddings that begin at random without a word."""
    tensors = {name: value for name, value in qwen2_tensors().items() if name not in lost}
    assert named in told(write_model(tmp_path, tensors))


def test_families_with_unlike_layers_are_left_to_their_code(tmp_path: Path) -> None:
    """A hybrid model refused because its layers differ."""
    tensors = qwen2_tensors()
    del tensors["model.layers.1.mlp.up_proj.weight"]
    assert told(write_model(tmp_path, tensors), model_type="jamba") == ""


def test_embeddings_of_another_size(tmp_path: Path) -> None:
    """A config.json that was taken from another model."""
    assert "[8, 4]" in told(write_model(tmp_path), vocab_size=9)
    assert "[8, 5]" in told(write_model(tmp_path), hidden_size=5)


def test_shards_that_are_not_there_are_all_named(tmp_path: Path) -> None:
    """The second of two mistakes, told after the first is mended."""
    folder = write_shards(tmp_path)
    first, second = sorted(folder.glob("model-*.safetensors"))
    save_file({"model.norm.weight": np.zeros(2, np.float32)}, first)
    second.unlink()
    text = told(folder)
    assert f"without {second.name} of 2 shards" in text
    assert f"{first}, without model.embed_tokens.weight" in text


def test_shards_without_an_index(tmp_path: Path) -> None:
    """A folder that loads as nothing."""
    folder = write_shards(tmp_path)
    (folder / "model.safetensors.index.json").write_text("{", encoding="utf-8")
    assert "model.safetensors.index.json, which cannot be read" in told(folder)
    (folder / "model.safetensors.index.json").unlink()
    assert "without model.safetensors.index.json" in told(folder)


def test_pickled_weights_alone(tmp_path: Path) -> None:
    """A remedy that does not say which files it is about."""
    (write_model(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    assert "pytorch_model.bin" in told(tmp_path)
    assert "save_pretrained" in told(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: b"", "an empty file"),
        (lambda data: data[:30], "cut off within its header"),
        (lambda data: data[:-7], "cut off: 7 of its tensors' bytes"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\noid 1\n", "git-LFS pointer"),
        (lambda data: b"PK\x03\x04" + data, "pickled"),
        (lambda data: b"<!DOCTYPE html>" + data, "HTML"),
        (lambda data: data[:8] + b"?" + data[9:], "no JSON"),
        (lambda data: data.replace(b'"F32"', b'"X32"'), "unknown (X32)"),
        (lambda data: data.replace(b'"F32"', b'"F16"'), "of F16"),
    ],
)
def test_files_that_are_no_whole_safetensors(change: Any, words: str, tmp_path: Path) -> None:
    """A cut copy, a pointer or a page that fails in the middle of a load, by a stack trace."""
    file = write_model(tmp_path) / "model.safetensors"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(BrokenFile) as caught:
        stored_tensors(file)
    assert words in caught.value.what
    assert caught.value.remedy
    assert str(file) in told(tmp_path)


def test_the_remedy_of_a_pointer_is_a_command(tmp_path: Path) -> None:
    """A remedy that names no folder."""
    file = write_model(tmp_path) / "model.safetensors"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert f"git -C {tmp_path} lfs pull" in told(tmp_path)


def test_integers_instead_of_weights(tmp_path: Path) -> None:
    """Quantised weights read as if their integers were weights."""
    name = "model.layers.0.mlp.up_proj.weight"
    tensors = {**qwen2_tensors(), name: np.zeros((HIDDEN, HIDDEN), np.int8)}
    assert f"{name} of type I8" in told(write_model(tmp_path, tensors))
    assert told(tmp_path, quantization_config={"bits": 8}) == ""


def judged(heads: tuple[Head, ...] = ("language",), **config: Any) -> str:
    problems = architecture_problems({**QWEN2, **config}, "FOLDER", KEY, heads, own_code=False)
    return "\n".join(map(str, problems))


@pytest.mark.parametrize(
    ("family", "architecture", "more"),
    [
        ("t5", "T5ForConditionalGeneration", {"is_encoder_decoder": True}),
        ("bart", "BartForConditionalGeneration", {"is_encoder_decoder": True}),
        ("bert", "BertForMaskedLM", {}),
        ("bert", "BertLMHeadModel", {}),
        ("roberta", "RobertaForCausalLM", {"is_decoder": False}),
        ("distilbert", "DistilBertForMaskedLM", {}),
        ("qwen2", "Qwen2ForSequenceClassification", {}),
        ("qwen2", "Qwen2ForTokenClassification", {}),
        ("clip", "CLIPModel", {}),
        ("vit", "ViTForImageClassification", {}),
    ],
)
def test_what_does_not_write_is_refused(family: str, architecture: str, more: Any) -> None:
    """An encoder that is sampled from as if it read from left to right."""
    text = judged(model_type=family, architectures=[architecture], **more)
    assert architecture in text
    assert "a causal language model" in text


@pytest.mark.parametrize(
    ("family", "architecture", "more"),
    [
        ("qwen2", "Qwen2ForCausalLM", {}),
        ("gpt2", "GPT2LMHeadModel", {}),
        ("gpt2", "GPT2Model", {}),
        ("bert", "BertLMHeadModel", {"is_decoder": True}),
        ("bart", "BartForCausalLM", {"is_decoder": True}),
        ("gemma3", "Gemma3ForConditionalGeneration", {}),
    ],
)
def test_what_writes_passes(family: str, architecture: str, more: Any) -> None:
    """A decoder that is refused for the family that it comes from."""
    assert judged(model_type=family, architectures=[architecture], **more) == ""


def test_unknown_architectures() -> None:
    """A spelling mistake, a model newer than transformers, one that brings its own code."""
    assert "Is qwen2 meant" in judged(model_type="qwenn2")
    assert "pip install --upgrade" in judged(model_type="x1y2z3")
    assert "trust_remote_code=true" in judged(model_type="x1", auto_map={"AutoConfig": "a.B"})
    assert "without a model_type" in judged(model_type=None)


def test_a_reward_model_may_begin_from_either() -> None:
    """A reward model's training refused on a language model, or on an earlier reward model."""
    assert judged(("reward",)) == ""
    assert judged(("reward",), architectures=["Qwen2ForSequenceClassification"]) == ""
    both = judged(("language", "reward"), architectures=["Qwen2ForSequenceClassification"])
    assert "a causal language model" in both


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"model_type": "gpt2", "n_positions": 1024}, 1024),
        ({"model_type": "gpt2", "n_ctx": 512}, 512),
        ({"model_type": "opt", "max_position_embeddings": 2048}, 2048),
        ({"model_type": "gptj", "n_positions": 2048, "rotary_dim": 64}, 2048),
        ({"model_type": "mpt", "max_seq_len": 2048}, 2048),
        ({"model_type": "roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "unheard-of", "max_position_embeddings": 64}, 64),
        ({"max_position_embeddings": 64}, 64),
        ({"model_type": "qwen2", "max_position_embeddings": 32768, "rope_theta": 1e6}, None),
        ({"model_type": "llama", "max_position_embeddings": 2048}, None),  # before rope_theta
        ({"model_type": "gemma3", "text_config": {"max_position_embeddings": 9, "rope_theta": 1}},
         None),
        ({"model_type": "bloom", "n_positions": 10}, None),
        ({"model_type": "mamba"}, None),
    ],
)  # fmt: skip
def test_positions(config: dict[str, Any], limit: int | None) -> None:
    """Positions that end refused nowhere, or rotary ones refused beyond their training."""
    assert position_limit(config) == limit


def test_attention_without_kernels() -> None:
    """SDPA asked of an architecture that has none, found out while it loads."""
    assert has_no_sdpa("gptj") and has_no_sdpa("bloom") and has_no_sdpa("gpt_oss")
    assert not has_no_sdpa("qwen2") and not has_no_sdpa("unheard-of")


def local(folder: Path, *more: str) -> dict[str, str]:
    return problems_of("model=local", f"model.path={folder}", "peft=none", *more)


def test_all_mistakes_of_a_run_at_once(tmp_path: Path) -> None:
    """Attention and weights told one after the other."""
    write_model(tmp_path / "m", {"lm_head.weight": np.zeros((8, 4), np.float32)}, model_type="gptj")
    found = local(tmp_path / "m", "model.attention=sdpa", "seed=-1")
    assert {"model.attention", "model.path", "seed"} <= found.keys()
    assert "model.attention=auto" in found["model.attention"]


def test_an_adapters_base(tmp_path: Path) -> None:
    """An adapter whose base is somewhere else, or not whole, found out after the imports."""
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_file({"a": np.zeros(2, np.float32)}, adapter / "adapter_model.safetensors")

    def based_on(base: Any) -> str:
        config = json.dumps({"base_model_name_or_path": base, "task_type": "CAUSAL_LM"})
        (adapter / "adapter_config.json").write_text(config, encoding="utf-8")
        return local(adapter, "seed=-1").get("model.path", "")

    assert "which is not there" in based_on("/no/where")
    assert "names no base" in based_on(None)
    assert based_on("owner/name") == ""
    assert based_on(str(write_model(tmp_path / "base"))) == ""
    (tmp_path / "base" / "model.safetensors").write_bytes(b"")
    assert "an empty file" in based_on(str(tmp_path / "base"))


def test_a_classifier_is_no_policy(tmp_path: Path) -> None:
    """A language head that begins at random on a classifier's body."""
    classifier = write_model(tmp_path, architectures=["Qwen2ForSequenceClassification"])
    assert "Qwen2ForSequenceClassification" in local(classifier, "algo=sft")["model.path"]
    assert "model.path" not in local(classifier, "algo=reward", "algo.labels=data", "seed=-1")


@pytest.mark.parametrize("rate", ["1e-6", "1e-5"])
def test_rates_that_bfloat16_rounds_away(
    rate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that ends with the weights that it began with."""
    monkeypatch.setattr("rlexp.spec.checks.hardware.has_bf16", lambda device: True)
    words = [f"algo.learning_rate={rate}", "model.dtype=bfloat16"]
    found = local(write_model(tmp_path), *words)
    assert "model.dtype=float32" in found["model.dtype"] and "peft=lora" in found["model.dtype"]
    path = f"model.path={tmp_path}"
    assert spec_of("model=local", path, *words, "peft=lora").model.dtype == "bfloat16"
    assert spec_of("model=local", path, "peft=none", "algo.learning_rate=1e-6")
    loud = ["algo.learning_rate=1e-3", "model.dtype=bfloat16", "peft=none"]
    assert spec_of("model=local", path, *loud).model.dtype == "bfloat16"


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    """A check that takes seconds, since it imports what it checks for."""
    folder = write_model(tmp_path)
    code = (
        "import sys; from pathlib import Path; from rlexp.spec.files.model_problems import *;"
        "from rlexp.spec.model import ModelSpec;"
        "model = ModelSpec.model_construct(trust_remote_code=False, attention='sdpa');"
        f"assert not folder_problems(Path({str(folder)!r}), model, ('language',), 'k');"
        "assert not {'torch', 'transformers', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_hub_ids_and_embedded_models_are_looked_at_later() -> None:
    """A folder looked for where a hub id stands."""
    for words in (["model=gpt2"], ["model=tiny"]):
        spec = spec_of(*words)
        assert model_is_whole(spec.algo, spec.data, spec.model) == []
