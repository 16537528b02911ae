"""Take runs away, with their folders, checkpoints, logged models and artifacts

`python -m rlexp rm RUN … [--yes] [--keep-folder] [tracking.uri=URI] [tracking.experiment=NAME]`

RUN is a run's id or its beginning, a name (all runs of that name), a folder, a sweep, whose trials
go with it, or a filter such as `status=FAILED`. What goes is listed, and you are asked. A run that
is alive stays, as does one that a registered model comes from. After an interruption the same
command finishes what it began.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rlexp.cli.arguments import Parser, store_of
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.query.records import Records
from rlexp.tracking.query.removal import Removal, plan_removal, remove


def run(argv: list[str]) -> int:
    """List, ask, remove; return 0 also when the answer is no.

    Raises `UserError` for words that name no run, runs that must stay, and nobody to ask.
    """
    parser = Parser("rm", __doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--keep-folder", action="store_true", help="only what is in MLflow")
    uri, experiment, rest = store_of(argv)
    options = parser.parse_intermixed_args(rest)
    if not options.yes and not sys.stdin.isatty():
        want, remedy = "somebody to ask, or --yes", "Add --yes if you are sure."
        raise UserError(Problem("rm", "no terminal", want, remedy))
    with Records.open(uri, experiment) as records:
        chosen = records.select(options.runs)
        removals = plan_removal(records, chosen, keep_folder=options.keep_folder)
        print("\n".join(_listed(removals)))
        if not options.yes and input("Take away? [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing was changed.")
            return 0
        for removal in removals:
            for stayed in remove(records, removal):
                print(f"Left where it is: {stayed}", file=sys.stderr)
            print(f"{removal.record.run_id[:8]} {removal.record.name} is gone.", flush=True)
    return 0


def _listed(removals: Sequence[Removal]) -> list[str]:
    lines = []
    for removal in removals:
        record = removal.record
        kind = " (the sweep itself)" if record.is_sweep else ""
        lines.append(f"{record.run_id[:8]} {record.name}{kind}, {record.status.lower()}")
        if removal.folder:
            checkpoints = _counted(removal.checkpoints, "checkpoint")
            lines.append(f"    {removal.folder}: {_size(removal.folder_bytes)}, {checkpoints}")
        elif record.folder:
            lines.append(f"    {record.folder} stays: kept, or not on this machine")
        models = _counted(len(removal.models), "logged model")
        lines.append(f"    MLflow: {_size(removal.artifact_bytes)} of artifacts, {models}")
    total = sum(removal.folder_bytes + removal.artifact_bytes for removal in removals)
    return [*lines, f"{_counted(len(removals), 'run')}, {_size(total)}"]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
