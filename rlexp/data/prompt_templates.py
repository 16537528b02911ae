"""Rows worded for a model: as texts, or as a chat."""

from __future__ import annotations

from rlexp.data.parsing.conversations import assistant_turn
from rlexp.data.parsing.records import Row
from rlexp.spec.data import DataSpec

_ANSWERS = ("completion", "chosen", "rejected")


def frame(rows: list[Row], data: DataSpec, chat: bool) -> list[Row]:
    """Return rows whose plain prompts are worded by `data`'s template; `opening` stays as it is.

    Args:
        rows: of any kind, as `load_data` gives them.
        data: its `chat_prompt` and `text_prompt` are the templates.
        chat: whether prompts become the user's turn and answers the assistant's (stripped) or stay
            texts. Rows that are conversations already stay what they are.
    """
    if chat:
        return [_framed_as_chat(row, data.chat_prompt) for row in rows]
    return [_framed_as_text(row, data.text_prompt) for row in rows]


def _framed_as_text(row: Row, template: str) -> Row:
    if not isinstance(row["prompt"], str):
        return row
    return {**row, "prompt": fill_template(template, row["prompt"])}


def _framed_as_chat(row: Row, template: str) -> Row:
    if not isinstance(row["prompt"], str):
        return row
    answers = {name: assistant_turn(row[name].strip()) for name in _ANSWERS if name in row}
    prompt = [{"role": "user", "content": fill_template(template, row["prompt"])}]
    return {**row, "prompt": prompt, **answers}


def fill_template(template: str, prompt: str) -> str:
    """Return the template with the prompt in it; other braces, in either, are only characters."""
    return template.replace("{prompt}", prompt)
