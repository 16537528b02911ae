"""What a run says of its rows before it begins, and keeps on its card."""

from __future__ import annotations

import json
from pathlib import Path

import chat_tokenizers as kinds
import pytest
from chat_tokenizers import byte_tokenizer, save_chat_model
from runs import SHORT, run_here, run_of

from rlexp.runtime.run_folder import SPOOL
from rlexp.spec.errors import UserError


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Of a model whose template ignores the system, and rows of growing length."""
    root = tmp_path_factory.mktemp("rows")
    model = save_chat_model(root / "model", byte_tokenizer(kinds.IGNORES_ROLES))
    rows = [
        {
            "prompt": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": f"{n} " * n},
            ],
            "completion": [{"role": "assistant", "content": "Yes, so it is."}],
        }
        for n in range(1, 61)
    ]
    path = root / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return (
        "algo=sft", "model=local", f"model.path={model}", "peft=none", "data=file",
        f"data.path={path}", "data.eval_fraction=0.3", "data.max_completion_length=8",
    )  # fmt: skip


def test_a_mistake_ends_the_run_before_it_begins(words: tuple[str, ...], tmp_path: Path) -> None:
    """A failed run in the store, and a traceback instead of the key."""
    with pytest.raises(UserError, match=r"algo.max_length: got 16, which cuts off all"):
        run_here(tmp_path / "run", *SHORT, *words, "algo.max_length=16")
    assert not (tmp_path / "run" / SPOOL).exists()


@pytest.mark.long
def test_the_card_keeps_what_is_lost(words: tuple[str, ...], tmp_path: Path) -> None:
    """Rows that vanish in the trainer; a warning that only scrolls by."""
    notes = "\n".join(run_of(tmp_path / "run", *words, "algo.max_length=120")["notes"])
    assert "the template leaves out the system turn" in notes
    assert "rows lose an answer to algo.max_length=120 and were left out, the first at" in notes
    assert "rows lose the end of an answer to algo.max_length=120" in notes
