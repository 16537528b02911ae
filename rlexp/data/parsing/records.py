"""One record of a source as one row in canonical columns."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from rlexp.data.parsing import conversations, truncation
from rlexp.spec.reward import Message, Text

Row = dict[str, Any]

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class RecordError(Exception):
    """A record with a mistake that its owner can put right."""

    def __init__(self, got: str, want: str, remedy: str = "") -> None:
        super().__init__(got)
        self.got, self.want, self.remedy = got, want, remedy


class SkipRecord(Exception):
    """A record that is no mistake but says nothing; the message is the reason."""


@dataclass(frozen=True)
class Rules:
    """How records are read; the fields are those of `rlexp.data.parsing.columns.Table`."""

    prompt_words: tuple[int, int]
    dialogues: bool
    drops_empty: bool
    labels: dict[str | int, bool]


def to_row(record: Row, names: dict[str, str], extra: dict[str, bool], rules: Rules) -> Row:
    """Return the row that a record makes.

    Args:
        record: the source's columns.
        names: canonical column -> the source's name.
        extra: further columns to keep -> whether the record must have a value there.
        rules: how to read it.

    Raises:
        RecordError: a value is missing, empty, or of a wrong type.
        SkipRecord: the record is well formed but useless.
    """
    texts = {
        column: _text(_value(record, name), name, rules)
        for column, name in names.items()
        if column != "label"
    }
    row: Row
    if "text" in texts:
        row = _split_text(texts["text"], names["text"], rules)
    elif "chosen" in texts:
        row = _pair(texts, names, rules)
    else:
        row = dict(zip(texts, conversations.align_formats(*texts.values()), strict=True))
    if isinstance(row["prompt"], list) and row["prompt"][-1]["role"] == "assistant":
        raise RecordError(
            "a prompt whose last turn is the assistant's", "one that waits for an answer"
        )
    if "label" in names:
        row["label"] = _label(_value(record, names["label"]), rules)
    for name, needed in extra.items():
        row[name] = _value(record, name) if needed else record.get(name)
    return row


def _value(record: Row, name: str) -> Any:
    if name not in record:
        near = get_close_matches(name, record, n=1)
        remedy = f"Is {near[0]!r} misspelt?" if near else ""
        has = ", ".join(record) or "no columns"
        raise RecordError(f"{has}, without {name!r}", "the columns of the first row", remedy)
    if record[name] is None:
        raise RecordError(f"null as {name!r}", "a value", "Fill it in, or remove the row.")
    return record[name]


def _text(value: object, name: str, rules: Rules) -> Text:
    want = "a text or a list of messages {role, content}"
    if isinstance(value, list):
        if not all(_is_message(turn) for turn in value):
            raise RecordError(f"a list that is no list of messages as {name!r}", want)
        text = [{"role": turn["role"], "content": turn["content"]} for turn in value]
        empty = not text or not text[-1]["content"].strip()
    elif isinstance(value, str):
        text, empty = value, not value.strip()
    else:
        raise RecordError(f"{value!r}, a {type(value).__name__}, as {name!r}", want)
    if not _is_unicode(text):
        raise RecordError(f"half a character (a lone surrogate) as {name!r}", "text in Unicode")
    if empty and rules.drops_empty:
        raise SkipRecord("a text is empty")
    if empty:
        raise RecordError(f"an empty {name!r}", "a text", "Fill it in, or remove the row.")
    return text


def _is_message(turn: object) -> bool:
    return isinstance(turn, dict) and all(
        isinstance(turn.get(part), str) for part in ("role", "content")
    )


def _is_unicode(text: Text) -> bool:
    """False for texts that no tokenizer takes; JSON can spell them."""
    parts = [text] if isinstance(text, str) else [turn["content"] for turn in text]
    try:
        "".join(parts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _split_text(text: Text, name: str, rules: Rules) -> Row:
    if not isinstance(text, str):
        raise RecordError(
            f"messages as {name!r}", "a text", "Messages go into prompt and completion."
        )
    parts = truncation.split_prefix(text.strip(), rules.prompt_words)
    if parts is None:
        raise SkipRecord(f"a text is no longer than an opening of {rules.prompt_words[0]} words")
    opening, rest = parts
    return {"prompt": opening, "opening": opening, "completion": rest}


def _pair(texts: dict[str, Text], names: dict[str, str], rules: Rules) -> Row:
    chosen, rejected = texts["chosen"], texts["rejected"]
    if rules.dialogues:
        chosen, rejected = (_dialogue(texts[c], names[c]) for c in ("chosen", "rejected"))
    if "prompt" in texts:
        prompt, chosen, rejected = conversations.align_formats(texts["prompt"], chosen, rejected)
    elif isinstance(chosen, str) or isinstance(rejected, str):
        raise RecordError(
            "answers without a prompt",
            "a prompt column, or whole dialogues as answers",
            "Set data.columns.prompt=NAME, or data.dialogues=true if turns begin with 'Human:'.",
        )
    else:
        prompt = conversations.shared_prompt(chosen, rejected)
        if prompt is None:
            raise SkipRecord("the two dialogues do not answer the same prompt")
        chosen, rejected = chosen[-1:], rejected[-1:]
        if not all(answer[0]["content"] for answer in (chosen, rejected)):
            raise SkipRecord("an answer is empty")
    if chosen == rejected:
        raise SkipRecord("the two answers are equal")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _dialogue(text: Text, name: str) -> list[Message]:
    if not isinstance(text, str):
        return text
    try:
        return conversations.parse_dialogue(text)
    except ValueError as error:
        want = "a dialogue that begins with 'Human:'"
        remedy = "Set data.dialogues=false if the answers stand alone."
        raise RecordError(f"{text[:40]!r} as {name!r}", want, remedy) from error


def _label(value: object, rules: Rules) -> bool:
    spelled = str(value).strip()
    meanings = _BOOLEANS | {str(key): meaning for key, meaning in rules.labels.items()}
    meaning = meanings.get(spelled, meanings.get(spelled.lower()))
    if meaning is None:
        known = ", ".join(meanings)
        remedy = "Say what it means, e.g. 'data.labels={good: true, bad: false}'."
        raise RecordError(f"{value!r} as label", f"one of {known}", remedy)
    return meaning
