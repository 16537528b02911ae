"""Attacks on the sandbox, by every means that works here: none gets out, none forges a pass."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from attacks import PRELUDE, Attack
from attacks_by_forgery import FORGERY, SEARCH, SECRET
from attacks_by_reach import REACH
from attacks_by_use import RESOURCES

from rlexp.runtime.paths import CONF
from rlexp.sandbox.choice import obstacle
from rlexp.sandbox.limits import Limits
from rlexp.sandbox.means import Means
from rlexp.sandbox.pool import Asserts, Prints, Program, SandboxPool, Verdict

ATTACKS = RESOURCES | REACH | FORGERY
LIMITS = Limits(
    cpu_seconds=20,
    wall_seconds=30.0,
    memory_mib=200,
    disk_mib=8,
    output_kib=64,
    processes=8,
    open_files=64,
)
SHORT = replace(LIMITS, cpu_seconds=1, wall_seconds=0.6)
MEANS: tuple[Means, ...] = ("bubblewrap", "namespaces", "rlimits")
RIGHT = Program("def f(x):\n    return x + 1\n", (Asserts("assert f(1) == 2"),))


def descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


class Attacked:
    """A pool after all attacks, and what became of each."""

    def __init__(self, means: Means, outside: Path) -> None:
        self.means: Means = means
        self.outside, self.before = outside, descendants()
        self.pool, self.impatient = SandboxPool(means, LIMITS, 2), SandboxPool(means, SHORT, 4)
        self.attacks = {
            name: attack
            for name, attack in ATTACKS.items()
            if means != "rlimits" or not attack.confined
        }
        known = f"PARENT, OUTSIDE = {os.getpid()}, {str(outside)!r}\n"
        self.verdicts: dict[str, Verdict] = {}
        for pool, endless in ((self.pool, False), (self.impatient, True)):
            chosen = {n: attack for n, attack in self.attacks.items() if attack.endless == endless}
            programs = [
                Program(known + attack.program, (Asserts(attack.test),))
                for attack in chosen.values()
            ]
            self.verdicts |= zip(chosen, pool.run(programs), strict=True)

    def close(self) -> None:
        self.pool.close()
        self.impatient.close()


def strongest_here() -> Means | None:
    return next((means for means in MEANS if obstacle(means) is None), None)


@pytest.fixture(
    scope="module",
    params=["bubblewrap", *(pytest.param(means, marks=pytest.mark.long) for means in MEANS[1:])],
)
def attacked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacked]:
    means: Means = request.param
    if why := obstacle(means):
        pytest.skip(f"{means}: {why}")
    pools = Attacked(means, tmp_path_factory.mktemp("outside"))
    yield pools
    pools.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(attacked: Attacked, name: str) -> None:
    """Each attack knows a hole: see `attacks`."""
    if name not in attacked.attacks:
        pytest.skip("rlimits alone do not claim to stop it")
    attack: Attack = attacked.attacks[name]
    verdict: Verdict = attacked.verdicts[name]
    assert verdict.passed == (attack.holds,), verdict.why


def test_it_still_works_and_the_machine_is_clean(attacked: Attacked) -> None:
    """A zygote that was killed, a process that outlives its program, a file outside."""
    assert attacked.pool.run([RIGHT] * 4) == [Verdict(True, None, (True,), ("",))] * 4
    workers, processes_of_each = 2 + 4, 2  # a launcher and a zygote
    assert len(descendants() - attacked.before) <= workers * processes_of_each
    assert list(attacked.outside.iterdir()) == []


def test_programs_leave_each_other_nothing(attacked: Attacked) -> None:
    """Files, modules and memory of the program before; what its tests compared with."""
    if attacked.means == "rlimits":
        pytest.skip("there is no folder of its own")
    marks = f"{PRELUDE}\nopen('mark', 'w').close()\nsys.modules['mark'] = sys\n"
    first = Program(marks, (Asserts(f"assert '{SECRET}' and sys"),))
    looks = f"{PRELUDE}{SEARCH}\ndef left(): return os.listdir('.'), 'mark' in sys.modules"
    tests = ("assert left() == ([], False)", "assert attack() == 'nothing'")
    then = Program(looks, tuple(map(Asserts, tests)))
    pool = SandboxPool(attacked.means, LIMITS, 1)  # so that they follow each other
    verdicts = pool.run([first, then])
    pool.close()
    assert {verdict.why for verdict in verdicts} == {("",), ("", "")}


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("while True: print('x' * 1000)", "printed more"),
        ("import sys; sys.stdout.write('5'); sys.stdout.flush(); import os; os._exit(3)", "status"),
        ("import os, time; os.close(1); time.sleep(60)", "time was over"),
        ("print('5'); raise SystemExit('wrong')", "status 1"),
        ("print(4)", "it printed '4"),
        ("import os; os.write(9, b'5'); os.write(0, b'5')", "it"),
    ],
)
def test_printed_answers(attacked: Attacked, code: str, why: str) -> None:
    """Output without end; an answer printed by a program that fails; one that hides."""
    pool = attacked.impatient if "sleep" in code else attacked.pool
    (verdict,) = pool.run([Program(code, (Prints("", "5\n"),))])
    assert verdict.passed == (False,)
    assert why in verdict.why[0]


def test_processor_time_is_limited_too(attacked: Attacked) -> None:
    """A loop that ignores signals and is stopped by nothing but the clock on the wall."""
    if attacked.means != strongest_here():
        pytest.skip("once is enough: it takes a second")
    pool = SandboxPool(attacked.means, replace(LIMITS, cpu_seconds=1), 1)
    attack = ATTACKS["loop that ignores signals"]
    (verdict,) = pool.run([Program(attack.program, (Asserts(attack.test),))])
    pool.close()
    assert verdict.why == ("it ended",)


ORPHANS = """
import sys
from rlexp.sandbox.limits import Limits
from rlexp.sandbox.pool import Asserts, Program, SandboxPool
pool = SandboxPool({means!r}, Limits(9, 60.0, 200, 8, 64, 8, 64), 2)
pool.run([Program("x = 1", ()), Program("x = 1", ())])
print("ready", flush=True)
pool.run([Program("import time; time.sleep(50)", (Asserts("pass"),))] * 2)
"""


def test_dies_with_its_parent(attacked: Attacked) -> None:
    """Zygotes and a sleeping program that a killed run leaves behind."""
    code = ORPHANS.format(means=attacked.means)
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    started: set[psutil.Process] = set()
    deadline = time.monotonic() + 20
    while len(started) < 2 * 3 and time.monotonic() < deadline:
        started |= set(psutil.Process(parent.pid).children(recursive=True))
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert not alive


def test_closing_ends_everything() -> None:
    """A pool that is closed while a program sleeps, and waits for it."""
    means = strongest_here()
    if means is None:
        pytest.skip("no means works here")
    before = descendants()
    pool = SandboxPool(means, LIMITS, 1)
    pool.run([RIGHT])
    pool.close()
    assert descendants() <= before
