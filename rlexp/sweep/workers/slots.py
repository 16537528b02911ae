"""Slots: jobs in processes of their own, the next one starting the moment a slot is free.

Processes are forked from a server (`multiprocessing`'s forkserver) that has imported what takes
seconds, so a job begins in milliseconds, and whatever ends it ends nothing else. The process of a
slot's next job is born while the last one still runs. Only plain data comes back: an exception of a
library may not survive being sent.

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
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from omegaconf import OmegaConf, open_dict

from rlexp.runtime.signals import sigterm_raises
from rlexp.spec.errors import UserError
from rlexp.spec.files.devices import cuda_capabilities

OUTPUT = "output.log"
STOP_TIMEOUT = 20.0
"""Seconds that a job has to end after SIGTERM: it tells the study and MLflow."""

Job = tuple[list[str], int, Path]
"""Overrides, number, and where what it prints goes to."""
JobOutcome = dict[str, Any]
"""`returned`: what the task function did; or `error`, in words; or `died`, how the process ended.
`problems`: of a mistake that the user can put right."""


@dataclass(frozen=True)
class Slot:
    """Where one job at a time runs.

    Attributes:
        environment: variables of its jobs.
        born: the process that waits for the next job, and where it is told.
        last: the process of the job before, which may still be on its way out.
    """

    environment: Mapping[str, str]
    born: tuple[Any, Any] | None = None
    last: Any = None


class Slots:
    """Runs jobs of a Hydra application, so many at once.

    Args:
        application: `pack_application`.
        preload: module that the server imports.
        folder: of the sweep.
        environments: the environment variables of each slot; there are as many slots.
    """

    def __init__(
        self,
        application: bytes,
        preload: str,
        folder: Path,
        environments: Sequence[Mapping[str, str]],
    ) -> None:
        self._application, self._folder = application, folder
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([preload])
        forkserver.ensure_running()  # it imports while the caller goes on
        self._free: SimpleQueue[Slot] = SimpleQueue()
        for environment in environments:
            self._free.put(Slot(environment))
        self._waiters = ThreadPoolExecutor(len(environments), thread_name_prefix="slot")
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

    def submit(self, overrides: Sequence[str], number: int) -> Future[JobOutcome]:
        """Run the job with these overrides as soon as a slot is free."""
        output = self._folder / (_subfolder(overrides) or str(number)) / OUTPUT
        return self._waiters.submit(self._run, (list(overrides), number, output))

    def stop(self) -> None:
        """End what still runs, as SIGTERM does, and wait until it has ended."""
        self.stopped = True
        self._waiters.shutdown(wait=False, cancel_futures=True)
        self._end_processes()
        self._waiters.shutdown()
        self._end_processes()  # those born in between

    def _end_processes(self) -> None:
        there = list(self._processes)
        for process in there:
            process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT
        for process in there:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()

    def _run(self, job: Job) -> JobOutcome:
        slot = self._free.get()
        process, connection = slot.born or self._born(slot.environment)
        born, told = None, b""
        try:
            connection.send(job)
            born = None if self.stopped else self._born(slot.environment)
            if slot.last is not None:
                self._reap(slot.last)
            told = connection.recv_bytes()
        except (EOFError, ConnectionError):
            self._reap(process)
        finally:
            self._free.put(Slot(slot.environment, born, process))
        return json.loads(told) if told else {"died": _ended(process.exitcode)}

    def _reap(self, process: Any) -> None:
        process.join()
        self._processes.discard(process)

    def _born(self, environment: Mapping[str, str]) -> tuple[Any, Any]:
        """A process that waits for its job, and where it is told."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._application, environment))
        process.start()
        self._processes.add(process)
        theirs.close()
        return process, ours


def pack_application(hydra_context: Any, task_function: Any, config: Any) -> bytes:
    """What Hydra hands to a launcher, for the processes of its jobs."""
    return cloudpickle.dumps((hydra_context, task_function, config, Singleton.get_state()))


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


def job_return(outcome: JobOutcome, overrides: Sequence[str]) -> JobReturn:
    """An outcome as Hydra's own sweepers expect it."""
    done = JobReturn(overrides=list(overrides))
    if "returned" in outcome:
        done.status, done.return_value = JobStatus.COMPLETED, outcome["returned"]
    else:
        done.status = JobStatus.FAILED
        done.return_value = RuntimeError(outcome.get("error") or outcome["died"])
    return done


def outcome_from_job(done: JobReturn) -> JobOutcome:
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


def _failed(error: BaseException) -> JobOutcome:
    if isinstance(error, UserError):
        return {"error": str(error), "problems": [vars(each) for each in error.problems]}
    return {"error": f"{type(error).__name__}: {error}"}


def _work(connection: Any, application: bytes, environment: Mapping[str, str]) -> None:
    """In the process of a job: wait for it, run it, and send what came of it."""
    os.setsid()  # Ctrl-C is the sweeper's, which ends its jobs in order
    os.environ.update(environment)
    context, task_function, config, singletons = cloudpickle.loads(application)
    Singleton.set_state(singletons)
    setup_globals()
    try:
        overrides, number, output = connection.recv()
    except EOFError:
        return  # the sweeper has ended
    _print_to(output)
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
        outcome = outcome_from_job(done)
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
