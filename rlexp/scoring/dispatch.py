"""Which term runs where, and all of them at the same time.

Terms that wait for others begin first, in threads. Pure-Python terms go to worker processes where
their batch takes long enough, which is known from the batch before it: the first one is scored
here. Workers are started once all that they would have shortened has taken as long as their start;
so a short run never pays for them. The rest is scored in this process meanwhile. Where a value was
computed does not show in it.

With a time limit, pure-Python terms go to processes that can be killed, from the first batch on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import pairwise

from rlexp.runtime.device import available_cores
from rlexp.runtime.waiting import announced_wait
from rlexp.scoring.pool import WorkerPool
from rlexp.scoring.term_call import Batch, TermResult, call, join_results, under_own_key
from rlexp.spec.reward import Place, Term

WORTH = 0.02
"""Seconds of a term in a batch from which on workers gain: two of them take 9 ms for what takes one
process 16, and as long as it for what takes 4."""
START = 0.5
"""Seconds that workers need to begin, on cores that are busy otherwise."""
SLICES = 2
"""Parts of a batch for each worker: texts differ in length, and some workers are done early."""
MOST_WORKERS = 8
LIMIT = "scoring.timeout=SECONDS ends calls that take longer."

Result = Callable[[], TermResult]


class Dispatch:
    """Calls the terms of a reward, by name.

    Args:
        workers: processes; None: as many as there are cores for.
        processes: of the run, which share the cores.
        allow_missing: whether a term goes on behind a completion that it fails on.
        timeout: seconds that a call of a term may take which can be killed; None sets no limit.
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        workers: int | None,
        processes: int,
        *,
        allow_missing: bool,
        timeout: float | None = None,
    ) -> None:
        self._rewards = {name: term.reward for name, term in terms.items()}
        self._places = {name: reward.runs_in() for name, reward in self._rewards.items()}
        self._workers = _worker_count(processes) if workers is None else workers
        self._allow_missing, self._timeout = allow_missing, timeout
        waiting = list(self._places.values()).count("threads")
        self._threads = ThreadPoolExecutor(waiting, "reward") if waiting else None
        self._pool: WorkerPool | None = None
        self._lone_pools: dict[str, WorkerPool] = {}
        self._seconds_per_completion: dict[str, float] = {}
        self._seconds_in_main = 0.0

    def close(self) -> None:
        """End worker processes and threads."""
        for pool in (self._pool, *self._lone_pools.values()):
            if pool:
                pool.close()
        self._pool, self._lone_pools = None, {}
        if self._threads:
            for name in self._terms_in("threads"):
                self._rewards[name].give_up()
            self._threads.shutdown(cancel_futures=True)

    def __call__(self, batch: Batch) -> Iterator[tuple[str, Result]]:
        """Yield each term's name and what waits for its result, or raises what it raised."""
        results: dict[str, Result] = {}
        # What runs elsewhere begins before this process is busy itself.
        for name in self._terms_in("threads"):
            assert self._threads is not None
            future = self._threads.submit(call, self._rewards[name], batch, self._allow_missing)
            results[name] = future.result
        for name in self._terms_for_workers(batch):
            assert self._pool is not None
            results[name] = self._submit_slices(self._pool, name, batch)
        for name in self._terms_in("here") if self._timeout and len(batch) else ():
            if self._rewards[name].killable:
                results[name] = self._submit_alone(name, batch)
        for name in self._rewards:
            if name not in results:
                results[name] = self._call_in_main(name, batch)
        for name in self._rewards:
            yield name, self._timed(name, results[name], batch)

    def _terms_in(self, place: Place) -> list[str]:
        return [name for name, term_place in self._places.items() if term_place == place]

    def _terms_for_workers(self, batch: Batch) -> list[str]:
        """Return the terms that go to workers with this batch."""
        names = self._terms_in("workers")
        pace = self._seconds_per_completion
        if names and self._timeout is not None and len(batch):
            self._pool = self._pool or self._new_pool(names, max(1, self._workers))
            return names
        if not names or not self._workers or any(name not in pace for name in names):
            return []
        expected = {name: pace[name] * len(batch) for name in names}
        worth = {name: seconds for name, seconds in expected.items() if seconds >= WORTH}
        seconds = sum(worth.values())
        if self._pool is None:
            self._seconds_in_main += seconds
            if self._seconds_in_main < START:
                return []
            self._pool = self._new_pool(names, self._workers)
        return list(worth) if self._pool.ready(wait=seconds > START) else []

    def _new_pool(self, names: list[str], workers: int) -> WorkerPool:
        terms = {name: self._rewards[name] for name in names}
        return WorkerPool(terms, workers, self._timeout)

    def _submit_alone(self, name: str, batch: Batch) -> Result:
        """Call a term with the whole batch in the one process that has seen all before it."""
        if name not in self._lone_pools:
            self._lone_pools[name] = self._new_pool([name], 1)
        return self._lone_pools[name].submit(name, batch, self._allow_missing).result

    def _submit_slices(self, pool: WorkerPool, name: str, batch: Batch) -> Result:
        parts = min(len(batch), SLICES * max(1, self._workers))
        edges = [part * len(batch) // parts for part in range(parts + 1)]
        slices = [
            (start, pool.submit(name, batch.part(start, stop), self._allow_missing))
            for start, stop in pairwise(edges)
        ]
        return lambda: join_results((start, future.result()) for start, future in slices)

    def _call_in_main(self, name: str, batch: Batch) -> Result:
        future: Future[TermResult] = Future()
        try:
            with self._announced(name):
                future.set_result(call(self._rewards[name], batch, self._allow_missing))
        except Exception as error:  # reported in its turn, when all that runs elsewhere has begun
            future.set_exception(error)
        return future.result

    def _announced(self, name: str) -> AbstractContextManager[None]:
        """Tell people of a term that takes long, by the name that they gave it."""
        reward = self._rewards[name]
        can_be_killed = reward.killable or self._places[name] == "workers"
        remedy = LIMIT if can_be_killed and self._timeout is None else ""
        return announced_wait(f"the reward {name or reward.name}", remedy=remedy)

    def _timed(self, name: str, result: Result, batch: Batch) -> Result:
        def wait() -> TermResult:
            with under_own_key(name), self._announced(name):
                term_result = result()
            if len(batch):
                self._seconds_per_completion[name] = term_result.seconds / len(batch)
            return term_result

        return wait


def _worker_count(processes: int) -> int:
    """Return how many workers find a core of their own; 0 where there is but one core."""
    share = min(available_cores() // processes, MOST_WORKERS)
    return share if share > 1 else 0
