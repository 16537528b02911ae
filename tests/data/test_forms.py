"""The forms in which people have their rows: each becomes canonical columns.

Each entry of a table is a record (or several), what is set of `data`, and what must come of it.
"""

import json
from pathlib import Path

import pytest
from forms import ANSWERED, ASKED, SHARED, Record, assistant, said, spec_of, system, user

from rlexp.data.prompt_templates import frame

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
