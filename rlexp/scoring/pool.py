"""Worker processes for pure-Python terms.

They are plain interpreters that run `rlexp.scoring.worker` at the other end of a pipe, rather than
a `ProcessPoolExecutor`: its workers import the parent's main module, and outlive a parent that is
killed, since each holds the writing end of the queue that it waits at.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from rlexp.scoring.term_call import Batch, Failure, TermResult, join_results
from rlexp.spec.errors import RunFailed
from rlexp.spec.reward import RewardSpec

REMEDY = "set scoring.workers=0, which runs all terms in the run's own process"


class TookTooLong(Exception):
    """A call that went on beyond its time; its worker is dead."""


class WorkerPool:
    """Worker processes that have loaded the same terms, a third of a second after they begin.

    A call may take `timeout` seconds; None sets no limit.

    Raises:
        RunFailed: a term that cannot be pickled.
    """

    def __init__(
        self, terms: Mapping[str, RewardSpec], workers: int, timeout: float | None = None
    ) -> None:
        self._pickled, self._timeout = _pickled(terms), timeout
        self._workers = [_Worker(self._pickled) for _ in range(workers)]
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="reward")

    def ready(self, *, wait: bool) -> bool:
        """Return whether all workers have loaded the terms; with `wait`, once they have.

        Raises:
            RunFailed: one of them could not.
        """
        return all(worker.ready(wait) for worker in self._workers)

    def submit(self, name: str, batch: Batch, allow_missing: bool) -> Future[TermResult]:
        """Have the next free worker call a term, as does `rlexp.scoring.term_call.call`."""
        return self._threads.submit(self._call, name, batch, allow_missing)

    def close(self) -> None:
        """End the workers, whatever they do, and wait until they have ended."""
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.pipe.close()

    def _call(self, name: str, batch: Batch, allow_missing: bool) -> TermResult:
        """Call a term; where that takes too long and is forgiven, for each completion by itself."""
        try:
            return self._call_within_limit(name, batch, allow_missing)
        except TookTooLong as error:
            if not allow_missing:
                raise self._too_long(batch) from error
        if len(batch) > 1:
            alone = [batch.part(index, index + 1) for index in range(len(batch))]
            results = [self._call(name, part, allow_missing) for part in alone]
            return join_results((index, result) for index, result in enumerate(results))
        error = self._too_long(batch)
        failure = Failure(0, error.what, error.cause, error.remedy)
        return TermResult([None], [failure], self._timeout or 0.0)

    def _call_within_limit(self, name: str, batch: Batch, allow_missing: bool) -> TermResult:
        worker = self._free.get()
        try:
            return worker.call(name, batch, allow_missing, self._timeout)
        except TookTooLong:
            self._workers.remove(worker)
            worker.pipe.close()
            worker = _Worker(self._pickled)
            self._workers.append(worker)
            raise
        finally:
            self._free.put(worker)

    def _too_long(self, batch: Batch) -> RunFailed:
        return RunFailed(
            f"took longer than scoring.timeout={self._timeout:g} s for {len(batch)} completions, "
            f"the first of them {batch.completions[0]!r:.200}",
            "a loop without an end, a program or a server that it waits for, or too little time",
            "mend the reward, or give it more time with scoring.timeout=SECONDS; or set "
            "scoring.on_error=missing, which leaves such completions out",
        )


class _Worker:
    """One process and this end of its pipe."""

    def __init__(self, pickled_terms: bytes) -> None:
        self.pipe, workers_end = multiprocessing.Pipe()
        paths = os.pathsep.join(path or os.curdir for path in sys.path)
        # A session of its own keeps it from the terminal's Ctrl-C; one thread, from its siblings.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rlexp.scoring.worker", str(workers_end.fileno())],
            pass_fds=[workers_end.fileno()],
            stdin=subprocess.DEVNULL,
            env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": paths},
            start_new_session=True,
        )
        workers_end.close()
        self.pipe.send_bytes(pickled_terms)
        self._ready = False

    def ready(self, wait: bool) -> bool:
        if not self._ready and self.pipe.poll(None if wait else 0):
            if (problem := self._answer("loading the reward")) is not None:
                cause = "a module that imports in the run's own process alone"
                raise RunFailed(f"a worker could not load the reward: it {problem}", cause, REMEDY)
            self._ready = True
        return self._ready

    def call(
        self, name: str, batch: Batch, allow_missing: bool, timeout: float | None
    ) -> TermResult:
        self.ready(wait=True)
        task = f"scoring {len(batch)} completions, the first of them {batch.completions[0]!r:.200}"
        with suppress(BrokenPipeError):  # it died between two batches; `_answer` says how
            self.pipe.send((name, batch, allow_missing))
        if not self.pipe.poll(timeout):
            self.end()
            raise TookTooLong
        answer = self._answer(task)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, task: str) -> Any:
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise RunFailed(
                f"ended its worker process (exit status {self.process.wait()}) while {task}",
                "it was killed, for want of memory perhaps, or the code called os._exit",
                REMEDY,
            ) from error

    def end(self) -> None:
        # With what it started; nothing there would have to be saved. A thread that waits for an
        # answer may have found it dead between these two lines.
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _pickled(terms: Mapping[str, RewardSpec]) -> bytes:
    try:
        return pickle.dumps(dict(terms))
    except Exception as error:
        raise RunFailed(
            f"the reward cannot be pickled for worker processes: {error}",
            "a reward of your own that holds an open file, a lock or a function without a name",
            f'give its class place = "here", or {REMEDY}',
        ) from error
