"""Conversations as people have them: each becomes a prompt and an answer."""

import json
from pathlib import Path

import pytest
from forms import (
    ANSWERED,
    ASKED,
    OPENAI_CALL,
    SHARED,
    Record,
    assistant,
    call,
    said,
    spec_of,
    system,
    user,
)

CONVERSATIONS: dict[str, tuple[Record, list[Record]]] = {
    "openai": ({"messages": [*ASKED, *ANSWERED]}, ASKED),
    "openai, system": ({"messages": [system("S"), *ASKED, *ANSWERED]}, [system("S"), *ASKED]),
    "developer": (
        {"messages": [{"role": "developer", "content": "S"}, *ASKED, *ANSWERED]},
        [system("S"), *ASKED],
    ),
    "sharegpt": ({"conversations": SHARED}, ASKED),
    "singular": ({"conversation": SHARED}, ASKED),
    "capitals": ({"conversations": said(("USER", "q"), ("ChatGPT", "a"))}, ASKED),
    "system first": (
        {"conversations": said(("system", "S"), ("human", "q"), ("gpt", "a"))},
        [system("S"), *ASKED],
    ),
    "system column": ({"system": "S", "conversations": SHARED}, [system("S"), *ASKED]),
    "same system twice": (
        {"system_prompt": "S", "messages": [system("S"), *ASKED, *ANSWERED]},
        [system("S"), *ASKED],
    ),
    "the assistant greets": (
        {"conversations": said(("gpt", "hello"), ("human", "q"), ("gpt", "a"))},
        [assistant("hello"), *ASKED],
    ),
    "messages inside": ({"messages": {"messages": [*ASKED, *ANSWERED]}}, ASKED),
    "json in a text": ({"messages": json.dumps([*ASKED, *ANSWERED])}, ASKED),
    "python in a text": ({"messages": str([*ASKED, *ANSWERED])}, ASKED),
    "parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, *ANSWERED]},
        ASKED,
    ),
    "two parts": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": t} for t in ("a ", "b")]},
                *ANSWERED,
            ]
        },
        [user("a b")],
    ),
    "keys without value": (
        {"messages": [*ASKED, assistant("a", refusal=None, tool_calls=None, annotations=[])]},
        ASKED,
    ),
    "weights": (
        {"messages": [*ASKED, assistant("x", weight=0), user("y"), assistant("a", weight=1)]},
        [*ASKED, assistant("x"), user("y")],
    ),
    "train flags": (
        {"messages": [{**user("q"), "train": False}, assistant("a", train=True)]},
        ASKED,
    ),
    "tool call": (
        {
            "messages": [
                *ASKED,
                {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "r"},
                *ANSWERED,
            ]
        },
        [
            *ASKED,
            assistant("", tool_calls=[{"id": "c1", **call(x=1)["tool_calls"][0]}]),
            {"role": "tool", "content": "r", "tool_call_id": "c1"},
        ],
    ),
    "function call of old": (
        {
            "messages": [
                *ASKED,
                {"role": "assistant", "function_call": {"name": "look", "arguments": "{}"}},
                {"role": "function", "name": "look", "content": "r"},
                *ANSWERED,
            ]
        },
        [*ASKED, call(), {"role": "tool", "content": "r", "name": "look"}],
    ),
    "sharegpt call": (
        {
            "conversations": said(
                ("human", "q"),
                ("function_call", '{"name": "look", "arguments": {"x": 1}}'),
                ("observation", "r"),
                ("gpt", "a"),
            )
        },
        [*ASKED, call(x=1), {"role": "tool", "content": "r"}],
    ),
    "arguments in objects": (
        {"messages": [*ASKED, call(x={"y": [1]}), {"role": "tool", "content": "r"}, *ANSWERED]},
        [*ASKED, call(x={"y": [1]}), {"role": "tool", "content": "r"}],
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_is_its_last_answer_and_what_stands_before(
    tmp_path: Path, name: str
) -> None:
    """Catches: a turn, a call or a part that is lost, or that comes in another spelling."""
    record, prompt = CONVERSATIONS[name]
    spec = spec_of(tmp_path, record)
    (row,) = spec.read().train
    assert spec.kind() == "demonstrations"
    assert {name: row[name] for name in ("prompt", "completion")} == {
        "prompt": prompt,
        "completion": ANSWERED,
    }


def test_an_answer_keeps_its_reasoning_and_its_calls(tmp_path: Path) -> None:
    """Catches: an assistant's turn that is empty in training because its call was dropped."""
    thinking = assistant("a", reasoning_content="hm")
    calling = {"role": "assistant", "content": None, **call(x=1)}
    calling["content"] = None
    rows = spec_of(
        tmp_path, {"messages": [*ASKED, thinking]}, {"messages": [*ASKED, calling]}
    ).read()
    assert [row["completion"] for row in rows.train] == [[thinking], [call(x=1)]]


def test_a_line_may_be_nothing_but_a_conversation(tmp_path: Path) -> None:
    """Catches: the list of lists that chat templates' tutorials write."""
    (row,) = spec_of(tmp_path, SHARED).read().train
    assert row == {"prompt": ASKED, "completion": ANSWERED}
