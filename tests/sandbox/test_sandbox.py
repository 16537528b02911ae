"""What programs and tests may do in the sandbox, and by which means it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlexp.sandbox import means
from rlexp.sandbox.choice import obstacle, strongest
from rlexp.sandbox.filter import ARCHITECTURES
from rlexp.sandbox.limits import Limits
from rlexp.sandbox.means import Means
from rlexp.sandbox.pool import Asserts, Prints, Program, SandboxPool
from rlexp.sandbox.worker import CannotStart, Worker

LIMITS = Limits(
    cpu_seconds=20,
    wall_seconds=30.0,
    memory_mib=200,
    disk_mib=8,
    output_kib=64,
    processes=8,
    open_files=64,
)


@pytest.fixture(scope="module")
def pool() -> Iterator[SandboxPool]:
    strongest_means = strongest()
    if strongest_means is None:
        pytest.skip("neither bubblewrap nor namespaces work here")
    pool = SandboxPool(strongest_means, LIMITS, 2)
    yield pool
    pool.close()


VALUES = [
    *("None", "True", "3", "2**100", "-(2**64)", "1.5", "float('inf')", "1e-300", "2j"),
    *("'é\\ud800'", "b'\\x00\\xff'", "[1, [2]]", "(1, (2,))", "{1, 2}", "frozenset({1})"),
    *("{1: 'a', (2, 3): [None]}", "{}", "{'dict': [], 'object': 0}", "[{}]"),
]


def test_values_cross_as_they_are(pool: SandboxPool) -> None:
    """A tuple that becomes a list, a key that becomes a text, a number cut to 64 bits."""
    code = "\n".join(f"def f{i}(x): return (x, {value})" for i, value in enumerate(VALUES))
    tests = tuple(
        Asserts(
            f"got = f{i}({value})\n"
            f"assert got == ({value}, {value}) and type(got[0]) is type({value})"
        )
        for i, value in enumerate(VALUES)
    )
    (verdict,) = pool.run([Program(code, tests)])
    assert set(verdict.why) == {""}, dict(zip(VALUES, verdict.why, strict=True))


PASSES = {
    "call": ("def f(a, *, b=1): return a + b", "assert f(1, b=2) == 3"),
    "constant": ("LIMIT = 3", "assert LIMIT == 3"),
    "changed in place": ("def f(x): x.sort()", "x = [2, 1]\nf(x)\nassert x == [1, 2]"),
    "objects": (
        "class Stack:\n    def __init__(self): self.all = []\n"
        "    def push(self, x): self.all.append(x)\n    def __len__(self): return len(self.all)\n",
        "s = Stack()\ns.push(4)\nassert len(s) == 1 and s.all == [4] and s.all[0] == 4",
    ),
    "two objects": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
        "    def __add__(self, other): return P(self.x + other.x)",
        "assert P(1) + P(2) == P(3) and P(1) != P(2) and P(1) != 1",
    ),
    "object given back": ("def make(): return {1: object}\ndef f(x): return x", "f(make())"),
    "generator": ("def f(n): yield from range(n)", "assert list(f(3)) == [0, 1, 2]"),
    "callback": (
        "def f(g, xs): return [g(x) for x in xs]",
        "assert f(lambda x: x + 1, [1, 2]) == [2, 3]",
    ),
    "callback that asks": (
        "def f(g): return g(1)\ndef h(x): return x + 1",
        "assert f(lambda x: h(x) + 1) == 3",
    ),
    "exception": (
        "def f(x): raise ValueError(f'no {x}')",
        "try:\n    f(1)\nexcept ValueError as error:\n    assert str(error) == 'no 1'\n"
        "else:\n    assert False",
    ),
    "HumanEval": (
        "def has(xs, t): return any(abs(a - b) < t for a in xs for b in xs if a is not b)",
        "METADATA = {}\ndef check(candidate):\n    assert candidate([1.0, 1.1], 0.5) == True\n"
        "    assert candidate([1.0, 2.0], 0.5) == False\ncheck(has)",
    ),
    "modules of the test's": ("def f(): return 0.1 + 0.2", "assert math.isclose(f(), 0.3)"),
    "all at once": ("def f(x): return x * x", "assert all(f(x) == x**2 for x in range(20))"),
    "subclasses": (
        "from collections import Counter\nfrom enum import IntEnum\nclass E(IntEnum):\n    A = 1\n"
        "def f(): return Counter('aab'), E.A",
        "assert f() == ({'a': 2, 'b': 1}, 1)",
    ),
    "processes and files": (
        "import subprocess, sys\nfrom tempfile import TemporaryFile\n"
        "def f():\n    with TemporaryFile('w+') as file:\n"
        "        subprocess.run([sys.executable, '-c', 'print(6 * 7)'], stdout=file, check=True)\n"
        "        file.seek(0)\n        return file.read()",
        "assert f() == '42\\n'",
    ),
    "threads": (
        "import threading\ndef f():\n    got = []\n"
        "    thread = threading.Thread(target=got.append, args=(1,))\n"
        "    thread.start()\n    thread.join()\n    return got",
        "assert f() == [1]",
    ),
    "script": ("x = 2\nif __name__ == '__main__':\n    x = 3", "assert x == 2"),
}


@pytest.mark.parametrize("name", PASSES)
def test_honest_programs_pass(pool: SandboxPool, name: str) -> None:
    """A right program that fails because its tests are in another process."""
    code, test = PASSES[name]
    (verdict,) = pool.run([Program(code, (Asserts(test),))])
    assert verdict.passed == (True,), verdict.why


@pytest.mark.parametrize(
    ("code", "tests", "passed"),
    [
        ("def f(x): return x", ("assert f(1) == 1", "assert f(1) == 2", "assert f(2) == 2"), "TFT"),
        ("import os\ndef f(x): return os._exit(0) if x else 7", ("f(1)", "assert f(0) == 7"), "FT"),
        ("def f(:", ("pass", "pass"), "FF"),
        ("raise ValueError", ("pass",), "F"),
        ("x = 1", ("assert y == 1", "assert x == 1", "syntax error"), "FTF"),
        ("x = 1", ("assert x == 1", "assert x == 1"), "TT"),
        ("x = 1", (), ""),
    ],
)
def test_each_test_counts_by_itself(
    pool: SandboxPool, code: str, tests: tuple[str, ...], passed: str
) -> None:
    """A crash in one test that takes the others along; a program that does not load and passes."""
    (verdict,) = pool.run([Program(code, tuple(map(Asserts, tests)))])
    assert "".join("TF"[not passes] for passes in verdict.passed) == passed, verdict.why
    assert verdict.parses == (code != "def f(:")


def test_standard_streams(pool: SandboxPool) -> None:
    """White space that decides; state that one case leaves to the next."""
    code = "import sys\nfor line in sys.stdin: print(int(line) + 1, end='  \\n')\nsys.exit()"
    cases = (Prints("1\n2", "2\n3\n"), Prints("5", "6"), Prints("5", "7"), Prints("", ""))
    (verdict,) = pool.run([Program(code, cases)])
    assert verdict.passed == (True, True, False, True), verdict.why


def test_setup_stands_before_both(pool: SandboxPool) -> None:
    """Names that a data set imports for its tests, asked of the program, which could forge them."""
    setup = "from math import isclose\nBASE = 2"
    code = "def isclose(*a, **k): return True\ndef f(x): return BASE * x"
    tests = (Asserts("assert isclose(f(2), 4)"), Asserts("assert isclose(f(2), 5)"))
    (verdict,) = pool.run([Program(code, tests, setup)])
    assert verdict.passed == (True, False), verdict.why


def test_style_is_the_share_of_lines_without_complaint(pool: SandboxPool) -> None:
    """Complaints counted instead of lines; empty lines counted; code that is run for its style."""
    pytest.importorskip("pycodestyle")
    code = "import os\n\n\ndef f( x ):\n    return x+1 ;\n\n\nos._exit(1)\n"
    (verdict,) = pool.run([Program(code, (), style=True)])
    assert verdict.style == pytest.approx(2 / 4)


def test_the_same_program_says_the_same(pool: SandboxPool) -> None:
    """Hashes and random numbers that differ from start to start, and rewards with them."""
    code = "import random\ndef f(): return [*{'a', 'b', 'c', 'd'}, random.random()]"
    other = SandboxPool(pool.means, LIMITS, 1)
    tests = tuple(
        Asserts(f"assert str(f()).encode()[{i}] & {1 << b}") for i in range(40) for b in (0, 2)
    )
    first = pool.run([Program(code, tests)])
    assert first == other.run([Program(code, tests)])
    other.close()


class TestMeans:
    def test_says_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`auto` that falls back to nothing without a word."""
        monkeypatch.setattr(means.shutil, "which", lambda name: None)
        assert means.known_obstacle("bubblewrap") == "bwrap is not installed"
        monkeypatch.setattr(means.platform, "release", lambda: "5.10.0-21-amd64")
        assert "Linux 5.14" in (means.known_obstacle("namespaces") or "")
        monkeypatch.setattr(means.platform, "machine", lambda: "riscv64")
        assert "riscv64" in (means.known_obstacle("namespaces") or "")
        monkeypatch.setattr(means.sys, "platform", "darwin")
        assert "Linux" in (means.known_obstacle("bubblewrap") or "")
        assert means.known_obstacle("rlimits") is None
        assert set(ARCHITECTURES) == {"x86_64", "aarch64"}

    def test_never_chooses_rlimits_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Isolation that goes away without anyone having said so."""
        monkeypatch.setattr("rlexp.sandbox.choice.obstacle", lambda means: "not here")
        assert strongest() is None

    def test_a_start_that_fails_tells_why(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A kernel's refusal that ends as a time-out."""
        fake = tmp_path / "bwrap"
        fake.write_text(
            "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1"
        )
        fake.chmod(0o755)
        monkeypatch.setattr("rlexp.sandbox.worker.command", lambda *_: [str(fake)])
        with pytest.raises(CannotStart, match="No permissions"):
            Worker("bubblewrap", LIMITS)

    def test_one_works_on_linux(self) -> None:
        """Both means broken by a change, and every other test of the sandbox skipped."""
        if why := means.known_obstacle("namespaces"):
            pytest.skip(why)
        reason = obstacle("namespaces")
        if reason and "Operation not permitted" in reason:
            pytest.skip(f"this machine forbids namespaces: {reason}")
        assert reason is None


@pytest.mark.parametrize("kind", ["bubblewrap", "namespaces"])
def test_packages_below_the_programs_own_tmp_are_there(
    kind: Means, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that is imported late and is gone by then, for an environment below /tmp; one that
    programs can write to."""
    if why := obstacle(kind):
        pytest.skip(why)
    package = tmp_path / "site-packages" / "kept"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "late.py").write_text("VALUE = 7\n", encoding="utf-8")
    monkeypatch.syspath_prepend(package.parent)
    assert str(package).startswith("/tmp/")
    pool = SandboxPool(kind, LIMITS, 1, ("kept",))
    program = (
        "import os, sys\n"
        "from kept import late\n"
        "open('/tmp/own', 'w').close()\n"
        "print(late.VALUE, sorted(os.listdir('/tmp'))[-1], os.access(late.__file__, os.W_OK))"
    )
    try:
        (output,) = pool.outputs(program, [""])
    finally:
        pool.close()
    assert output is not None and output.split()[0] == "7" and output.split()[-1] == "False"
