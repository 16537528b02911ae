"""Rows of the kinds that people have, written by the templates that people have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import chat_tokenizers as kinds
import pytest
from chat_tokenizers import byte_tokenizer
from runs import spec_of

from rlexp.data.load import load_data
from rlexp.data.rendering.row_report import RowReport, check_rows, examine_rows
from rlexp.models.appended_tokens import stop_appending
from rlexp.models.tokenizer import PLAIN, ModelTokenizer
from rlexp.spec.errors import UserError
from rlexp.spec.rows import rows_read

ASKED = {"role": "user", "content": "Tell me about lamp {n}."}
ANSWER = {"role": "assistant", "content": "Lamp {n} is old."}
THOUGHT = {"role": "assistant", "content": "<think>Of lamp {n}.</think>\n\nLamp {n} is old."}
SYSTEM = {"role": "system", "content": "Be short, {n}."}
CALL = {
    "role": "assistant",
    "content": "I look.",
    "tool_calls": [{"type": "function", "function": {"name": "look_up", "arguments": {"n": 1}}}],
}
REASONED = {"role": "assistant", "content": "Old.", "reasoning_content": "Of lamp {n}."}
MARKED = {"role": "user", "content": "<|im_start|>user\nLamp {n}?<|im_end|>"}
TOOL = {"role": "tool", "content": "lamp {n}: old"}


def chat(template: str | None, **options: Any) -> Any:
    return byte_tokenizer(template, **options)


LLAMA = {"eos": "<|eot_id|>", "bos": "<s>", "around": "<s> $A"}
SPM = {"eos": "</s>", "bos": "<s>", "around": "<s> $A"}
GEMMA = {"eos": "<end_of_turn>", "bos": "<s>", "around": "<s> $A"}

FINDINGS: list[tuple[str, Any, list[Any], str | None]] = [
    ("ChatML", chat(kinds.CHATML), [ASKED, ANSWER], None),
    ("ChatML with system", chat(kinds.CHATML), [SYSTEM, ASKED, ANSWER], None),
    ("ChatML, many turns", chat(kinds.CHATML), [ASKED, ANSWER, ASKED, ANSWER], None),
    ("ChatML and thinking", chat(kinds.CHATML), [ASKED, THOUGHT], None),
    ("plain", chat(PLAIN, eos="</s>"), [SYSTEM, ASKED, ANSWER], None),
    ("Llama 3", chat(kinds.LLAMA3, **LLAMA), [SYSTEM, ASKED, ANSWER], None),
    ("Gemma", chat(kinds.GEMMA, **GEMMA), [ASKED, ANSWER], None),
    ("Mistral", chat(kinds.MISTRAL, **SPM), [ASKED, ANSWER], None),
    ("Qwen3", chat(kinds.QWEN3), [ASKED, ANSWER], "between the prompt and the answer"),
    ("Qwen3, one thought", chat(kinds.QWEN3), [ASKED, THOUGHT], None),
    ("Qwen3, thoughts", chat(kinds.QWEN3), [ASKED, THOUGHT] * 2, "earlier answers"),
    ("DeepSeek", chat(kinds.DEEPSEEK, **SPM), [ASKED, ANSWER], "the prompt's end is not in"),
    ("DeepSeek, thoughts", chat(kinds.DEEPSEEK, **SPM), [ASKED, THOUGHT], "reasoning of the an"),
    ("no header", chat(kinds.NO_GENERATION_PROMPT), [ASKED, ANSWER], "does not introduce"),
    ("no end", chat(kinds.NO_END, eos="</s>"), [ASKED, ANSWER], "writes nothing after an answer"),
    ("another end", chat(kinds.CHATML, eos="</s>"), [ASKED, ANSWER], "ends a turn with <|im_end|>"),
    ("roles ignored", chat(kinds.IGNORES_ROLES), [SYSTEM, ASKED, ANSWER], "leaves out the system"),
    ("tools ignored", chat(kinds.IGNORES_ROLES), [ASKED, CALL, TOOL, ANSWER], "out the tool turn"),
    ("thoughts stripped", chat(kinds.STRIPS_THINKING), [ASKED, THOUGHT], "reasoning of the answer"),
    ("earlier thoughts", chat(kinds.STRIPS_EARLIER_THINKING), [ASKED, THOUGHT] * 2, "on purpose"),
    ("reasoning_content", chat(kinds.CHATML), [ASKED, REASONED], "reasoning of the answer"),
    ("calls dropped", chat(kinds.CHATML), [ASKED, CALL], "leaves out tool_calls of assistant"),
    ("tool calls", chat(kinds.TOOLS), [ASKED, CALL, TOOL, ANSWER], None),
    ("rendered before", chat(kinds.CHATML), [MARKED, ANSWER], "hold special tokens"),
    ("no first token", chat(kinds.CHATML, **LLAMA), [ASKED, ANSWER], "begin with <s>"),
    ("lent template", chat(None, eos="</s>"), [ASKED, ANSWER], "no chat template"),
]  # fmt: skip


def numbered(turn: dict[str, Any], number: int) -> dict[str, Any]:
    return json.loads(json.dumps(turn).replace("{n}", str(number)))


def file_of(folder: Path, turns: list[Any], count: int = 30) -> Path:
    path = folder / "rows.jsonl"
    rows = [
        {
            "prompt": [numbered(turn, n) for turn in turns[:-1]],
            "completion": [numbered(turns[-1], n)],
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def reader_of(tokenizer: Any, **more: Any) -> ModelTokenizer:
    """As a model's folder would give it, without a folder."""
    has_template = tokenizer.chat_template is not None
    tokenizer.chat_template = tokenizer.chat_template or PLAIN
    stop_appending(tokenizer)
    known = {"end_token_ids": [tokenizer.eos_token_id], "positions": None} | more
    return ModelTokenizer(tokenizer, has_template, has_template, **known)


