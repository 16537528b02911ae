"""Slots: jobs in processes of their own, the next one starting the moment a slot is free.

Processes are forked from a server (`multiprocessing`'s forkserver) that has imported what takes
seconds, so a job begins in milliseconds, and whatever ends it ends nothing else. Only plain data
comes back: an exception of a library may not survive being sent.

What a job prints goes to `output.log` in its folder. Where there are GPUs each slot has its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from omegaconf import OmegaConf, open_dict

from rlexp.spec.devices import cuda_capabilities
from rlexp.spec.errors import UserError
from rlexp.tracking.signals import sigterm_raises

OUTPUT = "output.log"
STOPPING_TAKES = 20.0
"""Seconds that a job has to end after SIGTERM: it tells the study and MLflow."""

Outcome = dict[str, Any]
"""`returned`: what the task function did; or `error`, in words; or `died`, how the process ended.
`problems`: of a mistake that the user can put right."""


class Slots:
    """Runs jobs of a Hydra application, so many at once.

    Args:
        n_jobs: at once.
        preload: module that the server imports.
        hydra_context, task_function, config: as Hydra hands them to a launcher.
    """

    def __init__(
        self, n_jobs: int, preload: str, hydra_context: Any, task_function: Any, config: Any
    ) -> None:
        self._job = (hydra_context, task_function, config, Singleton.get_state())
        self._folder = Path(str(config.hydra.sweep.dir))
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([preload])
        self._free: SimpleQueue[dict[str, str]] = SimpleQueue()
        for environment in slot_environments(n_jobs, config):
            self._free.put(environment)
        self._waiters = ThreadPoolExecutor(n_jobs, thread_name_prefix="slot")
        self._processes: set[Any] = set()
        self.stopped = False
        """Whether it takes no more jobs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def submit(self, overrides: Sequence[str], number: int) -> Future[Outcome]:
        """Run the job with these overrides as soon as a slot is free."""
        job = cloudpickle.dumps((*self._job, list(overrides), number))
        subfolder = _subfolder(overrides) or str(number)
        return self._waiters.submit(self._run, job, self._folder / subfolder / OUTPUT)

    def stop(self) -> None:
        """End what still runs, as SIGTERM does, and wait until it has ended."""
        self.stopped = True
        self._waiters.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.terminate()
        deadline = time.monotonic() + STOPPING_TAKES
        for process in list(self._processes):
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
        self._waiters.shutdown()

    def _run(self, job: bytes, output: Path) -> Outcome:
        environment = self._free.get()
        try:
            ours, theirs = self._context.Pipe(duplex=False)
            process = self._context.Process(target=_work, args=(theirs, job, environment, output))
            process.start()
            self._processes.add(process)
            theirs.close()
            try:
                told = ours.recv_bytes()
            except EOFError:
                told = b""
            process.join()
            self._processes.discard(process)
            return json.loads(told) if told else {"died": _ended(process.exitcode)}
        finally:
            self._free.put(environment)


def slot_environments(n_jobs: int, config: Any) -> list[dict[str, str]]:
    """The environment variables of each slot: its GPUs, where there are any.

    A job with `hardware.processes` has as many GPUs; slots share them where there are too few.
    """
    wanted = OmegaConf.select(config, "hardware.device", default="auto")
    gpus = _gpus() if wanted in ("auto", "cuda") else []
    a_slot = int(OmegaConf.select(config, "hardware.processes", default=1))
    if len(gpus) < max(2, a_slot):
        return [{} for _ in range(n_jobs)]
    starts = [slot % (len(gpus) // a_slot) * a_slot for slot in range(n_jobs)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(gpus[at : at + a_slot])} for at in starts]


def _gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip() not in ("", "-1")]
    return [str(index) for index in range(len(cuda_capabilities()))]


def job_return(outcome: Outcome, overrides: Sequence[str]) -> JobReturn:
    """An outcome as Hydra's own sweepers expect it."""
    done = JobReturn(overrides=list(overrides))
    if "returned" in outcome:
        done.status, done.return_value = JobStatus.COMPLETED, outcome["returned"]
    else:
        done.status = JobStatus.FAILED
        done.return_value = RuntimeError(outcome.get("error") or outcome["died"])
    return done


def outcome_of(done: JobReturn) -> Outcome:
    """What one of Hydra's launchers gave back."""
    if done.status == JobStatus.COMPLETED:
        return {"returned": done.return_value}
    return _failed(done._return_value)


def _subfolder(overrides: Sequence[str]) -> str | None:
    key = "hydra.sweep.subdir="
    return next((each.removeprefix(key) for each in overrides if each.startswith(key)), None)


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"with exit status {code}"


def _failed(error: BaseException) -> Outcome:
    if isinstance(error, UserError):
        return {"error": str(error), "problems": [vars(each) for each in error.problems]}
    return {"error": f"{type(error).__name__}: {error}"}


def _work(connection: Any, job: bytes, environment: dict[str, str], output: Path) -> None:
    """In the process of a job: run it, and send what came of it."""
    os.setsid()  # Ctrl-C is the sweeper's, which ends its jobs in order
    os.environ.update(environment)
    _print_to(output)
    context, task_function, config, singletons, overrides, number = cloudpickle.loads(job)
    Singleton.set_state(singletons)
    setup_globals()
    try:
        with sigterm_raises():
            composed = context.config_loader.load_sweep_config(config, overrides)
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = number
            done = run_job(
                task_function, composed, "hydra.sweep.dir", "hydra.sweep.subdir", context
            )
        if done.status == JobStatus.FAILED:
            traceback.print_exception(done._return_value)
        outcome = outcome_of(done)
    except BaseException as error:  # Ctrl-C and exits too: the sweeper has to know
        traceback.print_exc()
        outcome = _failed(error)
    connection.send_bytes(json.dumps(outcome, default=str).encode())
    connection.close()


def _print_to(output: Path) -> None:
    """Let all that this process and its children print go to a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
