"""Go on with a run that was killed, stopped or failed, or train a finished one for longer

`python -m rlexp resume RUN [train.max_steps=N …]`: RUN is the run's folder, its MLflow id or the
id's beginning, or its name. It goes on from its last complete checkpoint, in the same MLflow run,
as if nothing had happened. Steps, checkpoints, evaluations, tracking and hardware may be changed
behind it. `tracking.uri=URI` also says where an id or a name is looked up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rlexp.cli.arguments import Parser, lookup_store
from rlexp.cli.exit_status import import_from_here, reported
from rlexp.config.stored import write_config
from rlexp.launch.resume_plan import plan_resume
from rlexp.runtime.lock import exclusive
from rlexp.runtime.run_folder import ORIGIN, PROVENANCE
from rlexp.spec.errors import Problem, UserError


def run(argv: list[str]) -> int:
    """Go on with a run; return the exit status, as for a new one."""
    return reported(lambda: _resume(argv))


def _resume(argv: Sequence[str]) -> None:
    from rlexp.launch.launcher import launch

    parser = Parser("resume", __doc__)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("overrides", metavar="key=value", nargs="*")
    arguments = parser.parse_args(argv)
    folder = _folder(arguments.run, arguments.overrides)
    _change_to_start_directory(folder)
    import_from_here()
    with exclusive(folder):
        resumption = plan_resume(folder, arguments.overrides)
        write_config(folder, resumption.config)
    for cut in resumption.cut_off:
        print(f"{'going on':12} {cut.name} was cut off while it was written, and is removed")
    launch(resumption.spec, folder, None, resumption.checkpoint)
    print(folder)


def _folder(word: str, overrides: Sequence[str]) -> Path:
    """Return the absolute folder of the run that a word means."""
    if Path(word).is_dir():
        return Path(word).absolute()
    if os.sep in word:
        want = "the folder of a run, or a run's id or name"
        raise UserError(Problem(word, "no folder", want, "`python -m rlexp ls` lists the runs."))
    from rlexp.tracking.query.records import Records

    with Records.open(*lookup_store(overrides)) as records:
        record = records.one(word)
    if record.folder is None or not record.folder.is_dir():
        got = f"a run whose folder, {record.folder}, is not on this machine"
        remedy = "Copy the folder here and name it instead of the run."
        raise UserError(Problem(word, got, "a run whose folder is here", remedy))
    return record.folder.absolute()


def _change_to_start_directory(folder: Path) -> None:
    """Change to where the run was started: paths in its config are relative to that."""
    from rlexp.tracking.provenance.manifest import read_attempts

    for attempt in read_attempts(folder / PROVENANCE / ORIGIN)[:1]:
        directory = Path(attempt.get("directory", ""))
        if directory.is_dir():
            os.chdir(directory)
