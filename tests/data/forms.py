"""Records as people write them, and turns of their conversations, for several test files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data_specs import data_spec

Record = dict[str, Any]


def user(words: str) -> Record:
    return {"role": "user", "content": words}


def assistant(words: str, **more: Any) -> Record:
    return {"role": "assistant", "content": words, **more}


def system(words: str) -> Record:
    return {"role": "system", "content": words}


def call(**arguments: Any) -> Record:
    """A turn that calls `look`, as templates want it."""
    function = {"name": "look", "arguments": arguments}
    return assistant("", tool_calls=[{"type": "function", "function": function}])


def said(*turns: tuple[str, str]) -> list[Record]:
    """ShareGPT's turns."""
    return [{"from": speaker, "value": words} for speaker, words in turns]


def spec_of(tmp_path: Path, *records: Any, **config: Any) -> Any:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return data_spec("file", path=str(path), **config)


ASKED, ANSWERED = [user("q")], [assistant("a")]
SHARED = said(("human", "q"), ("gpt", "a"))
OPENAI_CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"x": 1}'},
}
