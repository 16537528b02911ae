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
import shutil
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from rlexp.config.stored import Config, read_config, write_config
from rlexp.runner.pruning import TrialReporter
from rlexp.runtime.device import is_main_process
from rlexp.runtime.paths import CONF
from rlexp.runtime.run_folder import CARD, CONFIG, SPOOL
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
    """Run the spec in as many processes as it asks for; return its card.

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
            reports_to = json.dumps(reporter.to_config()) if reporter else ""
            arguments = [str(folder / CONFIG), parent or "", str(resume or ""), reports_to]
            _launch_many(spec.hardware.processes, folder, arguments)
    except BaseException as error:
        if (folder / SPOOL).exists() and not isinstance(error, UserError):
            error.add_note(f"go on with: python -m rlexp resume {shlex.quote(str(folder))}")
        raise
    return json.loads((folder / CARD).read_text(encoding="utf-8"))


def _launch_many(processes: int, folder: Path, arguments: list[str]) -> None:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=folder.name,
        max_restarts=0,
        log_line_prefix_template="",
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # else torch warns; the worker sets its own
    error_file = folder / ERROR_FILE
    error_file.unlink(missing_ok=True)
    worker = ("-u", "-m", "rlexp.launch.launcher", *arguments)
    failed: ChildFailedError | None = None
    try:
        elastic_launch(config, entrypoint=sys.executable)(*worker)
    except SignalException as stopped:
        raise KeyboardInterrupt if stopped.sigval == signal.SIGINT else Terminated from stopped
    except ChildFailedError as error:
        failed = error
    if error_file.is_file():
        raise _rebuild(json.loads(error_file.read_text(encoding="utf-8"))) from failed
    if failed is not None:
        rank, failure = failed.get_first_failure()
        raise RunFailed(
            f"process {rank} of {processes} ended with exit code {failure.exitcode}",
            "it was killed (out of memory?) or raised the exception printed above",
            "lower train.micro_batch_size, or run once with hardware.processes=1 to see more",
        ) from failed


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


def _worker(config_path: Path, parent: str, resume: str, reports_to: str) -> None:
    """Do the run as one process of many, of which rank 0 records and prints."""
    from rlexp.run import run

    _die_with_parent()
    folder, checkpoint = config_path.parent, Path(resume) if resume else None
    try:
        reporter: TrialReporter | None = None
        if reports_to and is_main_process():
            fields = json.loads(reports_to)
            module, _, name = fields.pop("_target_").rpartition(".")
            assert module.startswith("rlexp.")  # only launch's own argument comes here
            reporter = getattr(import_module(module), name)(**fields)
        spec = RunSpec.parse(read_config(config_path))
        run(spec, folder, parent or None, checkpoint, reporter)
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


def _die_with_parent() -> None:
    """Workers have sessions of their own; without this a SIGKILL of the parent orphans them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def launch_new_run(config: Config, spec: RunSpec) -> Path:
    """Run a config in a new folder, where Hydra would have put it; return the folder."""
    folder = new_folder()
    launch_in(folder, config, spec)
    return folder


def new_folder() -> Path:
    """Make a run's folder below `outputs/`, and return it."""
    from hydra.core.utils import setup_globals
    from omegaconf import OmegaConf

    setup_globals()  # the resolver of ${now:…}
    folder = Path(OmegaConf.load(CONF / "config.yaml").hydra.run.dir).absolute()
    folder.mkdir(parents=True)
    return folder


def launch_in(
    folder: Path, config: Config, spec: RunSpec, parent: str | None = None
) -> dict[str, Any]:
    """Run a composed and resolved config, whose spec is given too, to its end; return its card.

    `config.yaml` is written into the folder: the run's processes read that. A mistake that the run
    finds before it has begun leaves no folder behind.
    """
    write_config(folder, config)
    try:
        return launch(spec, folder, parent)
    except UserError:
        if not (folder / SPOOL).exists():
            # with those above it that are empty then, up to the current one
            shutil.rmtree(folder)
            for above in folder.absolute().parents:
                is_below = above != Path.cwd() and above.is_relative_to(Path.cwd())
                if not is_below or any(above.iterdir()):
                    break
                above.rmdir()
        raise


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    _worker(Path(sys.argv[1]), *sys.argv[2:])
