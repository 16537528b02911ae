"""Runs side by side: what differs, what came of it, and whether that is more than noise

`python -m rlexp compare RUN RUN … [--html FILE.html] [--metric NAME …] [tracking.uri=URI]`

A RUN is an id or its beginning, a name, the folder of a run or of a sweep, a sweep's name, or a
filter such as `algo=ppo`; where a word names several runs the oldest goes first. All are compared
with the first of all. A folder is read as it is, without a tracking store. `--metric` (as often as
you like; `reward` is `eval/reward`) takes the place of all that evaluations measure. Nothing is
written but the page that `--html` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.cli.arguments import Parser, console_of_width, page_problems, store_of
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.query.folder_source import FolderRecords, run_folders
from rlexp.tracking.query.record import Record
from rlexp.tracking.query.records import Records
from rlexp.tracking.secrets import redacted_values

if TYPE_CHECKING:
    from rlexp.comparison.gather import RunSource
    from rlexp.comparison.run_data import Run

KEY = "compare"
LISTED = "`python -m rlexp ls` lists"


def run(argv: list[str]) -> int:
    """Print the comparison, and write its page where one is asked for.

    Raises `UserError` for fewer than two runs, a word that names none, a metric that none has, and
    a page that cannot be written.
    """
    parser = Parser(KEY, __doc__)
    parser.add_argument("words", nargs="*", metavar="RUN")
    parser.add_argument("--html", type=Path, metavar="FILE.html", help="write the page there")
    parser.add_argument("--metric", action="append", default=[], metavar="NAME")
    uri, experiment, rest = store_of(argv)
    options = parser.parse_intermixed_args(rest)
    problems = page_problems(options.html)
    if not options.words:
        remedy = f"{LISTED} the runs that there are."
        problems.insert(0, Problem(KEY, "no run", "two runs or more", remedy))
    if problems:
        raise UserError(problems)
    with ExitStack() as open_things:
        records = _find(options.words, uri, experiment, open_things)
        if len(records) < 2:
            name = next((f"only {run.name} ({run.run_id[:8]})" for run, _ in records), "no run")
            raise UserError(
                Problem(KEY, name, "two runs or more", f"Name another one: {LISTED} them.")
            )
        from rlexp.comparison.compare import compare
        from rlexp.comparison.gather import gather
        from rlexp.comparison.page import write_comparison_page
        from rlexp.comparison.terminal import print_comparison

        runs = [gather(run, source, "DEAD" if run.is_dead else None) for run, source in records]
        # A page is passed on, and a folder's config has the addresses with their passwords.
        runs = [replace(run, config=redacted_values(run.config)) for run in runs]
    metrics = _full_names(options.metric, runs)
    comparison = compare(runs, metrics)
    console = console_of_width()
    print_comparison(comparison, console)
    console.print()
    if options.html:
        write_comparison_page(comparison, options.html, metrics)
        console.print(f"page: {options.html}", markup=False, soft_wrap=True)
    else:
        console.print("All curves and samples as a page: add --html compare.html")
    return 0


def _find(
    words: Sequence[str], uri: str, experiment: str | None, open_things: ExitStack
) -> list[tuple[Record, RunSource]]:
    """Return the runs that the words name, none twice, with where each is read."""
    records: dict[str, tuple[Record, RunSource]] = {}
    problems: list[Problem] = []
    folders = FolderRecords()
    store: Records | None = None
    for word in words:
        if places := run_folders(Path(word)):
            named = [(folders.read(place), folders) for place in places]
        else:
            try:
                store = store or open_things.enter_context(Records.open(uri, experiment))
                in_time = sorted(store.find([word]), key=lambda record: record.started)
            except UserError as error:
                problems += error.problems
                continue
            named = [(record, store) for record in in_time]
        for record, source in named:
            records.setdefault(record.run_id, (record, source))
    if problems:
        raise UserError(problems)
    return list(records.values())


def _full_names(typed: Sequence[str], runs: Sequence[Run]) -> list[str]:
    known = sorted({name for run in runs for name in run.final})
    full = [name if "/" in name else f"eval/{name}" for name in typed]
    problems = []
    for name in full:
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.4)
            remedy = f"Did you mean {' or '.join(near)}?" if near else ""
            problems.append(Problem("--metric", name, "a metric that one of the runs has", remedy))
    if problems:
        raise UserError(problems)
    return list(dict.fromkeys(full))