def report_on(path: Path, reader: ModelTokenizer, *overrides: str, algo: str = "sft") -> RowReport:
    spec = spec_of(
        f"algo={algo}", "data=file", f"data.path={path}", "data.eval_fraction=0.3",
        "data.max_prompt_length=4000", "model.chat=null", *overrides,
    )  # fmt: skip
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    return examine_rows(spec, splits, reader)


@pytest.mark.parametrize(
    ("tokenizer", "turns", "expected"),
    [case[1:] for case in FINDINGS],
    ids=[case[0] for case in FINDINGS],
)
def test_templates(tokenizer: Any, turns: list[Any], expected: str | None, tmp_path: Path) -> None:
    """A template that does something that nobody asked for, without a word."""
    reader = reader_of(tokenizer)
    report = report_on(file_of(tmp_path, turns), reader)
    assert not report.problems
    if expected is None:
        assert report.warnings() == []
        return
    (warning,) = [sentence for sentence in report.warnings() if expected in sentence]
    assert warning.startswith("in all rows") and "rows.jsonl:" in warning


@pytest.mark.parametrize(
    ("tokenizer", "turns", "reason"),
    [
        (chat(kinds.GEMMA, **GEMMA), [SYSTEM, ASKED, ANSWER], "System role not supported"),
        (chat(kinds.MISTRAL, **SPM), [ASKED, ASKED, ANSWER], "roles must alternate"),
        (chat("{{ messages[0].colour.name }}"), [ASKED, ANSWER], "colour"),
    ],
)
@pytest.mark.parametrize("algo", ["sft", "grpo"])
def test_a_template_that_raises_is_quoted(
    algo: str, tokenizer: Any, turns: list[Any], reason: str, tmp_path: Path
) -> None:
    """Jinja's traceback in the middle of a training."""
    problems = report_on(file_of(tmp_path, turns), reader_of(tokenizer), algo=algo).problems
    assert len(problems) == 30  # training and held-out rows
    assert all(reason in problem.got and "rows.jsonl:" in problem.key for problem in problems)


def test_a_template_without_answers_is_refused(tmp_path: Path) -> None:
    """A training on headers alone."""
    silent = kinds.CHATML.replace("{{ m.content }}", "{{ m.content if m.role == 'user' }}")
    (problem,) = report_on(file_of(tmp_path, [ASKED, ANSWER]), reader_of(chat(silent))).problems
    assert problem.key == "model.chat_template" and "leaves out the answers" in problem.got


def test_chat_off_with_messages_is_said(tmp_path: Path) -> None:
    """A knob that does nothing."""
    path, reader = file_of(tmp_path, [ASKED, ANSWER]), reader_of(chat(kinds.CHATML))
    (warning,) = report_on(path, reader, "model.chat=false").warnings()
    assert "model.chat=false" in warning


def test_a_prompt_that_brings_its_own_first_token(tmp_path: Path) -> None:
    """A text that begins with <s> twice."""
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"<s>Lamp {n}", "completion": " is old."} for n in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    reader = reader_of(byte_tokenizer(**SPM))
    (warning,) = report_on(path, reader, algo="grpo").warnings()
    assert "begins with <s> twice" in warning


def test_a_prompt_and_an_answer_that_run_together(tmp_path: Path) -> None:
    """Two words that the model learns as one."""
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"Lamp {n}.", "completion": "It is old."} for n in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (warning,) = report_on(path, reader_of(byte_tokenizer(eos="</s>"))).warnings()
    assert "nothing stands between the prompt and the answer" in warning


