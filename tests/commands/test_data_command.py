"""`python -m rlexp data`: rows as the trainer will see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import chat_tokenizers as kinds
import pytest
from chat_tokenizers import byte_tokenizer, save_chat_model
from mixes import labelled, mix_of

from rlexp.commands.data import run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("model"), byte_tokenizer(kinds.CHATML))


def written(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"data.path={path}"


def pairs(count: int = 30, **more: Any) -> list[dict[str, Any]]:
    return [
        {"prompt": f"Lamp {n}?", "chosen": f"Lamp {n} is old, and bright.", "rejected": "No."}
        | more
        for n in range(count)
    ]


def shown(
    capsys: pytest.CaptureFixture[str], model: Path, *words: str, status: int = 0
) -> tuple[str, str]:
    local = ("model=local", f"model.path={model}", "peft=none", "data=file")
    assert run([*local, *words]) == status
    return capsys.readouterr()


def test_pairs(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Marks that are not what is learnt; a template's tokens that cannot be seen."""
    rows = written(tmp_path, pairs())
    out, _ = shown(capsys, model, "algo=dpo", rows, "data.eval_fraction=0.3", "--rows", "1")
    lines = out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("row 1 · "))
    assert "rows.jsonl:" in lines[first]
    assert lines[first + 2 : first + 6] == [
        "  <|im_start|>user⏎",
        lines[first + 3],
        "  <|im_start|>assistant⏎",
        lines[first + 5],
    ]
    assert lines[first + 3].endswith("?<|im_end|>⏎") and lines[first + 5].startswith("  [Lamp ")
    assert "[No.<|im_end|>⏎" in out
    assert "the chosen one is longer in 100% of pairs: length alone tells them apart" in out
    assert "prompts, tokens: " in out and "█" in out
    assert "nothing to look at" in out


def test_text_does_nothing_but_show_itself(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that clears the terminal, or is read as markup."""
    rows = written(tmp_path, pairs(chosen="\x1b[2J [bold]Old.[/bold]\u202e"))
    out, _ = shown(capsys, model, "algo=sft", rows, "data.eval_fraction=0.3")
    assert "\x1b" not in out and "\\x1b[2J [bold]Old.[/bold]\\u202e" in out


def test_repeats_leaks_and_labels(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A held-out score that is memory; rows that count twice."""
    labelled = [
        {"prompt": f"Lamp {n}?", "completion": f"Number {n % 4}.", "label": n % 3 > 0}
        for n in range(30)
    ]
    heldout = tmp_path / "heldout.jsonl"
    seen = [{**row, "prompt": row["prompt"].upper()} for row in labelled[:5]]
    heldout.write_text("".join(json.dumps(row) + "\n" for row in seen), encoding="utf-8")
    rows = written(tmp_path, [*labelled, labelled[3]])
    out, _ = shown(capsys, model, "algo=kto", rows, f"data.heldout_path={heldout}")
    assert "rows that repeat an earlier one: 1, the first at" in out and "rows.jsonl:31" in out
    assert "but for case and punctuation: 5 of 5, the first at" in out
    assert "held-out rows with an answer that is trained on: 5 of 5" in out
    assert "labels: 20 true, 11 false" in out


def test_a_mix_is_told_by_source(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lengths and leaks of a small source, lost among those of a large one."""
    twice = [*labelled("Lamp", 40), *labelled("Lamp", 3)]
    words = mix_of(tmp_path, a=twice, b=labelled("A very much longer lamp", 20))
    seen = tmp_path / "seen.jsonl"
    seen.write_text(json.dumps({**twice[0], "prompt": "LAMP 0?"}) + "\n", encoding="utf-8")
    heldout = f"data.sources.a.heldout_path={seen}"
    local = ("model=local", f"model.path={model}", "peft=none", "algo=kto")
    assert run([*local, *words, heldout, "data.sources.b.eval_fraction=0.3"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert "  a: 43 training rows, 1 held out" in lines
    rows = [line for line in lines if line.startswith("row ")]
    assert "a.jsonl" in rows[0] and "b.jsonl" in rows[1]
    of_b = [line for line in lines if line.startswith("  b: ") and "median" in line]
    assert len(of_b) == 3
    assert "  a: rows that repeat an earlier one: 3, the first at" in out
    assert "  a: held-out prompts that are trained on, but for case and punctuation: 1 of 1" in out
    assert "  b: held-out prompts" not in out and "  a: labels: 22 true, 21 false" in out


def test_what_no_run_can_begin_with_is_shown_and_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake without the rows that show it; exit status 0."""
    rows = written(tmp_path, pairs())
    words = ("algo=dpo", "algo.max_length=16", rows, "data.eval_fraction=0.3")
    out, err = shown(capsys, model, *words, status=2)
    assert "left out: nothing of an answer is left" in out
    assert "algo.max_length: got 16, which cuts off all" in err


def test_a_mistyped_key_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Words that the run itself would not take."""
    assert run(["algo=dpo", "algo.betaa=1"]) == 2
    assert "Did you mean algo.beta?" in capsys.readouterr().err
