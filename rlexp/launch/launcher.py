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
from pathlib import Path
from typing import Any

from rlexp.runtime.run_folder import SPOOL
from rlexp.runtime.signals import Terminated
from rlexp.spec.errors import Problem, Pruned, RunFailed, UserError
from rlexp.spec.run import RunSpec

PR_SET_PDEATHSIG = 1
ERROR_FILE = "error.json"


def launch(
    spec: RunSpec, folder: Path, parent: str | None, resume: Path | None = None
) -> dict[str, Any]:
    """Run the spec in as many processes as it asks for; its card.

    Whatever ends the run before its time carries a note (PEP 678) that says how to go on.

    Args:
        spec: the run.
        folder: the run's folder, which holds its `config.yaml`.
        parent: MLflow run under which this one is nested.
        resume: checkpoint to go on from.

    Raises:
        UserError, RunFailed: as the run itself would, whichever process it came from.
    """
    try:
        if spec.hardware.processes == 1:
            from rlexp.run import run

            run(spec, folder, parent, resume)
        else:
            _launch_many(spec, folder, parent, resume)
    except BaseException as error:
        if (folder / SPOOL).exists() and not isinstance(error, UserError):
            error.add_note(f"go on with: python -m rlexp resume {shlex.quote(str(folder))}")
        raise
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


def _launch_many(spec: RunSpec, folder: Path, parent: str | None, resume: Path | None) -> None:
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
    passed_on = [str(folder / "config.yaml"), parent or "", str(resume or "")]
    try:
        elastic_launch(config, entrypoint=sys.executable)(
            "-u", "-m", "rlexp.launch.launcher", *passed_on
        )
    except SignalException as stopped:
        raise KeyboardInterrupt if stopped.sigval == signal.SIGINT else Terminated from stopped
    except ChildFailedError as failed:
        told = folder / ERROR_FILE
        if told.is_file():
            raise _rebuild(json.loads(told.read_text(encoding="utf-8"))) from failed
        rank, failure = failed.get_first_failure()
        raise RunFailed(
            f"process {rank} of {spec.hardware.processes} ended with exit code {failure.exitcode}",
            "it was killed (out of memory?) or raised the exception printed above",
            "lower train.micro_batch_size, or run once with hardware.processes=1 to see more",
        ) from failed


def _rebuild(told: dict[str, Any]) -> UserError | RunFailed:
    if "problems" in told:
        return UserError([Problem(**problem) for problem in told["problems"]])
    return RunFailed(**told)


def _tell(error: UserError | RunFailed, folder: Path) -> None:
    if isinstance(error, UserError):
        told: dict[str, Any] = {"problems": [vars(problem) for problem in error.problems]}
    else:
        told = {"what": error.what, "cause": error.cause, "remedy": error.remedy}
    (folder / ERROR_FILE).write_text(json.dumps(told), encoding="utf-8")


def _worker(config_path: Path, parent: str | None, resume: Path | None) -> None:
    """One process of many: the same run, of which rank 0 evaluates, tracks and prints."""
    from omegaconf import OmegaConf

    from rlexp.run import run

    _die_with_parent()
    folder = config_path.parent
    resolved: Any = OmegaConf.to_container(OmegaConf.load(config_path), resolve=True)
    try:
        run(RunSpec.parse(resolved), folder, parent, resume)
    except (UserError, RunFailed) as error:
        _tell(error, folder)
        raise SystemExit(error.exit_status) from error
    except Pruned:
        pass  # the spool has it; the process that began the trial tells the study
    # Workers of gloo can abort in their destructors after all work is done: leave without them.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _die_with_parent() -> None:
    """Workers have sessions of their own; without this a SIGKILL of the parent orphans them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    config, parent_id, checkpoint = sys.argv[1:]
    _worker(Path(config), parent_id or None, Path(checkpoint) if checkpoint else None)
