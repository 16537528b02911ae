"""Slots: jobs in processes of their own, the next one starting the moment a slot is free.

Processes are forked from a server (`multiprocessing`'s forkserver) that has imported what takes
seconds, so a job begins in milliseconds, and whatever ends it ends nothing else. The process of a
slot's next job is spawned while the last one still runs. Only plain data comes back.

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
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self, TypedDict

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from rlexp.runtime.signals import sigterm_raises
from rlexp.spec.errors import UserError
from rlexp.spec.files.devices import cuda_capabilities

OUTPUT = "output.log"
STOP_TIMEOUT = 20.0
"""Seconds that a job has to end after SIGTERM: it tells the study and MLflow."""

Job = tuple[list[str], int, Path]
"""Overrides, number, and where what it prints goes to."""
Environment = Mapping[str, str]


class JobOutcome(TypedDict, total=False):
    """What came of a job: `returned`, `error` or `died`."""

    returned: Any
    """By the task function."""
    error: str
    """Why it has returned nothing."""
    problems: list[dict[str, str]]
    """Of an error that the user can put right: the fields of `rlexp.spec.errors.Problem`."""
    died: str
    """How its process ended, without a word of its own."""


def outcome_from_job(job_return: JobReturn) -> JobOutcome:
    """Return what one of Hydra's launchers gave back as an outcome."""
    if job_return.status == JobStatus.COMPLETED:
        return {"returned": job_return.return_value}
    return outcome_from_error(exception_of(job_return))


def outcome_from_error(error: BaseException) -> JobOutcome:
    """Return the outcome of a job that raised."""
    if isinstance(error, UserError):
        return {"error": str(error), "problems": [vars(problem) for problem in error.problems]}
    return {"error": f"{type(error).__name__}: {error}"}


def job_return_from(outcome: JobOutcome, overrides: Sequence[str]) -> JobReturn:
    """Return an outcome as Hydra's own sweepers expect it."""
    job_return = JobReturn(overrides=list(overrides))
    if "returned" in outcome:
        job_return.status, job_return.return_value = JobStatus.COMPLETED, outcome["returned"]
    else:
        job_return.status = JobStatus.FAILED
        job_return.return_value = RuntimeError(outcome.get("error") or outcome.get("died"))
    return job_return


def exception_of(job_return: JobReturn) -> BaseException:
    """Return what a failed job raised; Hydra's public property would raise it."""
    return job_return._return_value


def exit_description(exit_code: int | None) -> str:
    """Return how a process ended, in words.

    >>> exit_description(-9), exit_description(3)
    ('killed by SIGKILL', 'with exit status 3')
    """
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"with exit status {exit_code}"


@dataclass(frozen=True)
class Slot:
    """Where one job at a time runs, with the environment variables of its jobs."""

    environment: Mapping[str, str]
    spawned: tuple[BaseProcess, Connection] | None = None
    """The process that waits for the next job, and the pipe by which it gets it."""
    last: BaseProcess | None = None
    """Of the job before, which may still be on its way out."""


