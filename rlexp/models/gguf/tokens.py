"""Byte-level tokenizers in GGUF: pieces, their kinds, and by what name texts are split.

A GGUF file names the rule that cuts a text before pieces are merged (`tokenizer.ggml.pre`); whoever
reads it must know the name. transformers knows most of llama.cpp's by their regular expressions;
two more stand here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rlexp.spec.errors import Problem, UserError

if TYPE_CHECKING:
    from gguf import GGUFWriter

GPT2 = "gpt-2"
DIGITS_APART = "smollm"
"""Each digit a piece of its own, then as GPT-2 does."""
AS_IS = ("", "default", GPT2)
"""Names for GPT-2's own rule, which transformers takes where it knows of none."""
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Kinds of tokens, as llama.cpp numbers them."""


def split_like_the_file(tokenizer: Any, pre: str) -> bool:
    """Let a tokenizer that was read from GGUF split texts as `tokenizer.ggml.pre` says.

    Returns:
        Whether the rule of that name is known; otherwise the tokenizer stays as it is.
    """
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    if pre == DIGITS_APART:
        byte_level = ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
        rule = Sequence([Digits(individual_digits=True), byte_level])
        tokenizer.backend_tokenizer.pre_tokenizer = rule
        return True
    return pre in AS_IS or pre in GGUF_PRE_TOKENIZER_SPLITS


def write_tokenizer(writer: GGUFWriter, tokenizer: Any, rows: int, end_ids: list[int]) -> None:
    """Add a tokenizer to a GGUF file.

    Args:
        writer: of the `gguf` package.
        tokenizer: of transformers.
        rows: of the embedding; those beyond the tokenizer's pieces are no tokens.
        end_ids: tokens that end an answer, the end token first.

    Raises:
        UserError: a tokenizer whose way of splitting texts has no name in GGUF.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    pre = _name_of_split(content)
    added = {one["id"]: one["special"] for one in content["added_tokens"]}
    pieces = {index: piece for piece, index in tokenizer.get_vocab().items()}
    tokens = [pieces.get(index, f"[PAD{index}]") for index in range(rows)]
    kinds = [NORMAL if index in pieces else UNUSED for index in range(rows)]
    for index, special in added.items():
        kinds[index] = CONTROL if special else USER_DEFINED
    merges = [one if isinstance(one, str) else " ".join(one) for one in content["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    ids = {
        "bos": tokenizer.bos_token_id,
        "eos": end_ids[0],
        "eot": next(iter(end_ids[1:]), None),
        "unk": tokenizer.unk_token_id,
        "pad": tokenizer.pad_token_id,
    }
    for name, index in ids.items():
        if index is not None:
            getattr(writer, f"add_{name}_token_id")(index)
    begins = tokenizer("a")["input_ids"][:1]
    writer.add_add_bos_token(begins == [tokenizer.bos_token_id])
    writer.add_add_space_prefix(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _name_of_split(content: dict[str, Any]) -> str:
    """Return the name of the rule by which a tokenizer.json splits texts."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    rule = content["pre_tokenizer"] or {}
    parts = rule.get("pretokenizers", [rule])
    kinds = [part.get("type") for part in parts]
    plain = content["model"]["type"] == "BPE" and not content["model"].get("byte_fallback")
    if plain and kinds == ["ByteLevel"] and rule["use_regex"]:
        return GPT2
    if plain and kinds == ["Digits", "ByteLevel"] and parts[0]["individual_digits"]:
        return DIGITS_APART
    if plain and kinds == ["Split", "ByteLevel"]:
        pattern = parts[0]["pattern"].get("Regex")
        for name in ("llama-bpe", "qwen2", *GGUF_PRE_TOKENIZER_SPLITS):
            if GGUF_PRE_TOKENIZER_SPLITS[name] == pattern:
                return name
    got = f"a tokenizer of the kind {content['model']['type']}, split by {kinds}"
    want = "a byte-level BPE that splits texts by a rule known in GGUF, as Llama 3 and Qwen do"
    raise UserError(Problem("--gguf", got, want))
