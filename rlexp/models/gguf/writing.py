"""A transformers folder as a GGUF file, for llama.cpp and what is built on it.

Names, keys and the order of rotary dimensions are llama.cpp's (its `convert_hf_to_gguf.py` is the
specification). What was written is read back by transformers before the file gets its name: an
export that is not the model does not come to be.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.models.gguf.reading import read_gguf
from rlexp.models.gguf.tokens import write_tokenizer
from rlexp.spec.errors import Problem, RunFailed
from rlexp.spec.files.end_tokens import declared_end_tokens
from rlexp.spec.files.model_folder import saved_config

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""llama.cpp's names of the model types that are written."""
PRECISIONS = {
    "f32": 0.0,
    "f16": 2**-11,
    "bf16": 2**-8,
    "q8_0": 1 / 127,
    "q5_1": 1 / 31,
    "q5_0": 1 / 16,
    "q4_1": 1 / 15,
    "q4_0": 1 / 8,
}
"""Precisions that can be written, each with the largest error of a weight that it makes: a share of
the largest weight of its block (of the weights' range for `_1`), hence of its tensor's."""
COARSE = ("q5_1", "q5_0", "q4_1", "q4_0")
"""Precisions in which the embedding stays q8_0, as llama.cpp keeps it finer."""
BLOCK = 32
"""Weights that share a scale. Rows of another multiple cannot be quantised, and stay f16."""


@dataclass(frozen=True)
class WrittenGguf:
    """What was written.

    Attributes:
        size: of the file, in bytes.
        largest_error: of a weight that was read back, as a share of its tensor's largest.
        unquantised: tensors whose rows could not be cut into blocks.
    """

    size: int
    largest_error: float
    unquantised: list[str]


def gguf_mistakes(folder: Path, precision: str, key: str) -> list[Problem]:
    """Return what keeps the model in a folder of whole weights from being written as GGUF."""
    problems: list[Problem] = []
    if precision not in PRECISIONS:
        problems.append(Problem(key, precision, f"one of {', '.join(PRECISIONS)}"))
    config = saved_config(folder)
    family = config.get("model_type")
    if family not in ARCHITECTURES:
        want = f"one of {', '.join(ARCHITECTURES)}: these are written"
        remedy = "llama.cpp's convert_hf_to_gguf.py writes others."
        problems.append(Problem(key, f"{folder}, a model of type {family}", want, remedy))
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        want = "positions without scaling, which transformers could read back"
        remedy = "llama.cpp's convert_hf_to_gguf.py writes others."
        problems.append(Problem(key, f"{folder}, of rope_type {kind}", want, remedy))
    return problems


def write_gguf(
    folder: Path, file: Path, precision: str, name: str, license: str | None
) -> WrittenGguf:
    """Write the model in a folder of whole weights, with its tokenizer and chat template.

    Args:
        folder: that save_pretrained wrote; `gguf_mistakes` has nothing against it.
        file: is written once it is whole; one that is there is replaced.
        precision: of the weights: of `PRECISIONS`; vectors stay f32.
        name: of the model, for the file's header.
        license: as the hub spells it; None: unknown.

    Raises:
        UserError: a tokenizer that has no name in GGUF.
        RunFailed: what was read back is not what was written.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory(prefix=".gguf-", dir=file.parent) as place:
        draft = Path(place, file.name)
        unquantised = _write(model, tokenizer, folder, draft, precision, name, license)
        error = _largest_error(model, draft, precision)
        draft.replace(file)
    return WrittenGguf(file.stat().st_size, error, unquantised)


def _write(
    model: Any,
    tokenizer: Any,
    folder: Path,
    draft: Path,
    precision: str,
    name: str,
    license: str | None,
) -> list[str]:
    """Write a file; return the names of tensors that could not be quantised."""
    from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFWriter, LlamaFileType

    config = model.config
    writer = GGUFWriter(draft, ARCHITECTURES[config.model_type])
    writer.add_type("model")
    writer.add_name(name)
    if license:
        writer.add_license(license)
    _write_shape(writer, config)
    whole = "ALL" if precision == "f32" else "MOSTLY"
    writer.add_file_type(LlamaFileType[f"{whole}_{precision.upper()}"])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    ends = list(dict.fromkeys([tokenizer.eos_token_id, *declared_end_tokens(folder)]))
    write_tokenizer(writer, tokenizer, model.get_input_embeddings().num_embeddings, ends)
    unquantised: list[str] = []
    for tensor, values in _tensors(model):
        kind = _kind_of(tensor, values, precision)
        if values.ndim > 1 and kind == "f16" != precision:
            unquantised.append(tensor)
        _add_tensor(writer, tensor, values, GGMLQuantizationType[kind.upper()])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unquantised


def _write_shape(writer: GGUFWriter, config: Any) -> None:
    heads, width = config.num_attention_heads, config.hidden_size
    head_dim = getattr(config, "head_dim", None) or width // heads
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(width)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _tensors(model: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the weights by llama.cpp's names; a head that is the embedding is left out."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    config = model.config
    architecture = ARCHITECTURES[config.model_type]
    (number,) = (one for one, name in MODEL_ARCH_NAMES.items() if name == architecture)
    names = get_tensor_name_map(number, config.num_hidden_layers)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        if tied and name.startswith("lm_head."):
            continue
        renamed = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert renamed is not None, name  # of dense decoders llama.cpp has a name for each
        values = weight.float().numpy()
        projection = name.split(".")[-2]
        if architecture == "llama" and projection in heads:
            values = _neighbours(values, heads[projection])
        yield renamed, values


def _neighbours(values: np.ndarray, heads: int) -> np.ndarray:
    """Return rows of queries or keys so that the two dimensions that turn together are neighbours.

    transformers keeps a head's halves apart: dimension i turns with i + d/2.
    """
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def _kind_of(tensor: str, values: np.ndarray, precision: str) -> str:
    if values.ndim == 1:
        return "f32"
    if tensor.startswith(("token_embd.", "output.")) and precision in COARSE:
        precision = "q8_0"
    return "f16" if precision.startswith("q") and values.shape[-1] % BLOCK else precision


def _add_tensor(writer: GGUFWriter, tensor: str, values: np.ndarray, kind: Any) -> None:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    native = kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16)
    writer.add_tensor(tensor, quantize(values, kind), raw_dtype=None if native else kind)


def _largest_error(model: Any, draft: Path, precision: str) -> float:
    """Return the largest error of a weight, as a share of its tensor's largest weight.

    Raises:
        RunFailed: it is larger than the precision makes it.
    """
    written, _ = read_gguf(draft, "--gguf")
    again, largest = written.state_dict(), 0.0
    for name, weight in model.state_dict().items():
        scale = weight.abs().max().item()
        error = (weight.float() - again[name]).abs().max().item()
        largest = max(largest, error / scale if scale else error)
    coarsest = max(PRECISIONS[precision], PRECISIONS["f16"] if precision != "f32" else 0.0)
    # A scale is itself kept in float16.
    if not largest <= coarsest * 1.01:
        raise RunFailed(
            f"a weight read back from {draft.name} is off by {largest:.2%} of its tensor's largest",
            f"weights that {precision} cannot hold; the file is gone again",
            "Take a finer precision: --gguf f32 FILE",
        )
    return largest
