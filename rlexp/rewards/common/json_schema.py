"""JSON in what a policy wrote: whether it is some, of a schema where one is given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.runtime.extras import missing_packages
from rlexp.spec.errors import Problem

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Schema = str | dict[str, Any]
"""A JSON schema, or the path of a file with one."""
NOT_JSON = object()
"""What `parse_json` returns for a text that is no JSON, or none of the schema."""
_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL | re.IGNORECASE)


def problems(schema: Schema, key: str) -> list[Problem]:
    """Return what is wrong with a schema: its file, its words, references to other files."""
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
        path = "/".join(str(step) for step in error.absolute_path)
        got = f"a schema with a mistake at /{path}: {error.message}"
        return [Problem(key, got, "one without")]
    external = sorted(target for target in _references(content) if not target.startswith("#"))
    if external:
        remedy = "Copy what it refers to into its own $defs: nothing is fetched."
        return [Problem(key, f"a schema that refers to {external[0]}", "#/… alone", remedy)]
    return []


def parse_json(text: str, schema: Schema | None) -> Any:
    """Return the value of a text as JSON, code fence or not; NOT_JSON where it is none.

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


def value_text(value: object, key: str | None) -> str:
    """Return a value as text, or its item under a key: empty where there is none.

    >>> value_text({"answer": 18}, "answer")
    '18'
    """
    if key is not None:
        value = value.get(key, "") if isinstance(value, dict) else ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def canonical_value(value: object) -> str:
    """Return a cell of the data as text: JSON as `value_text` writes it, parsed already or not.

    >>> canonical_value('{"b":1, "a":2}'), canonical_value("yes")
    ('{"a": 2, "b": 1}', 'yes')
    """
    parsed = parse_json(value, None) if isinstance(value, str) else value
    return value_text(value if parsed is NOT_JSON else parsed, None)


def empty_value(schema: Schema | None) -> str:
    """Return JSON of a schema that says as little as it lets: its required keys, with nothing.

    >>> empty_value({"required": ["answer"], "properties": {"answer": {"type": "number"}}})
    '{"answer": 0}'
    """
    return json.dumps(_empty(None if schema is None else _content(schema)))


_NOTHING = {"array": [], "boolean": False, "integer": 0, "null": None, "number": 0, "string": ""}


def _empty(schema: object) -> object:
    if not isinstance(schema, dict):
        return {}
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    kinds = schema.get("type", "object")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    properties = schema.get("properties", {})
    required = {
        key: _empty(properties.get(key, {"type": "string"})) for key in schema.get("required", ())
    }
    return _NOTHING.get(kind, required)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _content(schema: Schema) -> object:
    return schema if isinstance(schema, dict) else _parsed_file(str(Path(schema).expanduser()))


@cache
def _parsed_file(path: str) -> object:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@cache
def _validator(schema: str) -> Validator:
    from jsonschema.validators import validator_for
    from jsonschema_specifications import REGISTRY

    content = json.loads(schema)
    return validator_for(content)(content, registry=REGISTRY)  # which fetches nothing


def _references(schema: object) -> Iterator[str]:
    """Yield what a schema refers to, at any depth."""
    if isinstance(schema, dict):
        yield from (str(schema[key]) for key in ("$ref", "$dynamicRef") if key in schema)
    if isinstance(schema, dict | list):
        for item in schema.values() if isinstance(schema, dict) else schema:
            yield from _references(item)
