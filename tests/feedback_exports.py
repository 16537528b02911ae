"""Small exports in the forms of tools that people judge answers with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

PROMPTS = [f"Say something about the number {number}." for number in range(6)]


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], encoding: str = "utf-8") -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def turns(*texts: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


def label_studio_csv(path: Path) -> Path:
    """Pairwise comparisons as Label Studio's csv has them."""
    sides = ["left", "right", "left", "left", "right", "left"]
    rows = [
        {
            "id": 100 + number,
            "prompt": prompt,
            "answer1": f"{number} is even.",
            "answer2": f"{number} is a fine number, and so on.",
            "comparison": side if who == 1 or number else "right",
            "annotator": who,
            "annotation_id": 10 * number + who,
            "lead_time": 3.5,
        }
        for number, (prompt, side) in enumerate(zip(PROMPTS, sides, strict=True))
        for who in (1, 2)
    ]
    return write_csv(path, rows)


def label_studio_json(path: Path) -> Path:
    """The same as its nested JSON has them; the second task was skipped by one person."""
    tasks = []
    for number, prompt in enumerate(PROMPTS):
        annotations = [
            {
                "id": 10 * number + who,
                "completed_by": {"id": who, "email": f"p{who}@example.org"},
                "was_cancelled": number == 1 and who == 2,
                "result": []
                if number == 1 and who == 2
                else [
                    {
                        "id": "x",
                        "type": "pairwise",
                        "value": {"selected": ("left", "right")[number % 2]},
                    }
                ],
            }
            for who in (1, 2)
        ]
        data = {"prompt": prompt, "answer1": f"yes {number}", "answer2": f"no {number}"}
        tasks.append({"id": number, "annotations": annotations, "data": data})
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def argilla(path: Path) -> Path:
    """Records with responses; one is a draft, one was discarded."""
    rows = []
    for number, prompt in enumerate(PROMPTS):
        responses = [
            {"value": "response_a", "user_id": "u-1", "status": "submitted"},
            {
                "value": "response_b" if number else "response_a",
                "user_id": "u-2",
                "status": "draft" if number == 3 else "submitted",
            },
        ]
        rows.append(
            {
                "id": f"r{number}",
                "status": "completed",
                "fields": {
                    "prompt": prompt,
                    "response_a": f"A{number}",
                    "response_b": f"B{number}",
                },
                "metadata": {},
                "suggestions": {},
                "responses": {"preference": responses if number < 5 else []},
            }
        )
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def prodigy_choice(path: Path) -> Path:
    """Options, of which one was taken; one task was ignored."""
    return write_jsonl(
        path,
        (
            {
                "text": prompt,
                "options": [
                    {"id": "gpt", "text": f"A{number}"},
                    {"id": "own", "text": f"B{number}"},
                ],
                "_input_hash": number,
                "_task_hash": -number,
                "accept": [] if number == 2 else [("gpt", "own")[number % 2]],
                "answer": "ignore" if number == 2 else "accept",
                "_annotator_id": "anna",
            }
            for number, prompt in enumerate(PROMPTS)
        ),
    )


def prodigy_binary(path: Path) -> Path:
    """Answers that were accepted, rejected or ignored."""
    verdicts = ["accept", "reject", "accept", "ignore", "reject", "accept"]
    return write_jsonl(
        path,
        (
            {
                "prompt": prompt,
                "response": f"A{number}",
                "_input_hash": number,
                "_task_hash": -number,
                "answer": verdict,
                "_annotator_id": "anna",
            }
            for number, (prompt, verdict) in enumerate(zip(PROMPTS, verdicts, strict=True))
        ),
    )


def scored_completions(path: Path) -> Path:
    """Several answers with a score each in a column, as UltraFeedback has them."""
    return write_jsonl(
        path,
        (
            {
                "source": "made up",
                "instruction": prompt,
                "models": ["m0", "m1", "m2"],
                "completions": [
                    {
                        "model": f"m{rank}",
                        "response": f"answer {rank} to {number}",
                        "overall_score": float((number + rank) % 3 + 1),
                        "annotations": {"helpfulness": {"Rating": "N/A"}},
                    }
                    for rank in range(3)
                ],
            }
            for number, prompt in enumerate(PROMPTS)
        ),
    )


def arena(path: Path) -> Path:
    """Battles of models; in one of them the conversations part ways before the last turn."""
    winners = ["model_a", "model_b", "tie", "tie (bothbad)", "model_a", "model_b"]
    rows = []
    for number, (prompt, winner) in enumerate(zip(PROMPTS, winners, strict=True)):
        a, b = turns(prompt, f"A{number}"), turns(prompt, f"B{number}")
        if number == 5:
            a, b = a + turns("Why?", "Because."), b + turns("Why?", "Because of that.")
        rows.append(
            {
                "question_id": f"q{number}",
                "model_a": "vicuna",
                "model_b": "koala",
                "winner": winner,
                "judge": f"arena_user_{number}",
                "conversation_a": a,
                "conversation_b": b,
                "turn": len(a) // 2,
            }
        )
    return write_jsonl(path, rows)


def german_sheet(path: Path) -> Path:
    """A spreadsheet with German names and a byte order mark."""
    choices = ["links", "rechts", "beide gleich", "links", "", "rechts"]
    rows = [
        {
            "Frage": prompt,
            "Antwort links": f"L{number}",
            "Antwort rechts": f"R{number}",
            "Wahl": choice,
        }
        | {"Wer": "Jörg"}
        for number, (prompt, choice) in enumerate(zip(PROMPTS, choices, strict=True))
    ]
    return write_csv(path, rows, "utf-8-sig")


GERMAN = [
    *("columns.prompt=Frage", "columns.a=Antwort links", "columns.b=Antwort rechts"),
    *("columns.winner=Wahl", "columns.annotator=Wer", "labels.links=a", "labels.rechts=b"),
    "labels.beide gleich=tie",
]


def chinese_sheet(path: Path) -> Path:
    """The same with Chinese names, in gb18030."""
    rows = [
        {"问题": prompt, "左": f"L{number}", "右": f"R{number}", "选择": ("左", "右")[number % 2]}
        for number, prompt in enumerate(PROMPTS)
    ]
    return write_csv(path, rows, "gb18030")


CHINESE = [
    *("columns.prompt=问题", "columns.a=左", "columns.b=右", "columns.winner=选择"),
    *("labels.左=a", "labels.右=b", "encoding=gb18030"),
]
