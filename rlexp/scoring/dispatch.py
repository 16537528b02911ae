"""Which term runs where, and all of them at the same time.

Terms that wait for others begin first, in threads. Pure-Python terms go to worker processes where
their batch takes long enough, which is known from the batch before it: the first one is scored
here. Workers are started once all that they would have shortened has taken as long as their start;
so a short run never pays for them. The rest is scored in this process meanwhile. Where a value was
computed does not show in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Self

from rlexp.scoring.pool import WorkerPool
from rlexp.scoring.term_call import Batch, TermResult, call, under_own_key
from rlexp.spec.reward import Term

WORTH = 0.02
"""Seconds of a term in a batch from which on workers gain: two of them take 9 ms for what takes one
process 16, and as long as it for what takes 4."""
START = 0.5
"""Seconds that workers need to begin, on cores that are busy otherwise."""
SLICES = 2
"""Parts of a batch for each worker: texts differ in length, and some workers are done early."""
MOST_WORKERS = 8

Result = Callable[[], TermResult]


class Dispatch:
    """Calls the terms of a reward.

    Args:
        terms: by name.
        workers: processes; None: as many as there are cores for.
        processes: of the run, which share the cores.
        forgiving: whether a term goes on behind a completion that it fails on.
    """

    def __init__(
        self, terms: Mapping[str, Term], workers: int | None, processes: int, *, forgiving: bool
    ) -> None:
        self._rewards = {name: term.reward for name, term in terms.items()}
        self._places = {name: reward.runs_in() for name, reward in self._rewards.items()}
        self._workers = _cores(processes) if workers is None else workers
        self._forgiving = forgiving
        waiting = list(self._places.values()).count("threads")
        self._threads = ThreadPoolExecutor(waiting, "reward") if waiting else None
        self._pool: WorkerPool | None = None
        self._pace: dict[str, float] = {}
        self._waited = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._pool:
            self._pool.close()
            self._pool = None
        if self._threads:
            for name in self._in("threads"):
                self._rewards[name].give_up()
            self._threads.shutdown(cancel_futures=True)

    def __call__(self, batch: Batch) -> Iterator[tuple[str, Result]]:
        """Of each term its name and what waits for its result, or raises what it raised."""
        elsewhere: dict[str, Result] = {}
        for name in self._in("threads"):
            assert self._threads is not None
            future = self._threads.submit(call, self._rewards[name], batch, self._forgiving)
            elsewhere[name] = future.result
        for name in self._for_workers(batch):
            assert self._pool is not None
            elsewhere[name] = self._sliced(self._pool, name, batch)
        here = {name: self._here(name, batch) for name in self._rewards if name not in elsewhere}
        for name in self._rewards:
            yield name, self._paced(name, (here | elsewhere)[name], batch)

    def _in(self, place: str) -> list[str]:
        return [name for name, where in self._places.items() if where == place]

    def _for_workers(self, batch: Batch) -> list[str]:
        """The terms that go to workers with this batch."""
        names = self._in("workers")
        if not names or not self._workers or any(name not in self._pace for name in names):
            return []
        expected = {name: self._pace[name] * len(batch) for name in names}
        worth = {name: seconds for name, seconds in expected.items() if seconds >= WORTH}
        seconds = sum(worth.values())
        if self._pool is None:
            self._waited += seconds
            if self._waited < START:
                return []
            self._pool = WorkerPool({name: self._rewards[name] for name in names}, self._workers)
        return list(worth) if self._pool.ready(wait=seconds > START) else []

    def _sliced(self, pool: WorkerPool, name: str, batch: Batch) -> Result:
        parts = min(len(batch), SLICES * self._workers)
        edges = [part * len(batch) // parts for part in range(parts + 1)]
        sent = [
            (start, pool.submit(name, batch.part(start, stop), self._forgiving))
            for start, stop in pairwise(edges)
        ]
        return lambda: _joined(sent)

    def _here(self, name: str, batch: Batch) -> Result:
        done: Future[TermResult] = Future()
        try:
            done.set_result(call(self._rewards[name], batch, self._forgiving))
        except Exception as error:  # told of in its turn, when all that runs elsewhere has begun
            done.set_exception(error)
        return done.result

    def _paced(self, name: str, result: Result, batch: Batch) -> Result:
        def waited() -> TermResult:
            with under_own_key(name):
                called = result()
            if len(batch):
                self._pace[name] = called.seconds / len(batch)
            return called

        return waited


def _joined(sent: list[tuple[int, Future[TermResult]]]) -> TermResult:
    parts = [future.result().behind(start) for start, future in sent]
    return TermResult(
        [value for part in parts for value in part.values],
        [failure for part in parts for failure in part.failures],
        sum(part.seconds for part in parts),
    )


def _cores(processes: int) -> int:
    """Workers that find a core of their own; none where there is but one core."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = min(mine // processes, MOST_WORKERS)
    return share if share > 1 else 0
