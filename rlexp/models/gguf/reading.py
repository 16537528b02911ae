"""A GGUF file as an ordinary transformers folder: dequantised once, then in the cache.

transformers dequantises the weights (`from_pretrained(gguf_file=…)`), but refuses to save a model
that it read so. A new one of the same config takes its weights and is saved instead.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from rlexp.models.gguf.tokens import split_like_the_file
from rlexp.runtime.cache import cache_folder, make_once
from rlexp.runtime.waiting import announced_wait, print_line
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.gguf import GgufHeader, gguf_problems

MB = 10**6


def dequantised_folder(file: Path, key: str) -> Path:
    """Return the folder in the cache with a GGUF file's weights in float32, and its tokenizer.

    It is found by the file's content, and made where it is not there, which a line tells with what
    it cost.

    Args:
        file: a GGUF file that is here.
        key: of the config, that names it.

    Raises:
        UserError: a file that transformers cannot read.
    """
    if problems := gguf_problems(str(file), key):
        raise UserError(problems)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()[:16]
    target = cache_folder() / "gguf" / f"{file.stem}-{digest}"
    with announced_wait(f"{file.name}, which is dequantised"):
        return make_once(target, lambda draft: _dequantise(file, draft, target, key))


def read_gguf(file: Path, key: str) -> tuple[Any, Any]:
    """Return the model in a GGUF file, in float32, and its tokenizer; both can be saved.

    Args:
        file: `gguf_problems` has nothing against it.
        key: of the config, that names it.

    Raises:
        UserError: a file that transformers fails at, or weights that are not whole.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    values = GgufHeader.read(file).values
    # What transformers has against a file it says by one of three kinds of error.
    where = {"gguf_file": file.name}
    try:
        config = AutoConfig.from_pretrained(file.parent, **where)
        _take_head_dim(config, values)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
        loader: Any = AutoModelForCausalLM  # of whose types a loading report is no part
        read, report = loader.from_pretrained(
            file.parent,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are told with the rest
            **where,
        )
    except (
        ValueError,
        KeyError,
        NotImplementedError,
    ) as error:
        got, want = f"{file}, at which transformers fails: {error}", "a GGUF file that it reads"
        remedy = f"Give the folder of its safetensors instead: {key}=FOLDER"
        raise UserError(Problem(key, got, want, remedy)) from error
    _check_whole(file, key, report)
    pre = str(values.get("tokenizer.ggml.pre", ""))
    if not split_like_the_file(tokenizer, pre):
        print_line(f"{file.name} splits texts as {pre} does, which is not known here: as gpt-2")
    plain = _plain_copy(read)
    plain.generation_config.eos_token_id = tokenizer.eos_token_id
    return plain, tokenizer


def _take_head_dim(config: Any, values: dict[str, Any]) -> None:
    """Put right what transformers leaves at a class's default: the width of an attention head."""
    stated = values.get(f"{values.get('general.architecture')}.attention.key_length")
    if stated is not None and getattr(config, "head_dim", stated) != stated:
        config.head_dim = stated


def _dequantise(file: Path, draft: Path, target: Path, key: str) -> None:
    began = time.monotonic()
    model, tokenizer = read_gguf(file, key)
    model.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    size = sum(one.stat().st_size for one in draft.iterdir())
    seconds = time.monotonic() - began
    cost = f"{file.stat().st_size / MB:.0f} MB became {size / MB:.0f} MB in {seconds:.0f} s, once"
    print_line(f"dequantised {file.name} to float32: {cost}; {target}")


def _check_whole(file: Path, key: str, report: dict[str, Any]) -> None:
    missing = sorted(report["missing_keys"])
    wrong = sorted(name for name, *_ in report["mismatched_keys"])
    if missing or wrong:
        what = [f"without {len(missing)} tensors, such as {missing[0]}"] if missing else []
        what += [f"with {len(wrong)} of another shape, such as {wrong[0]}"] if wrong else []
        want = "all weights of its architecture: others would begin at random"
        remedy = "Download or copy it again."
        raise UserError(Problem(key, f"{file}, {' and '.join(what)}", want, remedy))


def _plain_copy(read: Any) -> Any:
    """Return a model of the same config and weights that knows of no quantisation."""
    config = type(read.config).from_dict(read.config.to_dict())
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.architectures = [type(read).__name__]
    plain = type(read)(config)
    plain.load_state_dict(read.state_dict())
    plain.tie_weights()
    plain.generation_config = read.generation_config
    return plain