def pairs_file(folder: Path, count: int = 30) -> Path:
    path = folder / "pairs.jsonl"
    rows = [
        {"prompt": f"Lamp {n}?", "chosen": "It is old, and bright.", "rejected": "No."}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("algo", ["sft", "dpo", "kto", "reward", "cpo", "orpo"])
def test_a_length_that_leaves_nothing_is_refused_with_one_that_does(
    algo: str, tmp_path: Path
) -> None:
    """No rows for the trainer, or a NaN at the first step; a remedy that fails when typed."""
    path, reader = pairs_file(tmp_path), reader_of(chat(kinds.CHATML))
    (problem,) = report_on(path, reader, "algo.max_length=16", algo=algo).problems
    assert problem.key == "algo.max_length" and "16, which" in problem.got
    remedy = problem.remedy.removeprefix("Set ").partition(":")[0]
    report = report_on(path, reader, remedy, algo=algo)
    assert not report.problems and not report.lengths.vanished and not report.lengths.cut


def test_rows_that_lose_an_answer_or_its_end_are_counted(tmp_path: Path) -> None:
    """Half of the rows gone without a note."""
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": "a" * (10 * n), "completion": " is old."} for n in range(1, 31)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    spec = spec_of("algo=sft", "algo.max_length=105", "data=file", f"data.path={path}")
    reader = reader_of(byte_tokenizer(eos="</s>"))
    report = report_on(path, reader, "algo.max_length=105", "data.max_prompt_length=250")
    train = report.lengths
    assert {len(report.examples), len(train.prompts) - len(train.over_prompt[""])} == {
        len(report.examples)
    }
    vanished, cut, over = report.lengths.notes(spec, str)[1:], train.cut, train.over_prompt[""]
    assert len(train.vanished) == sum(105 <= length <= 250 for length in train.prompts)
    assert len(cut) == sum(96 < length < 105 for length in train.prompts)
    assert len(over) == sum(length > 250 for length in train.prompts)
    assert f"{len(train.vanished)} rows lose an answer to algo.max_length=105" in vanished[0]


@pytest.mark.parametrize(
    ("algo", "completion", "key"),
    [
        ("grpo", 128, "data.max_completion_length"),
        ("sft", 8, "algo.max_length"),
        ("ppo", 40, "data.max_completion_length"),
        ("dpo", 60, "data.max_completion_length"),
    ],
)
def test_more_tokens_than_positions_are_refused(
    algo: str, completion: int, key: str, tmp_path: Path
) -> None:
    """An index error in the middle of the first evaluation."""
    path, reader = pairs_file(tmp_path), reader_of(chat(kinds.CHATML), positions=48)
    overrides = (f"data.max_completion_length={completion}",)
    problems = report_on(path, reader, *overrides, algo=algo).problems
    (problem,) = [problem for problem in problems if problem.key == key]
    assert "48 positions" in problem.want
    remedies = problem.remedy.removeprefix("Set ").rstrip(".").split(" and ")
    again = report_on(path, reader, *overrides, *remedies, algo=algo).problems
    assert key not in {problem.key for problem in again}


def test_a_large_set_is_looked_at_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of rendering before each run; a warning that claims more than was seen."""
    monkeypatch.setattr("rlexp.data.rendering.row_report.MOST_CHECKED", 10)
    path = file_of(tmp_path, [SYSTEM, ASKED, ANSWER], count=100)
    spec = spec_of(
        "algo=sft", "model.chat=null", "data=file", f"data.path={path}", "data.eval_fraction=0.3"
    )
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    (warning,) = check_rows(spec, splits, reader_of(chat(kinds.IGNORES_ROLES)))
    assert f"(Of {len(splits.train)} rows" in warning


def test_all_mistakes_are_raised_together(tmp_path: Path) -> None:
    """One mistake a try."""
    path = file_of(tmp_path, [SYSTEM, ASKED, ANSWER])
    spec = spec_of("algo=sft", "data=file", f"data.path={path}", "data.eval_fraction=0.3")
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    with pytest.raises(UserError, match=r"rows.jsonl:\d+[\s\S]*model.chat_template=plain"):
        check_rows(spec, splits, reader_of(chat(kinds.GEMMA, **GEMMA)))


@pytest.mark.parametrize("around", ["$A </s>", "<s> $A </s>"])
def test_an_appended_end_token_is_taken_off(around: str, tmp_path: Path) -> None:
    """Prompts that end in an end token; training texts that end in two."""
    from transformers import AutoTokenizer

    tokenizer = byte_tokenizer(eos="</s>", bos="<s>", around=around)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded("a")["input_ids"][-1] == loaded.eos_token_id
    assert stop_appending(loaded) == "</s>"
    loaded.save_pretrained(tmp_path)
    for each in (loaded, AutoTokenizer.from_pretrained(tmp_path)):
        assert each("a")["input_ids"] == tokenizer("a")["input_ids"][:-1]
    assert stop_appending(loaded) is None
