"""From `hardware` to one process or many.

Several processes are started in here, through torch's own elastic launcher: there is no
`accelerate launch` to type, and Hydra's multirun works over it. A worker reads the run's
`config.yaml`; its result comes back as the run's `card.json`.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from rlexp.config.stored import read_config
from rlexp.runner.pruning import TrialReporter
from rlexp.runtime.device import is_main_process
from rlexp.runtime.run_folder import CONFIG, SPOOL
from rlexp.runtime.signals import Terminated
from rlexp.spec.errors import Problem, Pruned, RunFailed, UserError
from rlexp.spec.run import RunSpec

PR_SET_PDEATHSIG = 1
ERROR_FILE = "error.json"


def launch(
    spec: RunSpec,
    folder: Path,
    parent: str | None,
    resume: Path | None = None,
    reporter: TrialReporter | None = None,
) -> dict[str, Any]:
    """Run the spec in as many processes as it asks for; its card.

    Whatever ends the run before its time carries a note (PEP 678) that says how to go on.

    Args:
        spec: the run.
        folder: the run's folder, which holds its `config.yaml`.
        parent: MLflow run under which this one is nested.
        resume: checkpoint to go on from.
        reporter: hears how the run gets on, in its first process, and may end it.

    Raises:
        UserError, RunFailed, Pruned: as the run itself would, whichever process it came from.
    """
    try:
        if spec.hardware.processes == 1:
            from rlexp.run import run

            run(spec, folder, parent, resume, reporter)
        else:
            _launch_many(spec, folder, parent, resume, reporter)
    except BaseException as error:
        if (folder / SPOOL).exists() and not isinstance(error, UserError):
            error.add_note(f"go on with: python -m rlexp resume {shlex.quote(str(folder))}")
        raise
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


def _launch_many(
    spec: RunSpec,
    folder: Path,
    parent: str | None,
    resume: Path | None,
    reporter: TrialReporter | None,
) -> None:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=spec.hardware.processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=folder.name,
        max_restarts=0,
        log_line_prefix_template="",
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # else torch warns; the worker sets its own
    (folder / ERROR_FILE).unlink(missing_ok=True)
    reports_to = json.dumps(reporter.to_config()) if reporter else ""
    passed_on = [str(folder / CONFIG), parent or "", str(resume or ""), reports_to]
    try:
        elastic_launch(config, entrypoint=sys.executable)(
            "-u", "-m", "rlexp.launch.launcher", *passed_on
        )
    except SignalException as stopped:
        raise KeyboardInterrupt if stopped.sigval == signal.SIGINT else Terminated from stopped
    except ChildFailedError as failed:
        error_file = folder / ERROR_FILE
        if error_file.is_file():
            raise _rebuild(json.loads(error_file.read_text(encoding="utf-8"))) from failed
        rank, failure = failed.get_first_failure()
        raise RunFailed(
            f"process {rank} of {spec.hardware.processes} ended with exit code {failure.exitcode}",
            "it was killed (out of memory?) or raised the exception printed above",
            "lower train.micro_batch_size, or run once with hardware.processes=1 to see more",
        ) from failed
    if (folder / ERROR_FILE).is_file():
        raise _rebuild(json.loads((folder / ERROR_FILE).read_text(encoding="utf-8")))


def _rebuild(fields: dict[str, Any]) -> UserError | RunFailed | Pruned:
    if "problems" in fields:
        return UserError([Problem(**problem) for problem in fields["problems"]])
    return Pruned(fields["pruned"]) if "pruned" in fields else RunFailed(**fields)


def _write_error(error: UserError | RunFailed | Pruned, folder: Path) -> None:
    """Leave what ended a worker for the process that launched it."""
    if isinstance(error, UserError):
        fields: dict[str, Any] = {"problems": [vars(problem) for problem in error.problems]}
    elif isinstance(error, Pruned):
        fields = {"pruned": error.step}
    else:
        fields = {"what": error.what, "cause": error.cause, "remedy": error.remedy}
    (folder / ERROR_FILE).write_text(json.dumps(fields), encoding="utf-8")


def _worker(
    config_path: Path, parent: str | None, resume: Path | None, reports_to: str | None
) -> None:
    """Do the run as one process of many, of which rank 0 records and prints."""
    from rlexp.run import run

    _die_with_parent()
    folder = config_path.parent
    try:
        reporter = _reporter(reports_to) if reports_to and is_main_process() else None
        run(RunSpec.parse(read_config(config_path)), folder, parent, resume, reporter)
    except (UserError, RunFailed) as error:
        _write_error(error, folder)
        raise SystemExit(error.exit_status) from error
    except Pruned as pruned:  # ends all workers well: `launch` reads that from the file
        if is_main_process():
            _write_error(pruned, folder)
    # Workers of gloo can abort in their destructors after all work is done: leave without them.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _reporter(config: str) -> TrialReporter:
    """Make the reporter again that `launch` was given."""
    fields = json.loads(config)
    module, _, name = fields.pop("_target_").rpartition(".")
    assert module.startswith("rlexp.")  # only launch's own argument comes here
    return getattr(import_module(module), name)(**fields)


def _die_with_parent() -> None:
    """Workers have sessions of their own; without this a SIGKILL of the parent orphans them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    config, parent_id, checkpoint, reporter_config = sys.argv[1:]
    resume_from = Path(checkpoint) if checkpoint else None
    _worker(Path(config), parent_id or None, resume_from, reporter_config or None)
