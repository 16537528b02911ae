"""Pydantic's errors in rlexp's words: full key, what it got, what it wants, the nearest name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

from rlexp.spec.errors import Problem
from rlexp.spec.keys import RENAMED

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")


def validate(
    kind: type[T], value: object, key: str, known: Iterable[str], problems: list[Problem]
) -> T | None:
    """Return `value` as an instance of `kind`; None after adding its mistakes to `problems`.

    Args:
        kind: a `Part` or a union of them.
        value: plain config data.
        key: full path of the value in the config.
        known: full paths of all keys, for the nearest right name.
        problems: where mistakes are added.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        names = list(known)
        problems += [_problem(key, detail, names) for detail in error.errors()]
        return None


def _problem(prefix: str, detail: ErrorDetails, known: list[str]) -> Problem:
    location = [str(step) for step in detail["loc"]]
    if prefix == "peft" and location and location[0] in ("none", "lora", "dora", "auto", "qlora"):
        location = location[1:]  # the union's tag, which is no key of the config
    key = ".".join([prefix, *location] if prefix else location)
    if detail["type"] == "extra_forbidden":
        return unknown_key(key, known)
    if detail["type"] == "missing":
        return Problem(key, "nothing", "a value", f"Set {key}=….")
    value, remedy = detail.get("input"), ""
    if detail["type"] == "string_type" and isinstance(value, int | float):
        remedy = (
            f"A text that looks like a number or a word of yaml goes in quotes: '{key}=\"{value}\"'"
        )
    return Problem(key, repr(value), _wants(detail), remedy)


def unknown_key(key: str, known: Iterable[str]) -> Problem:
    """Return the problem of a key that no part has, with the nearest right one."""
    if key.partition(".")[0] == "experiment":  # what a file of the group becomes without that line
        remedy = (
            "Begin the experiment's file with the line `# @package _global_`; on the command line "
            "type the key itself, without `experiment.`."
        )
        return Problem(key, "an unknown key", "keys of the run's config", remedy)
    if key.partition(".")[0] == "stage":
        remedy = (
            "Name the pipeline whose stage it is: pipeline=rlhf, or type the key without stage."
        )
        return Problem(key, "a stage without a pipeline", "keys of the run's config", remedy)
    near = RENAMED.get(key) or nearest(key, known)
    remedy = f"Did you mean {near}?" if near else "`--cfg job` shows all keys."
    return Problem(key, "an unknown key", "a key of the config", remedy)


def unknown_choice(group: str, choice: str, options: list[str]) -> Problem:
    """Return the problem of a choice that a config group does not have, with the nearest one."""
    near = get_close_matches(choice, options, n=1)
    remedy = f"Did you mean {group}={near[0]}?" if near else ""
    if choice == "null":
        none = f"type {group}=none" if "none" in options else "name one"
        remedy = f"Leave {group}=null away, or {none}."
    return Problem(group, choice, f"one of {', '.join(options)}", remedy)


def nearest(key: str, known: Iterable[str]) -> str | None:
    """Return the known key that was meant: the same name elsewhere, or one spelled alike."""
    names = [name for name in known if name != key and not name.endswith("_target_")]
    leaf = key.rpartition(".")[2]
    parent = key.rpartition(".")[0]
    siblings = {
        name.rpartition(".")[2]: name for name in names if name.rpartition(".")[0] == parent
    }
    if close := get_close_matches(leaf, siblings, n=1, cutoff=0.7):
        return siblings[close[0]]
    same_name = [name for name in names if name.rpartition(".")[2] == leaf]
    if same_name:
        return min(same_name, key=len)
    if close := get_close_matches(key, names, n=1, cutoff=0.75):
        return close[0]
    leaves = {name.rpartition(".")[2]: name for name in names}
    close = get_close_matches(leaf, leaves, n=1, cutoff=0.8)
    return leaves[close[0]] if close else None


def _wants(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    wants = {
        "greater_than": "a number above {gt}",
        "greater_than_equal": "a number of at least {ge}",
        "less_than": "a number below {lt}",
        "less_than_equal": "a number of at most {le}",
        "literal_error": "one of {expected}",
        "union_tag_invalid": "one of {expected_tags}",
        "value_error": "{error}",
        "finite_number": "a finite number",
        "int_parsing": "a whole number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_parsing": "a number",
        "float_type": "a number",
        "bool_parsing": "true or false",
        "bool_type": "true or false",
        "string_type": "a text",
        "string_too_short": "a text that is not empty",
        "dict_type": "a mapping of keys to values",
        "model_type": "a mapping of keys to values",
        "list_type": "a list",
    }
    template = wants.get(detail["type"])
    return template.format(**context) if template else detail["msg"]
