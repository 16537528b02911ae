"""People's judgements in a file as a data set to train on, their agreement reported first

`python -m rlexp import FILE … [key=value] … [--dry-run] [--json]`

FILE is an export of Label Studio, Argilla, Prodigy, an arena, or a spreadsheet: csv, jsonl, json or
parquet, a judgement a line. Reported are agreement (Krippendorff's alpha, Fleiss' and Cohen's
kappa), ties, each annotator's habits, leanings to the first or the longer answer, repeated and
contradictory verdicts. The rows go to data/NAME/v1, v2, …, with the report beside them; the last
line is their path.

  python -m rlexp import votes.csv
  python -m rlexp import votes.csv columns.prompt=Frage columns.winner=Wahl labels.links=a
  python -m rlexp import ratings.jsonl rows=labelled threshold=4 --dry-run
"""

from __future__ import annotations

import json
import shlex
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.cli.arguments import Parser, console_of_width
from rlexp.cli.exit_status import reported
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_paths
from rlexp.spec.labelling import ImportSpec
from rlexp.spec.validation import validate

if TYPE_CHECKING:
    from rlexp.labelling.reading import Feedback
    from rlexp.labelling.report import FeedbackReport
    from rlexp.labelling.rows import FeedbackRows

DEFAULTS = CONF / "import.yaml"
WIDTH = 120
"""Columns of the tables where the output is no terminal."""
TRAINED_BY = {"pairs": "dpo", "completions": "dpo", "labelled": "kto"}
"""An algorithm that learns from rows of each form."""


def run(argv: list[str]) -> int:
    """Import; the exit status, 2 for judgements that cannot be right."""
    return reported(lambda: _import(argv))


def _import(argv: Sequence[str]) -> None:
    keys = DEFAULTS.read_text(encoding="utf-8").partition("\n")[2]
    parser = Parser("import", f"{__doc__}\nKeys, with their defaults:\n\n{keys}")
    parser.add_argument("words", nargs="+", metavar="FILE|key=value")
    parser.add_argument("--dry-run", action="store_true", help="report, and write nothing")
    parser.add_argument("--json", action="store_true", help="print the report as json")
    options = parser.parse_intermixed_args(argv)
    files, spec = parse_import(options.words)

    from rlexp.labelling.items import collect_items
    from rlexp.labelling.reading import read_feedback
    from rlexp.labelling.rows import rows_of

    feedback = read_feedback(files, spec)
    collected = collect_items(feedback.judgements, spec.contradictions == "last")
    if not any(item.votes for item in collected.items):
        raise UserError(Problem(files[0], f"no verdict that counts{_why(feedback)}", "judgements"))
    made = rows_of(collected.items, feedback.layout.shape, spec)

    from rlexp.labelling.presentation import print_feedback_report
    from rlexp.labelling.report import examine_feedback

    report = examine_feedback(", ".join(files), feedback, collected, made, spec)
    if not options.json:
        print_feedback_report(report, console_of_width(WIDTH, markup=False))
        print()
    if not made.rows:
        got = f"no row to train on{_why(made)}"
        remedy = "min_votes, min_agreement, ties and margin decide what becomes one."
        raise UserError(Problem(files[0], got, "one row at least", remedy))
    _finish(options, files, spec, feedback, made, report)


def parse_import(words: Sequence[str]) -> tuple[list[str], ImportSpec]:
    """Return the files that the words name, and how to import them.

    Names of columns, labels and annotators are texts as they are typed, in any script; other values
    are read as in a run's words.

    Raises:
        UserError: with every mistake among them.
    """
    import yaml

    from rlexp.config.overrides import overridden

    config = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))
    known = [*key_paths(config)]
    problems: list[Problem] = []
    files, others = [], []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or Path(word).is_file():
            files.append(word)
        elif key.startswith("labels."):  # a word that people say may hold anything but a meaning
            said, _, meaning = word.removeprefix("labels.").rpartition("=")
            config["labels"][said] = meaning
        elif key in known and key.startswith("columns."):
            config["columns"][key.removeprefix("columns.")] = None if value == "null" else value
        elif key == "without":
            names = value.removeprefix("[").removesuffix("]").split(",")
            config["without"] = [name.strip(" '\"") for name in names if name.strip()]
        else:
            others.append(word)
    if not files:
        problems.append(Problem("FILE", "none", "a file of judgements", "Name it: import FILE"))
    config = overridden(config, others, (), lambda key: False, problems)
    spec = validate(ImportSpec, config, "", known, problems)
    if problems or spec is None:
        remedy = "`python -m rlexp import --help` shows all keys."
        raise UserError(
            replace(problem, remedy=problem.remedy.replace("`--cfg job` shows all keys.", remedy))
            for problem in problems
        )
    return files, spec


def _why(result: Feedback | FeedbackRows) -> str:
    reasons = "; ".join(f"{reason}: {count}" for reason, count in result.left_out.items())
    return f" ({reasons})" if reasons else ""


def _finish(
    options: Namespace,
    files: list[str],
    spec: ImportSpec,
    feedback: Feedback,
    made: FeedbackRows,
    report: FeedbackReport,
) -> None:
    """Write the version, and say where it is and how to train on it."""
    from rlexp.labelling.cautions import cautions
    from rlexp.labelling.dataset import (
        CARD,
        JUDGEMENTS,
        REPORT,
        as_jsonl,
        judgement_rows,
        save_version,
    )
    from rlexp.labelling.presentation import feedback_card

    command = shlex.join(["python", "-m", "rlexp", "import", *options.words])
    sources = {file: sha256(Path(file).expanduser().read_bytes()).hexdigest() for file in files}
    about: dict[str, Any] = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "sources": sources,
        "settings": spec.model_dump(),
        "columns": feedback.layout.paths,
        **report.as_json(),
        "warnings": [vars(caution) for caution in cautions(report)],
    }
    rows_file = f"{made.format}.jsonl"
    path, state = None, "dry run: nothing is written"
    if not options.dry_run:
        judgements = judgement_rows(feedback.judgements, feedback.layout.shape)
        content = {rows_file: as_jsonl(made.rows), JUDGEMENTS: as_jsonl(judgements)}
        digests = {f"sha256 of {file}": digest for file, digest in sources.items()}
        card = feedback_card(report, {"command": command, **digests})
        described = {REPORT: json.dumps(about, ensure_ascii=False, indent=1), CARD: card}
        parent = Path(spec.to).expanduser() / (spec.name or Path(files[0]).stem)
        saved = save_version(parent, content, described)
        path = saved.folder / rows_file
        state = "new" if saved.is_new else "there already: the same judgements made the same rows"
    if options.json:
        print(json.dumps({**about, "path": path and str(path)}, ensure_ascii=False, indent=1))
        return
    print(f"{made.format}: {len(made.rows)} rows, {state}")
    if path is not None:
        data = shlex.quote(f"data.path={path}")
        print(f"train on it: python -m rlexp algo={TRAINED_BY[made.format]} data=file {data}")
        print(path)
