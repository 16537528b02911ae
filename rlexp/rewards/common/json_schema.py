"""JSON in what a policy wrote: whether it is some, of a schema where one is given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from rlexp.runtime.extras import missing_packages
from rlexp.spec.errors import Problem

Schema = str | dict[str, Any]
NOT_JSON = object()
"""What a text reads as that is no JSON, or none of the schema."""
_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL | re.IGNORECASE)


def problems(schema: Schema, key: str) -> list[Problem]:
    """What is wrong with a schema: its file, its words, or that it refers to others elsewhere."""
    if missing := missing_packages("jsonschema", "rewards", key):
        return missing
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        content = _content(schema)
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}")
    except (OSError, ValueError) as error:
        remedy = "Give a schema, or the path of a file with one."
        return [Problem(key, f"{schema!s:.80}: {error}", "a JSON schema", remedy)]
    try:
        validator_for(content).check_schema(content)
    except SchemaError as error:
        where = "/".join(str(step) for step in error.absolute_path)
        return [
            Problem(key, f"a schema with a mistake at /{where}: {error.message}", "one without")
        ]
    elsewhere = sorted(each for each in _references(content) if not each.startswith("#"))
    if elsewhere:
        remedy = "Copy what it refers to into its own $defs: nothing is fetched."
        return [Problem(key, f"a schema that refers to {elsewhere[0]}", "#/… alone", remedy)]
    return []


def parse_json(text: str, schema: Schema | None) -> Any:
    """The value that the text is as JSON, code fence or not; NOT_JSON where it is none.

    >>> parse_json('{"answer": 18}', {"required": ["answer"]})
    {'answer': 18}
    >>> parse_json("[1]", {"type": "object"}) is NOT_JSON
    True
    """
    fenced = _FENCED.fullmatch(text.strip())
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_no_number)
        fits = schema is None or _validator(json.dumps(_content(schema))).is_valid(value)
    except (ValueError, RecursionError):  # brackets in brackets, thousands deep
        return NOT_JSON
    return value if fits else NOT_JSON


def part(value: Any, key: str | None) -> str:
    """A value as text, or what stands in it under a key: empty where nothing does.

    >>> part({"answer": 18}, "answer")
    '18'
    """
    if key is not None:
        value = value.get(key, "") if isinstance(value, dict) else ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def canonical_value(value: Any) -> str:
    """A cell of the data as text: JSON as `part` writes it, whether it was parsed already or not.

    >>> canonical_value('{"b":1, "a":2}'), canonical_value("yes")
    ('{"a": 2, "b": 1}', 'yes')
    """
    parsed = parse_json(value, None) if isinstance(value, str) else value
    return part(value if parsed is NOT_JSON else parsed, None)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _content(schema: Schema) -> Any:
    return schema if isinstance(schema, dict) else _of_file(str(Path(schema).expanduser()))


@cache
def _of_file(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@cache
def _validator(schema: str) -> Any:
    from jsonschema.validators import validator_for
    from jsonschema_specifications import REGISTRY

    content = json.loads(schema)
    return validator_for(content)(content, registry=REGISTRY)  # which fetches nothing


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (str(schema[key]) for key in ("$ref", "$dynamicRef") if key in schema)
    inner = schema.values() if isinstance(schema, dict) else schema
    if isinstance(schema, dict | list):
        for each in inner:
            yield from _references(each)
