"""The forms in which people have their rows: each becomes canonical columns, or is refused by name.

Each entry of a table is a record (or several), what is set of `data`, and what must come of it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from data_specs import data_spec, problems_of

from rlexp.data.load import load_data
from rlexp.data.prompt_templates import frame

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


PLAIN: dict[str, tuple[Record, str, Record]] = {
    "alpaca": (
        {"instruction": "i", "input": "x", "output": "a"},
        "demonstrations",
        {"prompt": "i\n\nx", "completion": "a"},
    ),
    "alpaca, empty input": (
        {"instruction": "i", "input": "", "output": "a"},
        "demonstrations",
        {"prompt": "i", "completion": "a"},
    ),
    "alpaca, null input": (
        {"instruction": "i", "input": None, "output": "a"},
        "demonstrations",
        {"prompt": "i", "completion": "a"},
    ),
    "alpaca, all in input": (
        {"instruction": " ", "input": "x", "output": "a"},
        "demonstrations",
        {"prompt": "x", "completion": "a"},
    ),
    "alpaca, system": (
        {"instruction": "i", "output": "a", "system": "S"},
        "demonstrations",
        {"prompt": "i", "completion": "a", "system_turn": "S"},
    ),
    "alpaca, history": (
        {"instruction": "i", "output": "a", "history": [["q", "x"]], "system": "S"},
        "demonstrations",
        {
            "prompt": [system("S"), user("q"), assistant("x"), user("i")],
            "completion": ANSWERED,
        },
    ),
    "dolly": (
        {"instruction": "i", "response": "a"},
        "demonstrations",
        {"prompt": "i", "completion": "a"},
    ),
    "alpaca pairs": (
        {"instruction": "i", "input": "x", "chosen": "a", "rejected": "b"},
        "pairs",
        {"prompt": "i\n\nx", "chosen": "a", "rejected": "b"},
    ),
    "question and pairs": (
        {"system": "S", "question": "q", "chosen": "a", "rejected": "b"},
        "pairs",
        {"prompt": "q", "chosen": "a", "rejected": "b", "system_turn": "S"},
    ),
    "pairs of turns": (
        {"conversations": SHARED[:1], "chosen": SHARED[1], "rejected": said(("gpt", "b"))[0]},
        "pairs",
        {"prompt": ASKED, "chosen": ANSWERED, "rejected": [assistant("b")]},
    ),
    "pairs of dialogues in objects": (
        {
            "chosen": {"messages": [*ASKED, *ANSWERED]},
            "rejected": json.dumps({"messages": [*ASKED, assistant("b")]}),
        },
        "pairs",
        {"prompt": ASKED, "chosen": ANSWERED, "rejected": [assistant("b")]},
    ),
    "prompts that differ by a space": (
        {"chosen": [*ASKED, *ANSWERED], "rejected": [user("q "), assistant("b")]},
        "pairs",
        {"prompt": ASKED, "chosen": ANSWERED, "rejected": [assistant("b")]},
    ),
    "hh": (
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        "pairs",
        {"prompt": ASKED, "chosen": ANSWERED, "rejected": [assistant("b")]},
    ),
    "scored": (
        {
            "instruction": "i",
            "completions": [
                {"response": "b", "overall_score": 2.0, "model": "m"},
                {"response": "a", "overall_score": "8"},
                {"response": "c", "overall_score": 5},
            ],
        },
        "pairs",
        {"prompt": "i", "chosen": "a", "rejected": "b"},
    ),
    "labelled conversations": (
        {"messages": [*ASKED, *ANSWERED], "label": "yes"},
        "unpaired",
        {"prompt": ASKED, "completion": ANSWERED, "label": True},
    ),
    "conversations that wait": (
        {"messages": [system("S"), *ASKED]},
        "prompts",
        {"prompt": [system("S"), *ASKED]},
    ),
    "a system beside messages": (
        {"system": "S", "prompt": ASKED, "completion": ANSWERED},
        "demonstrations",
        {"prompt": [system("S"), *ASKED], "completion": ANSWERED},
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_columns_that_belong_together_are_joined(tmp_path: Path, name: str) -> None:
    """Catches: a question that stands in a column beside the prompt, and is never asked."""
    record, kind, wanted = PLAIN[name]
    spec = spec_of(tmp_path, record)
    (row,) = spec.read().train
    assert spec.kind() == kind
    assert {column: row.get(column) for column in wanted} == wanted


def test_the_system_stands_above_a_text_and_has_a_turn_in_a_chat(tmp_path: Path) -> None:
    """Catches: a system column left out of what the model reads, or given to rewards as one."""
    spec = spec_of(
        tmp_path, {"system": "S", "prompt": "q", "completion": "a"}, chat_prompt="({prompt})"
    )
    rows = spec.read().train
    (chat,) = frame(rows, spec, chat=True)
    (text,) = frame(rows, spec, chat=False)
    assert chat == {"prompt": [system("S"), user("(q)")], "completion": ANSWERED}
    assert text == {"prompt": "S\n\nq", "completion": "a"}


CONFIGURED: dict[str, tuple[Record, Record, Record]] = {
    "an unknown role": (
        {"messages": [{"role": "narrator", "content": "q"}, *ANSWERED]},
        {"roles": {"narrator": "user"}},
        {"prompt": ASKED, "completion": ANSWERED},
    ),
    "a role in other words": (
        {"messages": [{"role": "narrator", "content": "q"}, *ANSWERED]},
        {"roles": {"narrator": "human"}},
        {"prompt": ASKED, "completion": ANSWERED},
    ),
    "a role of the template's own": (
        {"messages": [{"role": "critic", "content": "q"}, *ANSWERED]},
        {"roles": {"critic": "critic"}},
        {"prompt": [{"role": "critic", "content": "q"}], "completion": ANSWERED},
    ),
    "a key of turns": (
        {"messages": [{**user("q"), "at": 3}, *ANSWERED]},
        {"ignored_keys": ["at"]},
        {"prompt": ASKED, "completion": ANSWERED},
    ),
    "whole conversations": (
        {"dialog": SHARED},
        {"columns": {"messages": "dialog"}},
        {"prompt": ASKED, "completion": ANSWERED},
    ),
    "what it is about": (
        {"question": "q", "context": "x", "answer": "a"},
        {"columns": {"prompt": "question", "completion": "answer", "input": "context"}},
        {"prompt": "q\n\nx", "completion": "a"},
    ),
    "instruction by name, its input by form": (
        {"instruction": "i", "input": "x", "output": "a"},
        {"columns": {"prompt": "instruction", "completion": "output"}},
        {"prompt": "i\n\nx", "completion": "a"},
    ),
    "a system for rewards alone": (
        {"system": "S", "messages": [*ASKED, *ANSWERED]},
        {"extra": ["system"]},
        {"prompt": ASKED, "completion": ANSWERED, "system": "S"},
    ),
    "tools left out on purpose": (
        {"messages": [*ASKED, *ANSWERED], "tools": [{"name": "look"}]},
        {"extra": []},
        {"prompt": ASKED, "completion": ANSWERED},
    ),
    "a prompt of Human and Assistant": (
        {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": " a", "rejected": " b"},
        {"dialogues": True},
        {"prompt": ASKED, "chosen": [assistant(" a")], "rejected": [assistant(" b")]},
    ),
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_what_the_config_says_wins(tmp_path: Path, name: str) -> None:
    """Catches: a remedy that an error names and that does not lead past it."""
    record, config, wanted = CONFIGURED[name]
    (row,) = spec_of(tmp_path, record, **config).read().train
    assert {column: row[column] for column in wanted} == wanted


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


NOTES: dict[str, tuple[list[Record], str]] = {
    "left out": (
        [{"prompt": "q", "topic": "t", "id": 1}],
        "columns that only rewards may read, being no part of prompt or answer: topic, id. ",
    ),
    "earlier answers": (
        [{"messages": [*ASKED, assistant("x"), user("y"), *ANSWERED]}],
        "conversations with earlier answers, of which the last alone is learnt from: 1",
    ),
    "no answer": (
        [{"messages": [*ASKED, *ANSWERED]}, {"messages": [*ASKED, *ANSWERED, user("bye")]}],
        "rows dropped because a conversation ends without an answer (the user's turn): 1",
    ),
    "not to be trained": (
        [{"messages": [*ASKED, assistant("a", train=False)]}],
        "rows dropped because the last answer is marked as not to be trained on: 1",
    ),
    "equal but for space": (
        [{"prompt": "q", "chosen": "a", "rejected": "a \n"}],
        "rows dropped because the two answers are equal: 1",
    ),
    "equal turns but for space": (
        [{"prompt": ASKED, "chosen": ANSWERED, "rejected": [assistant(" a")]}],
        "rows dropped because the two answers are equal: 1",
    ),
    "no difference": (
        [
            {
                "instruction": "i",
                "completions": [{"text": "a", "score": 1}, {"text": "b", "score": 1}],
            }
        ],
        "rows dropped because its answers do not differ in their scores: 1",
    ),
    "a system beside whole texts": (
        [{"text": "one two three four five", "system": "S"}],
        "columns that only rewards may read, being no part of prompt or answer: system.",
    ),
    "others' words": (
        [{"prompt": ASKED, "completion": [assistant("x"), user("y"), *ANSWERED]}],
        "answers of several turns, others' among them, all of which are learnt from: 1",
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_was_done_is_said_and_counted(tmp_path: Path, name: str) -> None:
    """Catches: rows or columns that go without a word."""
    records, note = NOTES[name]
    assert any(line.startswith(note) for line in spec_of(tmp_path, *records).read().notes)


def test_columns_that_the_config_names_are_not_noted(tmp_path: Path) -> None:
    """Catches: a note that its own remedy does not silence."""
    assert spec_of(tmp_path, {"prompt": "q", "topic": "t"}, extra=["topic"]).read().notes == []


REPEATED = "Tell me about the lamp."


@pytest.mark.parametrize(
    ("records", "completions", "cut"),
    [
        ([(REPEATED, f"{REPEATED} It is old.")], [" It is old."], 1),
        ([(REPEATED, f"\n{REPEATED}\nOld.")], ["\nOld."], 1),
        ([("Hi", "Hi, what is it?"), ("q", "a"), ("r", "b")], ["Hi, what is it?", "a", "b"], 0),
        ([("Hi", "Hi a"), ("Yo", "Yo b"), ("r", "c")], [" a", " b", "c"], 2),
        ([("The plot of the film", "The plot of the films")], ["The plot of the films"], 0),
        ([(REPEATED, REPEATED)], [REPEATED], 0),
    ],
)
def test_answers_lose_the_prompt_that_they_repeat(
    tmp_path: Path, records: list[tuple[str, str]], completions: list[str], cut: int
) -> None:
    """Catches: the prompt trained on as if it were answered, and greetings taken for repeats."""
    rows = [{"prompt": prompt, "completion": answer} for prompt, answer in records]
    read = spec_of(tmp_path, *rows).read()
    assert [row["completion"] for row in read.train] == completions
    notes = [f"answers that began with their prompt, which was taken off: {cut}"] if cut else []
    assert read.notes == notes


def test_rows_say_where_they_stand(tmp_path: Path) -> None:
    """Catches: places that shift where a row is dropped."""
    rows = spec_of(
        tmp_path, {"messages": [*ASKED, *ANSWERED]}, {"messages": ASKED}, {"messages": SHARED}
    ).read()
    assert [place.rpartition(":")[2] for place in rows.places] == ["1", "3"]
    assert len(rows.train) == 2


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (1.0, True),
        (0.0, False),
        ("1.0", True),
        ("0.0", False),
        ("yes", True),
        ("No", False),
        ("TRUE", True),
        (" False ", False),
        (True, True),
        (0, False),
        (2.0, True),
        ("2", True),
        ("good", True),
    ],
)
def test_labels_as_people_write_them(tmp_path: Path, value: object, meaning: bool) -> None:
    """Catches: a 0/1 column that gaps turned into floats refused, or read as true throughout."""
    record = {"prompt": "q", "completion": "a", "label": value}
    (row,) = spec_of(tmp_path, record, labels={2: True, "good": True}).read().train
    assert row["label"] is meaning


def test_a_reference_is_kept_for_rewards_under_its_own_name(tmp_path: Path) -> None:
    """Catches: the column that a reward reads called absent because it is the answer as well, and
    a digest that tells a stored run's data from the same data of today."""
    records = [{"question": f"q{n}", "answer": f"#### {n}"} for n in range(60)]
    columns = {"prompt": "question", "completion": "answer"}
    spec = spec_of(tmp_path, *records, columns=columns)
    splits = load_data(spec, "prompts")
    assert spec.extra_columns() == {"answer"}
    assert all(row["answer"].startswith("#### ") for row in [*splits.train, *splits.heldout])
    bare = load_data(spec_of(tmp_path, *records, columns=columns, extra=[]), "prompts")
    assert splits.digest == bare.digest


def test_extra_columns_need_no_one_type(tmp_path: Path) -> None:
    """Catches: Arrow's one type a column, which raises or fills calls with others' arguments."""
    from datasets import Dataset

    values = [1, "a", None, {"k": [1]}]
    calls = [{"prompt": ASKED, "completion": [call(**{name: 1})]} for name in ("x", "y", "z", "w")]
    records = [{**row, "level": value} for row, value in zip(calls, values, strict=True)]
    rows = spec_of(tmp_path, *records).read().train
    table = Dataset.from_list(rows, on_mixed_types="use_json")
    assert [table[n] for n in range(4)] == rows
