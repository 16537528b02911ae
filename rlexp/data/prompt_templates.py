"""Rows worded for a model: as texts, or as a chat."""

from __future__ import annotations

from rlexp.data.parsing.conversations import assistant_turn
from rlexp.data.parsing.values import Row
from rlexp.spec.data import DataSource, DataSpec

_ANSWERS = ("completion", "chosen", "rejected")


def frame(rows: list[Row], data: DataSpec, chat: bool) -> list[Row]:
    """Return rows whose plain prompts are worded by `data`'s template; `opening` stays as it is.

    What the system says before a plain prompt becomes a turn of its own, or stands above the text.
    Each row of a mix is worded by its source's template, and all have the same columns.

    Args:
        rows: of any kind, as `load_data` gives them.
        data: its `chat_prompt` and `text_prompt` are the templates.
        chat: whether prompts become the user's turn and answers the assistant's (stripped) or stay
            texts. Rows that are conversations already stay what they are.
    """
    framed = [
        _framed_as_chat(row, source.chat_prompt) if chat else _framed_as_text(row, source)
        for row, source in ((row, data.source_of(row)) for row in rows)
    ]
    if data.source_names and any("opening" in row for row in framed):
        return [{"opening": None, **row} for row in framed]  # None: a prompt that is no cut text
    return framed


def _framed_as_text(row: Row, data: DataSource) -> Row:
    rest = {name: value for name, value in row.items() if name != "system_turn"}
    if not isinstance(row["prompt"], str):
        return rest
    return {**rest, "prompt": text_of_prompt(row, data)}


def _framed_as_chat(row: Row, template: str) -> Row:
    rest = {name: value for name, value in row.items() if name != "system_turn"}
    if not isinstance(row["prompt"], str):
        return rest
    answers = {name: assistant_turn(row[name].strip()) for name in _ANSWERS if name in row}
    prompt = [{"role": "user", "content": fill_template(template, row["prompt"])}]
    if row.get("system_turn"):
        prompt.insert(0, {"role": "system", "content": row["system_turn"]})
    return {**rest, "prompt": prompt, **answers}


def text_of_prompt(row: Row, data: DataSource) -> str:
    """Return a plain prompt as a text model sees it: below what the system says, if it does."""
    prompt = fill_template(data.text_prompt, row["prompt"])
    return f"{row['system_turn']}\n\n{prompt}" if row.get("system_turn") else prompt


def fill_template(template: str, prompt: str) -> str:
    """Return the template with the prompt in it; other braces, in either, are only characters."""
    return template.replace("{prompt}", prompt)
