"""Calls of functions in a turn, in each way they are written: with arguments as an object."""

from __future__ import annotations

import json
from typing import Any

from rlexp.data.parsing.mistakes import RecordError, shown

_OF_FUNCTION = ("name", "arguments", "parameters", "id", "type")


def calls_in_text(content: object, place: str) -> list[Any]:
    """Return the calls that a turn's words are, as they stand there.

    Raises:
        RecordError: they are no JSON.
    """
    calls = _json_value(content) if isinstance(content, str) else content
    calls = [calls] if isinstance(calls, dict) else calls
    if not isinstance(calls, list):
        raise RecordError(f"{place}, a call that is no JSON", 'e.g. {"name": …, "arguments": {…}}')
    return calls


def tool_calls_of(calls: object, role: str, place: str) -> list[dict[str, Any]]:
    """Return calls as chat templates read them: {type, function: {name, arguments}}.

    Args:
        calls: a list of calls, or one in JSON; the name may stand inside of `function` or not.
        role: who makes them.
        place: of the turn, for what is said of a mistake.

    Raises:
        RecordError: naming the call, counted from 1.
    """
    calls = _json_value(calls) if isinstance(calls, str) else calls
    if role != "assistant":
        raise RecordError(f"{place}, the {role}'s, with tool_calls", "them in an assistant's turn")
    if not isinstance(calls, list):
        raise RecordError(f"{place}, whose tool_calls are {shown(calls)}", "a list of calls")
    return [_tool_call(call, f"{place}, whose call {n}") for n, call in enumerate(calls, 1)]


def _tool_call(call: object, place: str) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise RecordError(f"{place} is {shown(call)}", "{function: {name, arguments}}")
    name, arguments = function.get("name"), function.get("arguments", function.get("parameters"))
    if isinstance(arguments, str):
        written, arguments = arguments, _json_value(arguments or "{}")
        arguments = written if arguments is None else arguments
    arguments = {} if arguments is None else arguments
    if not isinstance(name, str) or not isinstance(arguments, dict):
        want = "a name, and arguments that are an object or one in JSON"
        raise RecordError(f"{place} has the name {name!r} and {shown(arguments)}", want)
    outer = {key: value for key, value in call.items() if key != "function" and value is not None}
    if function is call:
        outer = {key: outer[key] for key in ("id", "type") if key in outer}
    unknown = [
        *(key for key in outer if key not in ("id", "type", "index")),
        *(key for key, value in function.items() if value is not None and key not in _OF_FUNCTION),
    ]
    if unknown:
        raise RecordError(f"{place} has the key {', '.join(unknown)}", "id, type and function")
    kept = {"id": outer["id"]} if "id" in outer else {}
    return {
        **kept,
        "type": outer.get("type", "function"),
        "function": {"name": name, "arguments": arguments},
    }


def _json_value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
