"""`python -m rlexp import …` as people type it."""

from __future__ import annotations

import json
import shlex
from importlib import import_module
from pathlib import Path
from types import ModuleType

import feedback_exports as exports
import pytest
import yaml
from runs import SMALL, run_here
from typed_commands import typed

from rlexp.__main__ import main
from rlexp.cli.composed_run import compose_run
from rlexp.data.load import load_data
from rlexp.runtime.paths import CONF
from rlexp.spec.data import DataSource
from rlexp.spec.errors import UserError
from rlexp.spec.labelling import FeedbackColumns, ImportSpec
from rlexp.spec.rows import rows_read

command: ModuleType = import_module("rlexp.commands.import")


def test_keys_are_the_specs_fields() -> None:
    """A default that hides in Python, or a key of the yaml that nothing reads."""
    config = yaml.safe_load((CONF / "import.yaml").read_text(encoding="utf-8"))
    assert set(config) == set(ImportSpec.model_fields)
    assert set(config["columns"]) == set(FeedbackColumns.model_fields)


def test_an_export_becomes_a_version_that_a_run_reads(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A last line that is no path, a command that does not work when typed, rows that get lost."""
    exports.label_studio_csv(here / "votes.csv")
    assert main(["import", "votes.csv"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == "data/votes/v1/pairs.jsonl"
    assert shown[-2] == f"train on it: python -m rlexp algo=dpo data=file data.path={shown[-1]}"
    assert shown[-3] == "pairs: 5 rows, new"
    folder = here / "data" / "votes" / "v1"
    assert sorted(file.name for file in folder.iterdir()) == [
        *("card.md", "import.json", "judgements.jsonl", "pairs.jsonl")
    ]
    words = shlex.split(shown[-2])
    _, spec = compose_run([*words[words.index("rlexp") + 1 :], "data.eval_fraction=0.4"])
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    assert len(splits.train) + len(splits.heldout) == len(rows)
    assert rows[1] == {
        "prompt": exports.PROMPTS[2],
        "chosen": "2 is even.",
        "rejected": "2 is a fine number, and so on.",
        "votes": 2,
        "agreement": 1.0,
    }


@pytest.mark.long
def test_the_printed_command_trains(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that are read and cannot be trained on; a command that needs one more word."""
    rows = [
        {"prompt": f"The film {n} was", "a": " good.", "b": " a rather long bore.", "winner": side}
        for n, side in enumerate("abaa" * 10)
    ]
    exports.write_csv(here / "votes.csv", rows)
    assert main(["import", "votes.csv"]) == 0
    line = capsys.readouterr().out.splitlines()[-2]
    words = shlex.split(line.partition("python -m rlexp ")[2])
    run_here(here / "run", *words, *SMALL, "eval.prompts=4")
    assert (here / "run" / "model").is_dir()


@pytest.mark.parametrize(
    ("make", "file", "words", "algo", "rows"),
    [
        ("scored_completions", "x.jsonl", ["rows=completions"], "dpo", 6),
        ("prodigy_binary", "x.jsonl", [], "kto", 5),
        ("arena", "x.jsonl", [], "dpo", 3),
    ],
)
def test_every_form_of_rows_is_read_by_data_file(
    make: str, file: str, words: list[str], algo: str, rows: int, here: Path
) -> None:
    """Completions, labels or conversations that `data=file` takes for something else."""
    getattr(exports, make)(here / file)
    assert main(["import", file, *words]) == 0
    files = [p for p in (here / "data" / "x" / "v1").glob("*.jsonl") if p.stem != "judgements"]
    _, spec = compose_run([f"algo={algo}", "data=file", f"data.path={files[0]}"])
    assert isinstance(spec.data, DataSource)
    assert len(spec.data.read().train) == rows


def test_judgements_can_be_imported_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A normal form that says less than the export, or is not understood by its own reader."""
    exports.german_sheet(here / "sheet.csv")
    assert main(["import", "sheet.csv", *exports.GERMAN, "name=one"]) == 0
    assert main(["import", "data/one/v1/judgements.jsonl", "name=two"]) == 0
    one, two = (here / "data" / name / "v1" / "pairs.jsonl" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    capsys.readouterr()
    assert main(["import", "sheet.csv", *exports.GERMAN, "name=one"]) == 0
    assert "there already" in capsys.readouterr().out
    assert not (here / "data" / "one" / "v2").exists()


def test_several_files_are_one_export(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file a person, whose verdicts are never compared."""
    for who in ("anna", "ben"):
        rows = [
            {"prompt": p, "a": "x", "b": "y", "winner": "ab"[n % 2], "annotator": who}
            for n, p in enumerate(exports.PROMPTS)
        ]
        exports.write_csv(here / f"{who}.csv", rows)
    assert main(["import", "anna.csv", "ben.csv", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["votes_per_item"] == {"2": 6}
    measures = {entry["measure"]: entry for entry in report["agreement"]}
    assert measures["Cohen's kappa"]["value"] == 1.0
    assert report["path"] == "data/anna/v1/pairs.jsonl"
    assert set(report["sources"]) == {"anna.csv", "ben.csv"}
    stored = json.loads((here / "data" / "anna" / "v1" / "import.json").read_text())
    assert {**stored, "path": report["path"]} == report


def test_a_dry_run_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder made by a look."""
    exports.arena(here / "battles.jsonl")
    assert main(["import", "battles.jsonl", "--dry-run"]) == 0
    assert "dry run" in capsys.readouterr().out.splitlines()[-1]
    assert [path.name for path in here.iterdir()] == ["battles.jsonl"]


def test_strangers_words_are_shown_as_text(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An annotator's name that is markup on the terminal, or a table's column in the card."""
    rows = [
        {"prompt": p, "a": "x", "b": "y", "winner": "a", "annotator": "[red]eve|<b>\x1b[1m"}
        for p in exports.PROMPTS
    ]
    exports.write_csv(here / "x.csv", rows)
    assert main(["import", "x.csv"]) == 0
    shown = capsys.readouterr().out
    assert "[red]eve|<b>" in shown and "\x1b" not in shown
    card = (here / "data" / "x" / "v1" / "card.md").read_text(encoding="utf-8")
    assert r"\[red\]eve\|\<b\>" in card and "eve|" not in card


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["votes.csv", "tie=both", "seed=-1"], ["tie: got an unknown key", "seed: got -1"]),
        (["votes.csv", "columns.winer=x"], ["Did you mean columns.winner?"]),
        (["vote.csv"], ["FILE: got vote.csv, which is not there", "Did you mean votes.csv?"]),
        (["ties=both"], ["FILE: got none"]),
        (["votes.csv", "name=../x"], ["name: got '../x'", "a folder's name"]),
        (["votes.csv", "xyzzy=1"], ["`python -m rlexp import --help` shows all keys."]),
        (["votes.csv", "--jsn"], ["--jsn"]),
        (["votes.csv", "min_votes=9"], ["no row to train on (fewer than 9 votes (min_votes): 6)"]),
        (["votes.csv", "without=[1,2]"], ["no verdict that counts (1 is left out (without): 6;"]),
    ],
)
def test_mistakes_end_with_2(words: list[str], parts: list[str], here: Path) -> None:
    """A traceback, torch imported for a typo, a mistake without a remedy."""
    exports.label_studio_csv(here / "votes.csv")
    done = typed("import", *words, folder=here)
    assert done.returncode == 2, done.stdout
    for part in parts:
        assert part in done.stderr
    assert not (here / "data").exists()


def test_help_shows_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys that only the source tells."""
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    shown = capsys.readouterr().out
    assert all(f"{key}:" in shown for key in ImportSpec.model_fields)


def test_names_of_people_and_columns_are_taken_as_typed() -> None:
    """Worker 007 who becomes 7; a label with an equals sign; a name of Hydra's grammar."""
    words = ["f.csv", "without=[007, 'b c']", "labels.A=B=tie", "columns.a=links", "extra=[topic]"]
    files, spec = command.parse_import(words)
    assert files == ["f.csv"]
    assert (spec.without, spec.labels) == (["007", "b c"], {"A=B": "tie"})
    assert (spec.columns.a, spec.extra) == ("links", ["topic"])
    _, spec = command.parse_import(["f.csv", "labels={links: a, 3: b}"])
    assert spec.labels == {"links": "a", "3": "b"}
    with pytest.raises(UserError, match="on_error: got 'keep'"):
        command.parse_import(["f.csv", "on_error=keep"])
