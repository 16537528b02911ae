"""`python -m rlexp evaluate`: cards of models trained here and elsewhere, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from runs import rlexp
from small_evaluation import REWARD, ROWS, SPEC
from tiny_policy import TinyPolicy

from rlexp.__main__ import main
from rlexp.builtin import tiny
from rlexp.evaluation.best_of_n.samples import sample_best_of_n
from rlexp.evaluation.policy import evaluate
from rlexp.spec.errors import UserError
from rlexp.spec.eval import EvalSpec

QUICK = ("tracking=none", "hardware.threads=1")


def cards_in(folder: Path) -> list[dict[str, Any]]:
    found = sorted(folder.glob("outputs/*/*/card.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in found]


def test_a_run_is_evaluated_to_the_numbers_of_its_own_card(whole: Path, here: Path) -> None:
    """Other weights, another reference or other prompts than the run's, or a step that trains."""
    assert main(["evaluate", str(whole), str(whole / "model"), *QUICK]) == 0
    own = json.loads((whole / "card.json").read_text(encoding="utf-8"))
    for card in cards_in(here):
        assert (card["algo"], card["status"]) == ("evaluate", "FINISHED")
        for part in ("before", "after", "intervals", "changes", "win_rate", "gains"):
            assert card[part] == own[part], part
        assert card["name"] == f"evaluate-{own['name']}"
    assert len(cards_in(here)) == 2


@pytest.mark.long
def test_a_model_alone_and_against_another(whole: Path, here: Path) -> None:
    """A model that nobody trained here has no before; with --against it has one, and KL to it."""
    alone = shutil.copytree(whole / "model", here / "mine")
    small = ("eval=quick", "eval.prompts=8", "reward=length", "eval.best_of=2", *QUICK)
    assert main(["evaluate", str(alone), *small]) == 0
    assert main(["evaluate", "mine", "--against", "builtin:tiny", *small]) == 0
    first, second = cards_in(here)
    assert first["before"] == {} and first["win_rate"] is None
    assert not {"kl", "kl_sequence", "reference_perplexity"} & set(first["after"])
    assert second["after"]["kl_sequence"] > 0 and second["before"]["kl"] == 0.0
    assert second["frontier"]["best_of"][-1]["n"] == 2 and second["control"] is not None
    assert second["after"]["reward"] == first["after"]["reward"]
    assert second["guards"] == []


def test_wrong_words_are_told_together(whole: Path, here: Path, capsys: Any) -> None:
    """Everything at once, nothing written, exit status 2."""
    (here / "empty").mkdir()
    words = ["./nothing", "empty", str(whole), "reward=lenth", "eval.prmpts=3"]
    assert main(["evaluate", *words, *QUICK]) == 2
    told = capsys.readouterr().err
    for wanted in ("no such folder", "a folder without either", "Did you mean reward=length?"):
        assert wanted in told
    assert "Did you mean eval.prompts?" in told
    words = [str(whole), "eval.texts_path=no", "eval.slices=[topic]"]
    assert main(["evaluate", *words, *QUICK]) == 2
    told = capsys.readouterr().err
    assert "eval.texts_path: got no, which is not there" in told and "eval.slices" in told
    assert main(["evaluate", "reward=length"]) == 2
    assert not (here / "outputs").exists()


def test_an_evaluation_imports_nothing_heavy_before_it_is_valid(here: Path) -> None:
    """A wrong word that waits for torch."""
    done = rlexp("evaluate", "./nothing", folder=here, environment={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 2
    assert not [name for name in ("torch", "trl", "mlflow") if f"| {name}\n" in done.stderr]


def test_texts_of_the_users_own(tmp_path: Path) -> None:
    """Paragraphs, columns, and files that hold neither."""
    from rlexp.data.perplexity_texts import read_texts

    book = tmp_path / "book.txt"
    book.write_text("One\nline.\n\n \nTwo.\n", encoding="utf-8")
    assert read_texts(str(book)) == ["One\nline.", "Two."]
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a b"}\n{"words": "c"}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"rows.jsonl:2: got words"):
        read_texts(str(rows))
    rows.write_text('{"text": "a b"}\n{"text": " "}\n', encoding="utf-8")
    assert read_texts(str(rows)) == ["a b"]


def test_an_untrained_policy_is_no_distance_from_itself() -> None:
    """KL that is computed, not assumed, is 0 against the same weights; a second sample of them
    wins half; and what the first sample was is left alone."""
    policy = TinyPolicy()
    policy.initial = policy.model
    sizes: dict[str, Any] = {"prompts": 10, "completions": 6, "best_of": 6, "best_of_prompts": 10}
    spec = EvalSpec(**(SPEC | sizes))
    rows = [*ROWS]
    found = evaluate(policy, rows, REWARD, [], spec, trained=True, grammatical=None)
    assert found.metrics["kl"] == found.metrics["kl_sequence"] == 0.0
    draws = sample_best_of_n(policy, rows, REWARD, spec)
    assert draws.rewards != found.rewards  # another sample, not the same once more
    control = draws.control(found, 500, 0)
    assert control is not None and control.low is not None and control.high is not None
    assert control.low <= 0.5 <= control.high


@pytest.fixture(scope="module", autouse=True)
def tiny_model() -> Path:
    """The embedded model, made once."""
    return tiny.ensure_tiny_model()
