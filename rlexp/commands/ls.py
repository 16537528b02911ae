"""The runs that are tracked here, newest first: what they did to the reward, and how they ended

`python -m rlexp ls [filter …] [-n 20] [--all] [tracking.uri=URI] [tracking.experiment=NAME]`

A filter is a parameter (`algo.beta=0.05`), a group (`algo=ppo`), `status=FAILED`, `name=NAME` or
`tags.NAME=VALUE`; several must all be true. A sweep is one line, and `--all` lists its trials; a
word without `=` names runs, or a sweep whose trials are then listed. A run that MLflow takes for
running while its process is gone shows as dead.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from rlexp.cli.arguments import Parser, console_of_width, store_of
from rlexp.rendering.numbers import short
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.query.conditions import RunFilter, no_such_run
from rlexp.tracking.query.record import PIPELINE_KEY_TAG
from rlexp.tracking.query.records import Record, Records
from rlexp.tracking.secrets import redacted
from rlexp.tracking.store.read_only import FIRST_RUN

REWARD = "eval/reward"
UNKNOWN = "–"
COLORS = {"finished": "green", "running": "cyan", "failed": "red", "dead": "red", "died": "red"}
COLUMNS = ("run", "name", "status", "algo", "model", "data", "reward", "took", "began")
CUT_OFF = ("name", "algo", "model", "data")
"""Columns that may be cut off where the terminal is narrow."""
STATUS = COLUMNS.index("status")
PIPED_WIDTH = 1000  # of lines that a program reads: nothing is cut off


@dataclass(frozen=True)
class Line:
    """A run of the list, or a sweep with its trials; a trial that is listed is `indented`."""

    record: Record
    trials: list[Record] = field(default_factory=list)
    indented: bool = False


def run(argv: list[str]) -> int:
    """Print the list; an empty one is no mistake.

    Raises `UserError` for no store, a store that does not answer, a filter that says nothing.
    """
    parser = Parser("ls", __doc__)
    parser.add_argument("words", nargs="*", metavar="filter")
    parser.add_argument("-n", type=int, default=20, metavar="COUNT", help="lines at most")
    parser.add_argument("--all", action="store_true", help="list the trials of sweeps, too")
    uri, experiment, rest = store_of(argv)
    options = parser.parse_intermixed_args(rest)
    if options.n < 1:
        raise UserError(Problem("-n", str(options.n), "a number of lines, 1 or more"))
    filters = [RunFilter.filter(word) for word in options.words if "=" in word]
    named = [word for word in options.words if "=" not in word]
    with Records.open(uri, experiment) as records:
        lines = list(islice(_lines(records, filters, named, options.all, options.n), options.n + 1))
        if lines:
            _print(records, lines[: options.n], more=len(lines) > options.n)
        else:
            print(_nothing(records, filters))
    return 0


def _lines(
    records: Records, filters: Sequence[RunFilter], named: Sequence[str], unfolded: bool, count: int
) -> Iterator[Line]:
    if named:
        runs = records.find(named)
        yield from (Line(run) for run in runs if all(condition.fits(run) for condition in filters))
    elif filters:
        yield from map(Line, records.all(count + 1, filters))
    else:
        for record in records.top(count + 1):
            trials = records.trials(record) if record.is_sweep else []
            yield Line(record, trials)
            if unfolded:
                yield from (Line(trial, indented=True) for trial in trials)


def _nothing(records: Records, filters: Sequence[RunFilter]) -> str:
    """Return the message for an empty list. Raises `UserError` where no run has such a key."""
    runs = records.all()
    if not runs:
        return f"No runs in {redacted(records.uri)} yet. {FIRST_RUN}"
    problems = [
        no_such_run(str(condition), runs)
        for condition in filters
        if all(condition.value_of(run) is None for run in runs)
    ]
    if problems:
        raise UserError(problems)
    return f"None of {len(runs)} runs has {' '.join(map(str, filters))}"


def _print(records: Records, lines: Sequence[Line], *, more: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    console = console_of_width(PIPED_WIDTH)
    rows = [list(_cells(records, line)) for line in lines]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name in COLUMNS:
        # Only columns that may wrap are made narrower; their cells below are cut off instead.
        table.add_column(name, no_wrap=name not in CUT_OFF, min_width=4)
    for row in rows:
        cells = [Text(text, no_wrap=True, overflow="ellipsis") for text in row]
        cells[STATUS].stylize(COLORS.get(row[STATUS], "yellow"))
        table.add_row(*cells)
    console.print(table)
    if more:
        console.print(f"Older ones: -n {2 * len(lines)}", style="dim")


def _cells(records: Records, line: Line) -> Iterator[str]:
    record = line.record
    yield record.run_id[:8]
    count = len(line.trials)
    kind = "stage" if PIPELINE_KEY_TAG in record.tags else "trial"
    trials = f" ({count} {kind}{'s' * (count != 1)})" if record.is_sweep else ""
    yield f"{'  ' if line.indented else ''}{record.name}{trials}"
    status = _status(record)
    yield status
    for key in ("algo.name", "model.name", "data.name"):
        yield _common([run.params.get(key, UNKNOWN) for run in line.trials or [record]])
    is_pipeline = PIPELINE_KEY_TAG in record.tags
    yield _best(line.trials) if record.is_sweep and not is_pipeline else _change(records, record)
    ended = record.ended or (int(time.time() * 1000) if status == "running" else None)
    yield _duration((ended - record.started) / 1000) if ended else UNKNOWN
    yield _moment(record.started)


def _status(record: Record) -> str:
    """Return MLflow's status, or why it was killed, or that it is dead without MLflow's knowing."""
    if record.is_dead:
        return "dead"
    state = record.tags.get("state") if record.status == "KILLED" else None
    return (state or record.status).lower()


def _common(values: Sequence[str]) -> str:
    different = list(dict.fromkeys(values))
    return different[0] if len(different) == 1 else f"{len(different)} of them"


def _change(records: Records, record: Record) -> str:
    """Return the reward on held-out prompts before training, and at last: `0.02→0.93`."""
    if REWARD not in record.metrics:
        return UNKNOWN
    points = records.points(record, REWARD)
    ends = [points[0], points[-1]] if len(points) > 1 else points
    return "→".join(short(value) for _, value in ends)


def _best(trials: Sequence[Record]) -> str:
    rewards = [trial.metrics[REWARD] for trial in trials if REWARD in trial.metrics]
    return f"best {short(max(rewards))}" if rewards else UNKNOWN


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _moment(milliseconds: int) -> str:
    when, now = datetime.fromtimestamp(milliseconds / 1000), datetime.now()
    if when.date() == now.date():
        return f"{when:%H:%M}"
    return f"{when:%d %b}" if when.year == now.year else f"{when:%Y-%m-%d}"
