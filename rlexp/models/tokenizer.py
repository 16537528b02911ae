"""Tokenizers: padding, end of text, and a chat template where the model brings none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.model import ModelSpec

PLAIN = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""For base models: words that any tokenizer knows, so that no embedding is new."""

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""OpenAI's ChatML; its markers must be tokens of the vocabulary to mean anything."""


def load_tokenizer(model: ModelSpec, folder: Path) -> Any:
    """The tokenizer: pads on the left, has an end and a padding token, and a chat template.

    Raises:
        UserError: a named token or template that the tokenizer cannot take.
    """
    from transformers import AutoTokenizer

    source = model.tokenizer or str(folder)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=model.trust_remote_code)
    tokenizer.padding_side = "left"
    if model.eos_token is not None:
        tokenizer.eos_token = _known_token(tokenizer, model.eos_token, "model.eos_token")
    if tokenizer.eos_token is None:
        remedy = "Set model.eos_token to one of its tokens."
        raise UserError(Problem("model.eos_token", "a tokenizer without one", "one", remedy))
    if model.pad_token is not None:
        tokenizer.pad_token = _known_token(tokenizer, model.pad_token, "model.pad_token")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    template = _template(model, tokenizer)
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def frames_as_chat(model: ModelSpec, tokenizer_had_template: bool) -> bool:
    """Whether plain prompts become a user's turn."""
    return tokenizer_had_template if model.chat is None else model.chat


def _known_token(tokenizer: Any, token: str, key: str) -> str:
    if token not in tokenizer.get_vocab():
        want = "a token of its vocabulary: a new one would have no trained embedding"
        raise UserError(Problem(key, repr(token), want))
    return token


def _template(model: ModelSpec, tokenizer: Any) -> str | None:
    if model.chat_template == "chatml":
        _known_token(tokenizer, "<|im_start|>", "model.chat_template (chatml)")
        return CHATML
    if model.chat_template == "plain":
        return PLAIN
    if model.chat_template is not None:
        return Path(model.chat_template).expanduser().read_text(encoding="utf-8")
    return None if tokenizer.chat_template else PLAIN
