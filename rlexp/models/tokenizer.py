"""Tokenizers: padding, end of text, and a chat template where the model brings none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlexp.models.appended_tokens import stop_appending
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.end_tokens import declared_end_tokens
from rlexp.spec.files.model_folder import saved_config
from rlexp.spec.files.positions import position_limit
from rlexp.spec.model import ModelSpec
from rlexp.spec.template_kwargs import unread_kwargs, with_defaults
from rlexp.spec.text import Text, content_of

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


@dataclass(frozen=True)
class ModelTokenizer:
    """A model's tokenizer, with what its folder says of how it reads and writes.

    Attributes:
        tokenizer: of transformers; pads on the left, has a chat template.
        chat: whether plain prompts are framed as a chat.
        has_template: whether the chat template is the model's or the user's, not one that is lent.
        end_token_ids: every token that ends an answer.
        positions: most tokens that the model reads; None without a limit.
        notes: what was done to the tokenizer, in words for the card.
    """

    tokenizer: Any
    chat: bool
    has_template: bool
    end_token_ids: list[int]
    positions: int | None
    notes: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, model: ModelSpec, folder: Path, base: Path | None = None) -> ModelTokenizer:
        """Return that of a model whose files are in a folder; its weights are not looked at.

        Where that is an adapter's, its base's folder says how long texts may be, and how they end.

        Raises:
            UserError: as `load_tokenizer` does.
        """
        notes: list[str] = []
        tokenizer = load_tokenizer(model, folder, notes)
        has_template = model.chat_template is not None or has_own_template(folder)
        ends = dict.fromkeys([tokenizer.eos_token_id, *declared_end_tokens(base or folder)])
        positions = position_limit(saved_config(base or folder))
        chat = frames_as_chat(model, has_template)
        return cls(tokenizer, chat, has_template, list(ends), positions, notes)

    def encode(self, prompts: Sequence[Text]) -> list[list[int]]:
        """Return the token ids of each prompt, as `encode_prompts` does."""
        return encode_prompts(self.tokenizer, prompts)


def answer_ids(tokenizer: Any, answers: Sequence[Text]) -> list[list[int]]:
    """Return the token ids of answers that somebody wrote, an end token behind each, as a training
    on them appends it."""
    texts = [one if isinstance(one, str) else content_of(one[-1]) for one in answers]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return [[*each, tokenizer.eos_token_id] for each in ids]


def encode_prompts(tokenizer: Any, prompts: Sequence[Text]) -> list[list[int]]:
    """Return the token ids of each prompt; conversations go through the chat template."""
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    if len(texts) == len(prompts):
        return tokenizer(texts)["input_ids"] if texts else []
    return [
        tokenizer(prompt)["input_ids"]
        if isinstance(prompt, str)
        else tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"]
        for prompt in prompts
    ]


def load_tokenizer(model: ModelSpec, folder: Path, notes: list[str] | None = None) -> Any:
    """The tokenizer: pads on the left, has an end and a padding token, and a chat template.

    Args:
        model: which tokens and template are asked for.
        folder: of the model.
        notes: where what was changed is added.

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
    if (appended := stop_appending(tokenizer)) and notes is not None:
        notes.append(f"the tokenizer appended {appended} to every text, prompts too: not any more")
    template = _template(model, tokenizer)
    if template is not None:
        tokenizer.chat_template = template
    if model.chat_template_kwargs:
        tokenizer.chat_template = _with_kwargs(tokenizer.get_chat_template(), model)
    _check_markers(tokenizer, model)
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


def _with_kwargs(template: str, model: ModelSpec) -> str:
    if problems := unread_kwargs(template, model.chat_template_kwargs):
        raise UserError(problems)
    return with_defaults(template, model.chat_template_kwargs)


def _check_markers(tokenizer: Any, model: ModelSpec) -> None:
    """Refuse an end of the thinking that no decoded text shows."""
    end = model.thinking.end
    if not model.thinking.in_rewards and end in tokenizer.all_special_tokens:
        want = "a text that stays in what is decoded: special tokens are left out of it"
        remedy = "Set model.thinking.in_rewards=true."
        raise UserError(Problem("model.thinking.end", f"{end}, a special token", want, remedy))


def has_own_template(folder: Path) -> bool:
    """Return whether the tokenizer in a folder brought a chat template of its own."""
    template = folder / "chat_template.jinja"
    if template.is_file():
        return template.read_text(encoding="utf-8") != PLAIN  # lent by an earlier run
    config = folder / "tokenizer_config.json"
    return config.is_file() and '"chat_template"' in config.read_text(encoding="utf-8")
