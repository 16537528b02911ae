"""Values of one record: read by the rules of the config, or refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from rlexp.data.parsing.mistakes import RecordError, SkipRecord
from rlexp.data.parsing.turns import TurnRules, as_turn_list, messages_of
from rlexp.spec.text import Text

Row = dict[str, Any]

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Rules:
    """How records are read; the fields are those of `rlexp.data.parsing.columns.Table`."""

    prompt_words: tuple[int, int]
    dialogues: bool
    drops_empty: bool
    labels: Mapping[str | int | float, bool]
    turns: TurnRules
    undecided: bool
    """Whether nobody has said what is to become of columns that are no part of a prompt."""
    heldout: bool = False
    """Whether the rows are evaluated on, which a prompt alone will do for."""


def value_of(record: Row, name: str) -> Any:
    """Return the record's value.

    Raises:
        RecordError: there is none.
    """
    if name not in record:
        near = get_close_matches(name, record, n=1)
        remedy = f"Is {near[0]!r} misspelt?" if near else ""
        has = ", ".join(record) or "no columns"
        raise RecordError(f"{has}, without {name!r}", "the columns of the first row", remedy)
    value = record[name]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise RecordError(f"null as {name!r}", "a value", "Fill it in, or remove the row.")
    return value


def text_of(record: Row, name: str, rules: Rules, *, may_be_empty: bool = False) -> Text:
    """Return a text, or messages where the record has turns there.

    Args:
        record: the source's columns.
        name: of the column.
        rules: how to read it.
        may_be_empty: whether white space will do.

    Raises:
        RecordError: it is something else, or empty.
        SkipRecord: it is empty, and such rows are dropped.
    """
    value = value_of(record, name)
    turns = as_turn_list(value)
    if turns is not None:
        text = messages_of(turns, name, rules.turns)
        last = text[-1] if text else {"content": ""}
        empty = not last["content"].strip() and "tool_calls" not in last
    elif isinstance(value, str):
        text, empty = value, not value.strip()
    else:
        want = "a text or a list of messages {role, content}"
        raise RecordError(f"{value!r}, a {type(value).__name__}, as {name!r}", want)
    if not _is_unicode(text):
        raise RecordError(f"half a character (a lone surrogate) as {name!r}", "text in Unicode")
    if empty and not may_be_empty:
        if rules.drops_empty:
            raise SkipRecord("a text is empty")
        raise RecordError(f"an empty {name!r}", "a text", "Fill it in, or remove the row.")
    return text


def _is_unicode(text: object) -> bool:
    """False for texts that no tokenizer takes; JSON can spell them."""
    try:
        json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def optional_text_of(record: Row, name: str | None) -> str:
    """Return the text of a column that a row may be without, stripped; empty where it is."""
    value = record.get(name) if name else None
    if value is None or value != value:  # null, or what pandas makes of it
        return ""
    if not isinstance(value, str) or not _is_unicode(value):
        raise RecordError(f"{value!r}, a {type(value).__name__}, as {name!r}", "a text")
    return value.strip()


def label_of(value: object, rules: Rules) -> bool:
    """Return what a label means.

    Raises:
        RecordError: nobody has said what it means.
    """
    spelled = _spelling(value)
    if not spelled:
        raise RecordError("an empty label", "a value", "Fill it in, or remove the row.")
    meanings = _BOOLEANS | {_spelling(key): meaning for key, meaning in rules.labels.items()}
    meaning = meanings.get(spelled)
    if meaning is None:
        known = ", ".join(meanings)
        remedy = "Say what it means, e.g. 'data.labels={good: true, bad: false}'."
        raise RecordError(f"{value!r} as label", f"one of {known}", remedy)
    return meaning


def _spelling(value: object) -> str:
    """Return a label as the keys of `_BOOLEANS` are spelled: 1.0, "1.0" and 1 are the same."""
    spelled = str(value).strip().lower()
    try:
        number = float(spelled)
    except ValueError:
        return spelled
    return str(int(number)) if number.is_integer() else spelled