class Slots:
    """Runs jobs of a Hydra application in processes, forked from a server, one a slot.

    Args:
        application: as `pack_application` makes it.
        preload: module that the server imports.
        folder: of the sweep.
        environments: the environment variables of each slot; there are as many slots.
    """

    def __init__(
        self, application: bytes, preload: str, folder: Path, environments: Sequence[Environment]
    ) -> None:
        self._application, self._folder = application, folder
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([preload])
        forkserver.ensure_running()  # it imports while the caller goes on
        self._free: SimpleQueue[Slot] = SimpleQueue()
        for environment in environments:
            self._free.put(Slot(environment))
        # A thread a slot: it hands a job to the slot's process, and waits for the outcome.
        self._waiters = ThreadPoolExecutor(len(environments), thread_name_prefix="slot")
        self._processes: set[BaseProcess] = set()
        self.stopped = False
        """Whether it takes no more jobs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def submit(self, overrides: Sequence[str], number: int) -> Future[JobOutcome]:
        """Run the job with these overrides as soon as a slot is free."""
        words = [word.partition("=") for word in overrides]
        subfolders = (value for key, _, value in words if key == "hydra.sweep.subdir")
        output = self._folder / next(subfolders, str(number)) / OUTPUT
        return self._waiters.submit(self._run, (list(overrides), number, output))

    def stop(self) -> None:
        """End what still runs, as SIGTERM does, and wait until it has ended."""
        self.stopped = True
        self._waiters.shutdown(wait=False, cancel_futures=True)
        self._terminate_processes()
        self._waiters.shutdown()
        self._terminate_processes()  # those spawned in between

    def _terminate_processes(self) -> None:
        processes = list(self._processes)
        # all at once, since each may take its time
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()

    def _run(self, job: Job) -> JobOutcome:
        # take a free slot, and the process that waits in it
        slot = self._free.get()
        process, connection = slot.spawned or self._spawn(slot.environment)
        next_process, payload = None, b""
        try:
            # run
            connection.send(job)
            # spawn the next job's process meanwhile: it must not cost this slot any time
            next_process = None if self.stopped else self._spawn(slot.environment)
            # The last job's process has had this long to free its memory.
            if slot.last is not None:
                self._reap(slot.last)
            # wait for the outcome
            payload = connection.recv_bytes()
        except (EOFError, ConnectionError):  # it died
            self._reap(process)
        finally:
            # The slot is free although the process may not have left yet.
            self._free.put(Slot(slot.environment, next_process, process))
        return json.loads(payload) if payload else {"died": exit_description(process.exitcode)}

    def _reap(self, process: BaseProcess) -> None:
        process.join()
        self._processes.discard(process)

    def _spawn(self, environment: Environment) -> tuple[BaseProcess, Connection]:
        """Return a process that waits for its job, and the pipe by which it gets it."""
        parent_end, child_end = self._context.Pipe()
        arguments = (child_end, self._application, environment)
        process = self._context.Process(target=_run_job, args=arguments)
        process.start()
        self._processes.add(process)
        child_end.close()  # else the death of the process would not end the pipe
        return process, parent_end


def pack_application(
    hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
) -> bytes:
    """Return what Hydra hands to a launcher, for the processes of its jobs."""
    return cloudpickle.dumps((hydra_context, task_function, config, Singleton.get_state()))


def slot_environments(n_jobs: int, config: DictConfig) -> list[dict[str, str]]:
    """Return the environment variables of each slot: its GPUs, where there are any.

    A job with `hardware.processes` has as many GPUs; slots share them where there are too few.
    """
    device = OmegaConf.select(config, "hardware.device", default="auto")
    gpus = _visible_gpus() if device in ("auto", "cuda") else []
    per_job = int(OmegaConf.select(config, "hardware.processes", default=1))
    if len(gpus) < max(2, per_job):
        return [{} for _ in range(n_jobs)]
    starts = [slot % (len(gpus) // per_job) * per_job for slot in range(n_jobs)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(gpus[at : at + per_job])} for at in starts]


def _visible_gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip() not in ("", "-1")]
    return [str(index) for index in range(len(cuda_capabilities()))]


def _run_job(connection: Connection, application: bytes, environment: Mapping[str, str]) -> None:
    """In the process of a job: wait for it, run it, and send what came of it."""
    os.setsid()  # Ctrl-C is the sweeper's, which ends its jobs in order
    os.environ.update(environment)
    context, task_function, config, singletons = cloudpickle.loads(application)
    Singleton.set_state(singletons)
    setup_globals()

    # wait
    try:
        overrides, number, output = connection.recv()
    except EOFError:
        return  # the sweeper has ended

    # run
    _redirect_output(output)
    try:
        with sigterm_raises():
            composed = context.config_loader.load_sweep_config(config, overrides)
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = number
            places = ("hydra.sweep.dir", "hydra.sweep.subdir")
            job_return = run_job(task_function, composed, *places, context)
        if job_return.status == JobStatus.FAILED:
            traceback.print_exception(exception_of(job_return))
        outcome = outcome_from_job(job_return)
    except BaseException as error:  # Ctrl-C and exits too: the sweeper has to know
        traceback.print_exc()
        outcome = outcome_from_error(error)

    # tell
    connection.send_bytes(json.dumps(outcome, default=str).encode())
    connection.close()


def _redirect_output(output: Path) -> None:
    """Let all that this process and its children print go to a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
