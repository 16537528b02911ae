"""Programs in, verdicts out: some zygotes side by side, each used by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rlexp.sandbox.limits import Limits
from rlexp.sandbox.means import Means
from rlexp.sandbox.verifier import TIMED_OUT
from rlexp.sandbox.wire import Frame
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
    """A program and its tests; `setup` stands before both."""

    code: str
    tests: tuple[Test, ...]
    setup: str = ""
    style: bool = False


@dataclass(frozen=True)
class Verdict:
    """The result of a program's tests."""

    parses: bool
    """Whether it is Python."""
    style: float | None
    """Share of its lines without a complaint; None where that was not asked for."""
    passed: tuple[bool, ...]
    """For each test; why it failed, or nothing."""
    why: tuple[str, ...]


class SandboxPool:
    """Runs programs side by side, in zygotes that start when they are first needed.

    Programs may import `packages`, which the zygotes have imported before.
    """

    def __init__(
        self, means: Means, limits: Limits, workers: int, packages: tuple[str, ...] = ()
    ) -> None:
        self.means: Means = means
        self.limits = limits
        self.packages = packages
        self._of_thread = threading.local()
        # A zygote is killed when the thread that has started it ends; these live as long as this.
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
        self._workers: set[Worker] = set()
        self._closed = False

    def run(self, programs: Iterable[Program]) -> list[Verdict]:
        """Return the verdict on each program, in their order.

        Raises:
            CannotStart: the means does not work here.
            ConnectionError: a program brings its zygote down, twice.
        """
        return list(self._threads.map(self._verdict, programs))

    def outputs(self, code: str, inputs: Iterable[str]) -> list[str | None]:
        """Return what a program prints for each standard input; None where it fails.

        Raises:
            CannotStart: the means does not work here.
            ConnectionError: the program brings its zygote down, twice.
        """
        return list(self._threads.map(lambda text: self._output(code, text), inputs))

    def close(self) -> None:
        """End the zygotes; the pool cannot be used any more."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._workers):
            worker.close()
        self._threads.shutdown()

    def _verdict(self, program: Program) -> Verdict:
        asserts = [test for test in program.tests if isinstance(test, Asserts)]
        failures: dict[Test, str] = {}  # of the tests that have been run; empty: passed
        request: Frame = {"code": program.code, "setup": program.setup, "style": program.style}
        answer: Frame = {}
        remaining = self.limits.wall_seconds
        for test in program.tests:
            if test in failures:
                continue
            began = time.monotonic()
            if isinstance(test, Prints):
                answer, failures[test] = self._run_prints(request, test, remaining)
            else:
                not_run = [other for other in asserts if other not in failures]
                answer, results = self._run_asserts(request, not_run, remaining)
                failures |= results
            remaining -= time.monotonic() - began
            if TIMED_OUT in failures.values() or remaining <= 0:
                break
        if not program.tests:
            answer = self._ask({**request, "stdin": None, "tests": []}, remaining) or {}
        why = tuple(failures.get(test, TIMED_OUT) for test in program.tests)
        passed = tuple(not reason for reason in why)
        return Verdict(answer.get("parses", False), answer.get("style"), passed, why)

    def _run_asserts(
        self, request: Frame, tests: list[Asserts], seconds: float
    ) -> tuple[Frame, dict[Test, str]]:
        """Return why tests fail, up to the one that ends the candidate; the others need another."""
        sources = [test.source for test in tests]
        answer = self._ask({**request, "stdin": None, "tests": sources}, seconds)
        if answer is None:
            return {}, {tests[0]: "the test came to no end"}
        verdicts = zip(tests, answer["verdicts"], strict=False)
        return answer, {
            test: "" if passed else why or "it failed" for test, (passed, why) in verdicts
        }

    def _run_prints(self, request: Frame, test: Prints, seconds: float) -> tuple[Frame, str]:
        answer = self._ask({**request, "stdin": test.stdin, "tests": []}, seconds)
        if answer is None:
            return {}, TIMED_OUT
        if answer["ended"]:
            return answer, answer["ended"]
        if _lines(answer["printed"]) == _lines(test.expected):
            return answer, ""
        return answer, f"it printed {answer['printed'][:80]!r}"

    def _output(self, code: str, stdin: str) -> str | None:
        request: Frame = {"code": code, "setup": "", "style": False, "stdin": stdin, "tests": []}
        answer = self._ask(request, self.limits.wall_seconds)
        return None if answer is None or answer["ended"] else answer["printed"]

    def _ask(self, request: Frame, seconds: float) -> Frame | None:
        for attempt in (1, 2):
            try:
                return self._worker().ask(request, seconds)
            except ConnectionError:
                self._workers.discard(self._of_thread.worker)
                del self._of_thread.worker
                if attempt == 2 or self._closed:
                    raise
        raise AssertionError

    def _worker(self) -> Worker:
        if not hasattr(self._of_thread, "worker"):
            self._of_thread.worker = Worker(self.means, self.limits, self.packages)
            self._workers.add(self._of_thread.worker)
        return self._of_thread.worker


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
