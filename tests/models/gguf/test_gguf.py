"""GGUF files: written, read back by transformers, and told apart from what is none."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_tokenizers import CHATML, byte_tokenizer
from gguf import GGUFReader
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from rlexp.models.gguf.reading import dequantised_folder, read_gguf
from rlexp.models.gguf.writing import PRECISIONS, gguf_mistakes, write_gguf
from rlexp.models.locate import local_folder
from rlexp.spec.errors import UserError
from rlexp.spec.gguf import GgufHeader, gguf_problems

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rope_theta": 5000.0,
    "max_position_embeddings": 77,
    "rms_norm_eps": 2e-5,
    "initializer_range": 0.3,
}
KINDS = {
    "llama": {"tie_word_embeddings": False},
    "mistral": {"tie_word_embeddings": False},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"tie_word_embeddings": True, "head_dim": 32},
}
TEXT = "Three 345 naïve cats,\n\n  don't they?"


def merging_tokenizer() -> Any:
    """A byte-level tokenizer with pieces of several bytes, so that their order matters."""
    tokenizer = byte_tokenizer(CHATML, bos="<s>")
    texts = ["the cats and three naïve cats, don't they? 345 345\n\n"] * 4
    return tokenizer.train_new_from_iterator(texts, len(tokenizer) + 30)


def saved(kind: str, folder: Path) -> Path:
    """A random model of a kind with a small tokenizer, whose embedding has rows to spare."""
    tokenizer = merging_tokenizer()
    about: dict[str, Any] = {**SHAPE, **KINDS[kind], "vocab_size": len(tokenizer) + 5}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **about))
        for weight in model.parameters():
            if weight.ndim == 1:  # norms of 1 and biases of 0 would hide what is mixed up
                torch.nn.init.uniform_(weight, 0.5, 1.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def log_probs(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].log_softmax(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_back_is_the_model(kind: str, tmp_path: Path) -> None:
    """Rotary halves that are not put side by side, a head's width that is guessed, a lost bias, an
    embedding tied that was not, pieces that move, a template that is left behind."""
    folder = saved(kind, tmp_path / "model")
    write_gguf(folder, tmp_path / "m.gguf", "f32", "small", "mit")
    model = AutoModelForCausalLM.from_pretrained(folder)
    again, tokenizer = read_gguf(tmp_path / "m.gguf", "model.path")
    before = AutoTokenizer.from_pretrained(folder)
    ids = before(TEXT)["input_ids"]
    assert tokenizer(TEXT)["input_ids"] == ids
    assert tokenizer.decode(ids) == before.decode(ids) == TEXT
    assert tokenizer.chat_template == before.chat_template
    assert tokenizer.eos_token_id == before.eos_token_id
    assert torch.equal(log_probs(again, ids), log_probs(model, ids))
    again.save_pretrained(tmp_path / "plain")  # transformers refuses this of what it read itself
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    assert torch.equal(log_probs(plain, ids), log_probs(model, ids))
    assert plain.config.max_position_embeddings == 77


@pytest.mark.parametrize("precision", [name for name in PRECISIONS if name != "f32"])
def test_each_precision_is_as_exact_as_it_says(precision: str, tmp_path: Path) -> None:
    """A format whose blocks are cut the wrong way; weights that were never quantised."""
    folder = saved("llama", tmp_path / "model")
    written = write_gguf(folder, tmp_path / "m.gguf", precision, "small", None)
    assert 0 < written.largest_error <= PRECISIONS[precision] * 1.01
    again, tokenizer = read_gguf(tmp_path / "m.gguf", "model.path")
    ids = tokenizer(TEXT)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(folder)
    apart = (log_probs(again, ids) - log_probs(model, ids)).abs().mean().item()
    # Logits are sums over the width; the layers between let an error of the weights grow.
    assert 0 < apart < 60 * PRECISIONS[precision]


def test_rows_without_whole_blocks_stay_in_float16(tmp_path: Path) -> None:
    """A quantiser that fails at 96 / 2 + 1 columns, or leaves the file without them."""
    folder = saved("qwen2", tmp_path / "model")
    config = AutoConfig.from_pretrained(folder, intermediate_size=40)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    written = write_gguf(folder, tmp_path / "m.gguf", "q8_0", "small", None)
    assert written.unquantised == ["blk.0.ffn_down.weight", "blk.1.ffn_down.weight"]
    kinds = {one.name: one.tensor_type.name for one in GGUFReader(tmp_path / "m.gguf").tensors}
    assert kinds["blk.0.ffn_down.weight"] == "F16"
    assert kinds["blk.0.ffn_up.weight"] == "Q8_0"
    assert kinds["blk.0.attn_norm.weight"] == "F32"


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file that reads as another model: other names, stretched positions."""
    folder = saved("llama", tmp_path / "model")
    assert not gguf_mistakes(folder, "q8_0", "--gguf")
    config = AutoConfig.from_pretrained(folder)
    config.rope_parameters = {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0}
    config.save_pretrained(folder)
    (stretched,) = gguf_mistakes(folder, "q8_0", "--gguf")
    assert "linear" in stretched.got
    AutoConfig.for_model("gpt2").save_pretrained(folder)
    precision, family = gguf_mistakes(folder, "q3", "--gguf")
    assert precision.got == "q3" and "gpt2" in family.got


