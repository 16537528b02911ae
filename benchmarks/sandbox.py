"""Programs that the sandbox judges in a second: python benchmarks/sandbox.py

Each means that works here, with a worker for each core, in rounds; beside it what isolation is
measured against: a fresh Python for each program, with nothing around it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from rlexp.sandbox.choice import obstacle, strongest
from rlexp.sandbox.limits import Limits
from rlexp.sandbox.means import IN_WORDS, Means
from rlexp.sandbox.pool import Asserts, Prints, Program, SandboxPool

LIMITS = Limits(
    cpu_seconds=2,
    wall_seconds=6.0,
    memory_mib=256,
    disk_mib=16,
    output_kib=64,
    processes=8,
    open_files=64,
)
CODE = """
def is_prime(n):
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))
"""
ASSERTS = Program(
    CODE,
    (
        Asserts("assert is_prime(97) == True"),
        Asserts("assert is_prime(91) == False"),
        Asserts("assert [n for n in range(12) if is_prime(n)] == [2, 3, 5, 7, 11]"),
    ),
)
STREAMS = Program(CODE + "print(is_prime(int(input())))", (Prints("97\n", "True\n"),))
ALONE = CODE + "".join(f"{test.source}\n" for test in ASSERTS.tests if isinstance(test, Asserts))


def rate(work: Callable[[], object], programs: int, rounds: int) -> tuple[float, float, float]:
    """Programs a second: median, least and most of the rounds."""
    rates = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        rates.append(programs / (time.perf_counter() - began))
    return statistics.median(rates), min(rates), max(rates)


def told(what: str, found: tuple[float, float, float]) -> None:
    middle, least, most = found
    print(f"{what:36} {middle:7.1f} a second  [{least:.1f}, {most:.1f}]")


def measure(means: Means, workers: int, programs: int, rounds: int) -> None:
    """Print the rates of one means."""
    pool = SandboxPool(means, LIMITS, workers)
    print(IN_WORDS[means] + (", in force here" if means == strongest() else ""))
    for name, program in {"three asserts": ASSERTS, "input and output": STREAMS}.items():
        verdicts = pool.run([program] * workers)  # starts the workers
        assert all(all(each.passed) for each in verdicts), verdicts
        told(f"  {name}", rate(partial(pool.run, [program] * programs), programs, rounds))
    pool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    print(f"{given.workers} at once, on {os.cpu_count()} cores")
    for means in IN_WORDS:
        if why := obstacle(means):
            print(f"{means}: not here ({why})")
        else:
            measure(means, given.workers, given.programs, given.rounds)

    def fresh() -> None:
        some = [
            subprocess.Popen([sys.executable, "-I", "-S", "-c", ALONE])
            for _ in range(given.workers)
        ]
        assert not any(each.wait() for each in some)

    print("a fresh Python for each, shut in by nothing")
    told("  three asserts", rate(fresh, given.workers, 10 * given.rounds))


if __name__ == "__main__":
    main()
