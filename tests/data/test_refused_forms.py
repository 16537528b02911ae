"""Rows that cannot be kept are refused by file, line, turn and key.

Each entry of a table is a record (or several), what is set of `data`, and what must come of it.
"""

from pathlib import Path
from typing import Any

import pytest
from data_specs import problems_of
from forms import ANSWERED, ASKED, OPENAI_CALL, assistant, said, spec_of, system, user

REFUSED: dict[str, tuple[Any, str, str]] = {
    "role": (
        {"messages": [user("q"), {"role": "narrator", "content": "x"}, *ANSWERED]},
        "turn 2 of 'messages', of the unknown role 'narrator'",
        "'data.roles={narrator: user}'",
    ),
    "no role": ({"messages": [{"content": "q"}, *ANSWERED]}, "turn 1 of 'messages'", ""),
    "key": (
        {"messages": [user("q"), assistant("a", at=3)]},
        "turn 2 of 'messages', with the key at",
        "data.ignored_keys=[at]",
    ),
    "two spellings": (
        {"messages": [{**user("q"), "value": "x"}, *ANSWERED]},
        "turn 1 of 'messages', with content and value",
        "data.ignored_keys=[value]",
    ),
    "null": (
        {"messages": [{"role": "user", "content": None}, *ANSWERED]},
        "turn 1 of 'messages', whose content is null",
        "tool_calls",
    ),
    "number": ({"messages": [user(3), *ANSWERED]}, "turn 1 of 'messages', whose content is 3", ""),  # pyright: ignore[reportArgumentType]
    "picture": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},
                *ANSWERED,
            ]
        },
        "turn 1 of 'messages', with a part of type 'image_url'",
        "no pictures",
    ),
    "key of a part": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "q", "cache_control": {}}]},
                *ANSWERED,
            ]
        },
        "turn 1 of 'messages', with a part that has the key cache_control",
        "data.ignored_keys=[cache_control]",
    ),
    "object as content": (
        {"messages": [{"role": "user", "content": {"degrees": 3}}, *ANSWERED]},
        "turn 1 of 'messages', whose content is {'degrees': 3}",
        "JSON",
    ),
    "column of pictures": (
        {"messages": [*ASKED, *ANSWERED], "images": ["a.png"]},
        "'images', pictures",
        "data.extra=[]",
    ),
    "tools": (
        {"messages": [*ASKED, *ANSWERED], "tools": '[{"name": "look"}]'},
        "'tools', descriptions of tools",
        "data.extra=[]",
    ),
    "tools inside": (
        {"chosen": {"messages": [*ASKED, *ANSWERED], "tools": [1]}, "rejected": [*ASKED]},
        "tools beside messages",
        "columns of their own",
    ),
    "arguments": (
        {
            "messages": [
                *ASKED,
                assistant("", tool_calls=[{"function": {"name": "f", "arguments": "x=1"}}]),
            ]
        },
        "turn 2 of 'messages', whose call 1 has the name 'f' and 'x=1'",
        "",
    ),
    "call without JSON": (
        {"conversations": said(("human", "q"), ("function_call", "f(x)"), ("gpt", "a"))},
        "turn 2 of 'conversations', a call that is no JSON",
        "",
    ),
    "the user calls": (
        {"messages": [{**user("q"), "tool_calls": [OPENAI_CALL]}, *ANSWERED]},
        "turn 1 of 'messages', the user's, with tool_calls",
        "",
    ),
    "an earlier answer to be trained": (
        {"messages": [*ASKED, assistant("x", weight=1), user("y"), *ANSWERED]},
        "turn 2 of 'messages', an earlier answer that is marked to be trained on",
        "a row of its own",
    ),
    "odd weight": (
        {"messages": [*ASKED, assistant("a", weight=0.5)]},
        "weight 0.5",
        "ignored_keys",
    ),
    "two systems": (
        {"system": "S", "messages": [system("T"), *ASKED, *ANSWERED]},
        "a system turn, and other words in the column 'system'",
        "Remove one",
    ),
    "two answers in one column": (
        {"instruction": "i", "output": ["a", "b"]},
        "a list of 2 texts as 'output'",
        "chosen and rejected",
    ),
    "conversations as prompts": (
        {"prompt": [*ASKED, *ANSWERED]},
        "a prompt whose last turn is the assistant's",
        "data.columns.messages=prompt",
    ),
    "the user answers": (
        {"prompt": ASKED, "completion": [user("a")]},
        "a completion whose last turn is the user's",
        "",
    ),
    "no score": (
        {"instruction": "i", "completions": [{"response": "a"}]},
        "answer 1 of 'completions': response",
        "",
    ),
    "odd history": (
        {"instruction": "i", "output": "a", "history": [["q"]]},
        "['q'] in 'history'",
        "",
    ),
    "odd system": ({"system": 3, "prompt": "q", "completion": "a"}, "3, a int, as 'system'", ""),
    "null label": ({"prompt": "q", "completion": "a", "label": None}, "null as 'label'", "Fill"),
    "empty label": ({"prompt": "q", "completion": "a", "label": ""}, "an empty label", "Fill"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_with_line_turn_and_key(tmp_path: Path, name: str) -> None:
    """Catches: a field that disappears without a word, or a mistake without its place."""
    record, got, remedy = REFUSED[name]
    spec = spec_of(tmp_path, record)
    (problem,) = problems_of(spec, spec.kind())
    assert problem.key == f"{spec.path}:1"
    assert got in problem.got and remedy in problem.remedy


def test_question_and_answer_are_proposed_not_guessed(tmp_path: Path) -> None:
    """Catches: a name that means the answer here and a reward's column there, taken by guess."""
    (problem,) = spec_of(tmp_path, {"question": "q", "answer": "a"}).problems()
    assert "data.columns.prompt=question data.columns.completion=answer" in problem.remedy
