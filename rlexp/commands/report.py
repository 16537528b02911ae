"""What a sweep or a pipeline found, as a page, and how sure that is

`python -m rlexp report STUDY [--html FILE.html]`: STUDY is a sweep's folder or name, a pipeline's
folder, or the id of its MLflow run or the id's beginning. The page goes to `report.html` in that
folder, and beside it the best trials' configs (best.yaml, …) of a sweep, which its MLflow run gets
too, or the same as json (report.json) of a pipeline. Both write them at their end, and this command
at any time. `sweep.storage=URL` names the data base of a study whose folder is not here;
`tracking.uri=URI` the store in which an id is looked up.
"""

from __future__ import annotations

import shlex
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.cli.arguments import Parser, console_of_width, page_problems, store_of
from rlexp.runtime.run_folder import PIPELINE, SPOOL, STUDY, SWEEP_CONFIG
from rlexp.spec.errors import Problem, UserError

if TYPE_CHECKING:
    from rlexp.sweep.report.report import SweepReport

KEY = "report"
STORAGE = "sweep.storage="
SWEEPS = Path("multirun")
PATIENCE = 30.0
"""Seconds for the tracking store to open."""


def run(argv: list[str]) -> int:
    """Write the page, and say where it is and what the best trials are.

    Raises `UserError` where there is no such sweep, or the page cannot be written.
    """
    parser = Parser(KEY, __doc__)
    parser.add_argument("study", metavar="STUDY")
    parser.add_argument("--html", type=Path, metavar="FILE.html", help="write the page there")
    storages = [word for word in argv if word.startswith(STORAGE)]
    uri, experiment, rest = store_of([word for word in argv if word not in storages])
    options = parser.parse_intermixed_args(rest)
    storage = storages[-1].removeprefix(STORAGE).strip("'\"") if storages else ""
    if problems := page_problems(options.html):
        raise UserError(problems)
    folder = None if storage else _folder(options.study, uri, experiment)
    if folder is not None and (folder / PIPELINE).is_file():
        return _report_pipeline(folder, options.html)
    address, name = _storage_of(folder) if folder else (storage, options.study)

    from rlexp.sweep.report.report import write_sweep_report
    from rlexp.sweep.study import FOLDER, read_study

    study = read_study(address, name)
    folder = folder or Path(study.user_attrs[FOLDER])
    if options.html is None and not folder.is_dir():
        got = f"none, and the sweep's folder {folder} is not on this machine"
        raise UserError(Problem("--html", got, "a file to write"))
    _print(write_sweep_report(study, folder, options.html))
    return 0


def _report_pipeline(folder: Path, page: Path | None) -> int:
    from rlexp.pipelines.report.terminal import print_pipeline_report
    from rlexp.pipelines.report.write import REPORT_PAGE, write_pipeline_report

    report = write_pipeline_report(folder, page)
    console = console_of_width(markup=False)
    print_pipeline_report(report, console)
    console.print(f"\nreport: {page or folder / REPORT_PAGE}", soft_wrap=True)
    return 0


def _folder(word: str, uri: str, experiment: str | None) -> Path:
    """Return the folder of a sweep or of a pipeline."""
    for place in (Path(word), SWEEPS / word):
        if _is_sweep(place) or (place / PIPELINE).is_file():
            return place
    if Path(word).is_dir():
        remedy = "Name the folder above it?" if _is_sweep(Path(word).parent) else ""
        want = f"a sweep's folder, with {STUDY} or {SWEEP_CONFIG}, or a pipeline's, with {PIPELINE}"
        raise UserError(Problem(word, "a folder without a study", want, remedy))
    try:
        return _tracked(word, uri, experiment)
    except UserError as error:
        names = [folder.name for folder in sorted(SWEEPS.glob("*")) if _is_sweep(folder)]
        near = get_close_matches(word, names, n=1)
        remedy = f"Did you mean {near[0]}? " if near else ""
        want = "a sweep's folder or name, a pipeline's folder, or the id of its MLflow run"
        listed = f"Below {SWEEPS}/ there are: {', '.join(names) or 'none'}."
        raise UserError(
            [Problem(word, "no sweep of this name here", want, remedy + listed), *error.problems]
        ) from error


def _is_sweep(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (STUDY, SWEEP_CONFIG))


def _tracked(word: str, uri: str, experiment: str | None) -> Path:
    from rlexp.tracking.query.records import Records

    with Records.open(uri, experiment) as records:
        record = records.select_one(word)
        if not record.is_sweep and record.parent:
            record = records.get(record.parent) or record
    if record.folder is not None and (record.folder / PIPELINE).is_file():
        return record.folder
    if not record.is_sweep:
        remedy = f"`python -m rlexp compare {shlex.quote(word)} …` sets runs side by side."
        raise UserError(Problem(word, f"the run {record.name}", "a sweep or a pipeline", remedy))
    if record.folder is None or not _is_sweep(record.folder):
        got = f"{record.name}, whose folder {record.folder} holds no study on this machine"
        remedy = f"Name its data base: {STORAGE}postgresql://… or sqlite:///FILE"
        raise UserError(Problem(word, got, "a sweep whose study can be read", remedy))
    return record.folder


def _storage_of(folder: Path) -> tuple[str, str | None]:
    """Return the address of a sweep's data base, and the study's name in it."""
    if (folder / STUDY).is_file():
        return str(folder), None
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        settings: Any = OmegaConf.select(OmegaConf.load(folder / SWEEP_CONFIG), "sweep")
        if settings is not None:
            return settings.storage, settings.name
        cause = "no study: it is a plain multirun, whose runs `python -m rlexp compare` shows"
    except OmegaConfBaseException as error:  # a variable of the environment that is not set here
        cause = str(error).splitlines()[0]
    want = f"the address of its data base in {SWEEP_CONFIG}"
    raise UserError(Problem(str(folder), cause, want, f"Name it: {STORAGE}…"))


def _print(written: SweepReport) -> None:
    from rich.console import Console

    from rlexp.sweep.report.report import count_states, study_headline

    console = Console(highlight=False)
    lines = [("sweep", f"{written.study.study_name}: {count_states(written.study)}")]
    lines += [("best", study_headline(written.study)), *written.lines()]
    if sent := _sent(written):
        lines.append(("MLflow", sent))
    for label, text in lines:
        console.print(f"{label:12} {text}", markup=False, soft_wrap=True)


def _sent(written: SweepReport) -> str | None:
    """Return what became of the files in the sweep's MLflow run; None where it has none."""
    from rlexp.runtime.lock import Held, lock
    from rlexp.sweep.report.progress import record_artifacts
    from rlexp.tracking.spool.shipper import Shipper, tracking_address
    from rlexp.tracking.spool.spool import Spool

    if not (written.folder / SPOOL).is_file():
        return None
    uri, experiment = tracking_address(written.folder)
    if uri is None:
        return None
    try:
        with lock(written.folder):
            with Spool(written.folder / SPOOL) as spool:
                record_artifacts(written, spool)
            cause = Shipper(written.folder, uri, experiment).try_to_ship(PATIENCE)
    except Held as held:
        return f"gets it when the sweep ends, which {held.process} works on"
    later = f"python -m rlexp sync {shlex.quote(str(written.folder))}"
    if cause:
        return f"does not have it yet ({cause}). Send it later: {later}"
    return "has it among the artifacts of the sweep's run"
