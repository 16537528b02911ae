"""Turns of a conversation, as people write them down, as messages {role, content, …}.

Read are OpenAI's messages, ShareGPT's `from` and `value`, contents in parts, and both spellings of
tool calls. Each key of each turn is kept or refused by name; keys without a value say nothing.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlexp.data.parsing.mistakes import RecordError, SkipRecord, shown
from rlexp.data.parsing.tool_calls import calls_in_text, tool_calls_of
from rlexp.spec.text import Message

ROLES = {
    "system": ("system", "developer"),
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "chatgpt", "bot", "model", "function_call", "tool_call"),
    "tool": ("tool", "observation", "function", "function_response", "tool_response", "ipython"),
}
"""What a chat template calls a speaker -> what data sets call it, in any case of letters."""

_KNOWN_ROLES = {spelling: role for role, spellings in ROLES.items() for spelling in spellings}
_CALLS = ("function_call", "tool_call")
"""Speakers whose words are a call of a function, in JSON."""
_SPEAKER, _WORDS = ("role", "from"), ("content", "value")
_CONVERSATIONS = ("messages", "conversations")
_KEPT = ("name", "tool_call_id", "reasoning_content", "reasoning", "thinking")
_FLAGS = ("train", "weight")
"""Whether an answer is learnt from: axolotl's key, and OpenAI's."""
_FLAG_VALUES: Mapping[float, bool] = {1: True, 0: False}
_TEXT_PARTS = ("text", "input_text", "output_text")
_WANT_TURNS = "a text or a list of messages {role, content}"


@dataclass(frozen=True)
class TurnRules:
    """How turns are read; the fields are those of `rlexp.data.parsing.columns.Table`."""

    roles: Mapping[str, str]
    ignored_keys: Sequence[str]


def as_turn_list(value: object) -> list[Any] | None:
    """Return the turns that a value holds, as they stand there; None where it holds none.

    A single turn is a list of one, `{"messages": […]}` the list, and a text that is such a list or
    object, in JSON or as Python prints it, what it says: a csv has nothing else.
    """
    if isinstance(value, str):
        value = _parsed(value)
    if is_turn(value):
        return [value]
    if isinstance(value, dict):
        return _conversation_in(value)
    return value if isinstance(value, list) else None


def _conversation_in(value: dict[str, Any]) -> list[Any] | None:
    names = [name for name in _CONVERSATIONS if isinstance(value.get(name), list)]
    if not names:
        return None
    if others := [name for name, beside in value.items() if beside and name != names[0]]:
        got = f"{', '.join(others)} beside {names[0]}, inside of one column"
        raise RecordError(got, f"{names[0]} alone", "Make them columns of their own.")
    return value[names[0]]


def _parsed(text: str) -> object:
    stripped = text.strip()
    if not (stripped.startswith(("[{", "{")) and stripped.endswith(("}]", "}"))):
        return None
    value = _literal(stripped)
    whole = [value] if isinstance(value, dict) else value
    if not isinstance(whole, list) or not all(isinstance(turn, dict) for turn in whole):
        return None
    spoken = all(is_turn(turn) or "messages" in turn for turn in whole)
    return value if whole and spoken else None


def _literal(text: str) -> object:
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def is_turn(value: object) -> bool:
    """Return whether it is an object with somebody who speaks, and what is said or called."""
    if not isinstance(value, dict):
        return False
    said = (*_WORDS, "tool_calls", "function_call")
    return any(key in value for key in _SPEAKER) and any(key in value for key in said)


def ends_with_answer(value: object) -> bool:
    """Return whether the assistant has the last word; also of what `messages_of` would refuse."""
    turns = as_turn_list(value)
    last = turns[-1] if turns else None
    spoken = last.get("role", last.get("from")) if isinstance(last, dict) else None
    return _KNOWN_ROLES.get(str(spoken).strip().lower()) not in ("user", "system", "tool")


def messages_of(value: Sequence[object], name: str, rules: TurnRules) -> list[Message]:
    """Return the turns as messages: `content` is a text, arguments of tool calls are objects.

    Args:
        value: turns, as the column holds them.
        name: of the column, for what is said of a mistake.
        rules: how to read them.

    Raises:
        RecordError: naming the turn, counted from 1, and its key.
        SkipRecord: the last answer is marked as not to be learnt from.
    """
    if value and all(isinstance(turn, str) for turn in value):
        got = f"a list of {len(value)} texts as {name!r}"
        remedy = "Who says which? A better and a worse answer are the columns chosen and rejected."
        raise RecordError(got, _WANT_TURNS, remedy)
    turns = [_message(turn, f"turn {n} of {name!r}", rules) for n, turn in enumerate(value, 1)]
    flags = [_flag(turn, f"turn {n} of {name!r}") for n, turn in enumerate(value, 1)]
    if turns and turns[-1]["role"] == "assistant" and flags[-1] is False:
        raise SkipRecord("the last answer is marked as not to be trained on")
    for number, (turn, flag) in enumerate(zip(turns[:-1], flags, strict=False), 1):
        if flag and turn["role"] == "assistant":
            raise RecordError(
                f"turn {number} of {name!r}, an earlier answer that is marked to be trained on",
                "such a mark on the last answer alone: it is what is learnt from",
                "Remove the mark, or repeat the dialogue up to that answer as a row of its own.",
            )
    return turns


def _message(turn: object, place: str, rules: TurnRules) -> Message:
    if not isinstance(turn, dict):
        raise RecordError(f"{place}, which is {shown(turn)}", _WANT_TURNS)
    given = {
        key: value
        for key, value in turn.items()
        if value is not None and value != [] and value != {} and key not in rules.ignored_keys
    }
    speaker, words = _only(given, _SPEAKER, place), _only(given, _WORDS, place)
    spoken = given.pop(speaker) if speaker else None
    role = _role(spoken, place, rules)
    content = given.pop(words) if words else None
    calls = given.pop("tool_calls", None)
    if "function_call" in given:
        calls = [*(calls or []), given.pop("function_call")]
    if str(spoken).lower() in _CALLS:
        content, calls = None, calls_in_text(content, place)
    message: Message = {"role": role, "content": _content(content, bool(calls), place, rules)}
    if calls:
        message["tool_calls"] = tool_calls_of(calls, role, place)
    for key in _KEPT:
        if key in given:
            message[key] = given.pop(key)
    if unknown := [key for key in given if key not in _FLAGS]:
        keys = ", ".join(unknown)
        raise RecordError(
            f"{place}, with the key{'s'[: len(unknown) > 1]} {keys}, which no template reads",
            f"the keys {', '.join(('role', 'content', 'tool_calls', *_KEPT, *_FLAGS))}",
            f"data.ignored_keys=[{','.join(unknown)}] leaves {keys} out.",
        )
    return message


def _only(turn: dict[str, Any], keys: Sequence[str], place: str) -> str | None:
    present = [key for key in keys if key in turn]
    if len(present) > 1:
        got = f"{place}, with {' and '.join(present)}"
        raise RecordError(got, "one of them", f"data.ignored_keys=[{present[1]}] leaves it out.")
    return present[0] if present else None


def _role(spoken: object, place: str, rules: TurnRules) -> str:
    if not isinstance(spoken, str):
        raise RecordError(f"{place}, without a role", "a role (or from), and content (or value)")
    meant = rules.roles.get(spoken)
    role = _KNOWN_ROLES.get((meant or spoken).strip().lower(), meant)
    if role is None:
        raise RecordError(
            f"{place}, of the unknown role {spoken!r}",
            f"one of {', '.join(_KNOWN_ROLES)}",
            f"Say who speaks, e.g. 'data.roles={{{spoken}: user}}'.",
        )
    return role


def _content(content: object, calls: bool, place: str, rules: TurnRules) -> str:
    if content is None and calls:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, dict) and "type" in content:
        content = [content]
    if isinstance(content, list) and content:
        return "".join(_part(part, place, rules) for part in content)
    if content is None or content == []:
        remedy = "Fill it in, or remove the turn; only a turn with tool_calls may be without."
        raise RecordError(f"{place}, whose content is null", "a text", remedy)
    got, remedy = f"{place}, whose content is {shown(content)}", "Objects can be written as JSON."
    raise RecordError(got, "a text, or parts of text", remedy)


def _part(part: object, place: str, rules: TurnRules) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise RecordError(f"{place}, with the part {shown(part)}", "parts {type: text, text: …}")
    kind, text = part.get("type", "text"), part.get("text")
    if kind not in _TEXT_PARTS or not isinstance(text, str):
        got = f"{place}, with a part of type {kind!r}"
        remedy = "Text alone can be trained on, no pictures, sounds or films: remove part or row."
        raise RecordError(got, "parts {type: text, text: …}", remedy)
    known = ("type", "text", *rules.ignored_keys)
    if more := [key for key, value in part.items() if key not in known and value is not None]:
        got = f"{place}, with a part that has the key {', '.join(more)}"
        remedy = f"data.ignored_keys=[{','.join(more)}] leaves it out."
        raise RecordError(got, "parts {type: text, text: …}", remedy)
    return text


def _flag(turn: object, place: str) -> bool | None:
    values = [turn[key] for key in _FLAGS if isinstance(turn, dict) and turn.get(key) is not None]
    flags = {
        _FLAG_VALUES.get(value) if isinstance(value, int | float) else None for value in values
    }
    if None in flags or len(flags) > 1:
        got = f"{place}, with train or weight {', '.join(map(shown, values))}"
        raise RecordError(got, "true, false, 1 or 0", "data.ignored_keys=[train,weight] leaves it.")
    return flags.pop() if flags else None
