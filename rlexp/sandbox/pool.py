"""Programs in, verdicts out: some zygotes side by side, each used by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rlexp.sandbox.judge import TIME
from rlexp.sandbox.limits import Limits
from rlexp.sandbox.means import Means
from rlexp.sandbox.worker import Worker


@dataclass(frozen=True)
class Asserts:
    """A test as Python source: it passes when nothing is raised."""

    source: str


@dataclass(frozen=True)
class Prints:
    """A test by standard streams: the output must be the expected one, white space at the ends of
    lines and empty lines at the end left out, and the exit status 0."""

    stdin: str
    expected: str


Test = Asserts | Prints


@dataclass(frozen=True)
class Program:
    """A program and what it is tested with; `setup` stands before both."""

    code: str
    tests: tuple[Test, ...]
    setup: str = ""
    style: bool = False


@dataclass(frozen=True)
class Verdict:
    """What was found out about a program.

    Attributes:
        parses: whether it is Python.
        style: share of its lines without a complaint; None where that was not asked for.
        passed: for each test.
        why: for each test, why it failed; empty where it passed.
    """

    parses: bool
    style: float | None
    passed: tuple[bool, ...]
    why: tuple[str, ...]


class SandboxPool:
    """Runs programs side by side, in zygotes that start when they are first needed."""

    def __init__(self, means: Means, limits: Limits, workers: int) -> None:
        self.means: Means = means
        self.limits = limits
        self._own = threading.local()
        # A zygote is killed when the thread that has started it ends; these live as long as this.
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
        self._workers: set[Worker] = set()
        self._closed = False

    def run(self, programs: Iterable[Program]) -> list[Verdict]:
        """The verdict on each program, in their order.

        Raises:
            CannotStart: the means does not work here.
            ConnectionError: a program brings its zygote down, twice.
        """
        return list(self._threads.map(self._judged, programs))

    def close(self) -> None:
        """End the zygotes; the pool cannot be used any more."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._workers):
            worker.close()
        self._threads.shutdown()

    def _judged(self, program: Program) -> Verdict:
        asserts = [test for test in program.tests if isinstance(test, Asserts)]
        found: dict[Test, str] = {}
        request = {"code": program.code, "setup": program.setup, "style": program.style}
        looked: dict[str, Any] = {}
        left = self.limits.wall_seconds
        for test in program.tests:
            if test in found:
                continue
            began = time.monotonic()
            if isinstance(test, Prints):
                looked, found[test] = self._printed(request, test, left)
            else:
                rest = [each for each in asserts if each not in found]
                looked, why = self._asserted(request, rest, left)
                found |= why
            left -= time.monotonic() - began
            if TIME in found.values() or left <= 0:
                break
        if not program.tests:
            looked = self._ask({**request, "stdin": None, "tests": []}, left) or {}
        why = tuple(found.get(test, TIME) for test in program.tests)
        passed = tuple(not each for each in why)
        return Verdict(looked.get("parses", False), looked.get("style"), passed, why)

    def _asserted(
        self, request: dict[str, Any], tests: list[Asserts], seconds: float
    ) -> tuple[dict[str, Any], dict[Test, str]]:
        """Why tests fail, up to the one that ends the candidate: the others get a new one."""
        sources = [test.source for test in tests]
        answer = self._ask({**request, "stdin": None, "tests": sources}, seconds)
        if answer is None:
            return {}, {tests[0]: "the test came to no end"}
        verdicts = zip(tests, answer["verdicts"], strict=False)
        return answer, {
            test: "" if passed else why or "it failed" for test, (passed, why) in verdicts
        }

    def _printed(
        self, request: dict[str, Any], test: Prints, seconds: float
    ) -> tuple[dict[str, Any], str]:
        answer = self._ask({**request, "stdin": test.stdin, "tests": []}, seconds)
        if answer is None:
            return {}, TIME
        if answer["ended"]:
            return answer, answer["ended"]
        if _lines(answer["printed"]) == _lines(test.expected):
            return answer, ""
        return answer, f"it printed {answer['printed'][:80]!r}"

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        for attempt in (1, 2):
            try:
                return self._worker().ask(request, seconds)
            except ConnectionError:
                self._workers.discard(self._own.worker)
                del self._own.worker
                if attempt == 2 or self._closed:
                    raise
        raise AssertionError

    def _worker(self) -> Worker:
        if not hasattr(self._own, "worker"):
            self._own.worker = Worker(self.means, self.limits)
            self._workers.add(self._own.worker)
        return self._own.worker


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