class TestFiles:
    def test_made_once_by_content(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        """Weights of another file of that name; one dequantised at each start; a silent cost."""
        monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "cache"))
        file = tmp_path / "m.gguf"
        write_gguf(saved("llama", tmp_path / "one"), file, "f32", "small", None)
        folder = local_folder(str(file), None, "model.path")
        assert "MB" in capsys.readouterr().err
        assert local_folder(str(file), None, "model.path") == folder
        assert not capsys.readouterr().err
        write_gguf(saved("qwen2", tmp_path / "two"), file, "f32", "small", None)
        assert dequantised_folder(file, "model.path") != folder

    def test_the_header_is_read_alone(self, tmp_path: Path) -> None:
        """Values read by another length; weights that are loaded for a config check."""
        file = tmp_path / "m.gguf"
        write_gguf(saved("qwen3", tmp_path / "model"), file, "f32", "small", "mit")
        header = GgufHeader.read(file)
        reader = GGUFReader(file)
        assert header.architecture == "qwen3"
        assert header.tensors == len(reader.tensors)
        assert header.values["general.license"] == "mit"
        assert header.values["qwen3.attention.key_length"] == 32
        assert header.values["tokenizer.ggml.tokens"] == len(
            reader.fields["tokenizer.ggml.tokens"].data
        )

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "cannot be read"),
            (b"PK\x03\x04" + bytes(40), "does not begin with GGUF"),
            (b"GGUF" + struct.pack("<I", 1) + bytes(40), "version 1"),
            (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 60), "bytes"),
            (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 99) + b"general", "ends within its header"),
            (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "of the architecture nothing"),
        ],
    )
    def test_what_is_none_is_told(self, content: bytes, told: str, tmp_path: Path) -> None:
        """A traceback of struct, or gigabytes set aside for a length that is a lie."""
        file = tmp_path / "m.gguf"
        file.write_bytes(content)
        (problem,) = gguf_problems(str(file), "model.path")
        assert told in problem.got

    def test_an_architecture_that_does_not_write_is_told(self, tmp_path: Path) -> None:
        """An encoder that begins at random; an unknown one as a traceback after the import."""
        for name in ("t5", "clip"):
            pair = struct.pack("<Q", 20) + b"general.architecture" + struct.pack("<I", 8)
            text = struct.pack("<Q", len(name)) + name.encode()
            file = tmp_path / "m.gguf"
            file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair + text)
            (problem,) = gguf_problems(str(file), "model.path")
            assert name in problem.got and "llama" in problem.want

    def test_a_package_that_is_not_here_is_told(self) -> None:
        """A file looked for in the working folder."""
        (problem,) = gguf_problems("pip:no_such_package/x.gguf", "model.path")
        assert "pip install" in problem.remedy
        with pytest.raises(UserError, match="there: "):
            local_folder("pip:gguf/none.gguf", None, "model.path")
