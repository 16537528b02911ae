"""Whether the Python that the policy wrote passes its tests, run in a sandbox (`rlexp.sandbox`).

The column of tests may hold, for each row,

- Python sources, most often one `assert` each, as in MBPP's `test_list` (Austin et al. 2021,
  arXiv:2108.07732): `["assert f(2) == 4", …]`; a HumanEval test (Chen et al. 2021,
  arXiv:2107.03374) is one source that ends with `check(f)`;
- pairs of standard input and expected output: `[["3\\n", "9\\n"], …]`, or APPS' form
  `{"inputs": […], "outputs": […]}` (Hendrycks et al. 2021, arXiv:2105.09938);

or any of these as JSON. Sources are run by a process in which the policy's code is not: see
`rlexp.sandbox.verifier` for what a test may ask of a program.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from rlexp.rewards.base import column_of, texts_of
from rlexp.runtime.device import available_cores
from rlexp.runtime.extras import missing_packages
from rlexp.sandbox.choice import obstacle, strongest
from rlexp.sandbox.limits import Limits
from rlexp.sandbox.means import IN_WORDS, STRONGEST_FIRST, Means
from rlexp.sandbox.pool import Asserts, Prints, Program, SandboxPool, Test, Verdict
from rlexp.sandbox.worker import CannotStart
from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.reward import DataColumn, Place, RewardSpec, Text, Value
from rlexp.spec.text import content_of

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_FENCED_BLOCK = re.compile(
    r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE
)
_PYTHON_LANGUAGES = {"python", "py", "python3", ""}
_TEST_FORMS = "sources, [input, output] pairs or {inputs, outputs}"
_INSTALL = "Install bubblewrap (apt-get install bubblewrap, dnf install bubblewrap, …)"


class Code(RewardSpec):
    """Weighted mean of the share of tests passed, of `parses` and of style, in [0, 1].

    An empty completion scores 0. A row without tests has no value, unless tests weigh nothing.

    >>> knobs = dict(column="tests", setup_column=None, scope="completion", block="last",
    ...              fenced=False, tests=1.0, syntax=0.0, style=0.0, sandbox="auto", workers=1,
    ...              cpu_seconds=2, wall_seconds=6.0, memory_mib=256, disk_mib=16, output_kib=64,
    ...              processes=8, open_files=64)
    >>> code_of("So:\\n```python\\nx = 1\\n```\\nDone.", "last", fenced=True)
    'x = 1\\n'
    >>> Code(name="code", **knobs).columns()
    {'tests'}
    """

    place: ClassVar[Place] = "threads"

    column: str
    """Data column with the tests."""
    setup_column: str | None
    """Data column with code that stands before the program and its tests; null for none."""
    scope: Literal["completion", "whole"]
    """`whole` puts the prompt before the completion, for models that go on writing code."""
    block: Literal["first", "last"]
    """Which fenced block is the program, of several."""
    fenced: bool
    """Whether a text without a fenced block has no program; otherwise all of it is one."""
    tests: float = Field(ge=0)
    """Weight of the share of tests passed."""
    syntax: float = Field(ge=0)
    """Weight of 1 for a program that Python compiles, 0 for another."""
    style: float = Field(ge=0)
    """Weight of the share of lines of which pycodestyle complains nothing (PEP 8)."""
    sandbox: Literal["auto", "bubblewrap", "namespaces", "rlimits"]
    """By which means programs are cut off; `auto` takes the strongest but never `rlimits`, which
    lets them read what this user can read."""
    workers: int | None = Field(ge=1)
    """Programs that run at once; null: one for each core."""
    cpu_seconds: int = Field(ge=1)
    """Processor time of each process of a program, in seconds."""
    wall_seconds: float = Field(gt=0)
    """Time for all tests of a program, in seconds; tests that are left when it is over fail."""
    memory_mib: int = Field(ge=64)
    """Address space of each process of a program, in MiB, Python's own 30 included."""
    disk_mib: int = Field(ge=1)
    """What a program may write into its temporary folder, which lies in memory, in MiB."""
    output_kib: int = Field(ge=1)
    """What a program may print, and a call give back, in KiB."""
    processes: int = Field(ge=1)
    """Processes and threads of a program."""
    open_files: int = Field(ge=16)
    """Files that each process of a program may hold open."""

    @field_validator("style")
    @classmethod
    def _something_counts(cls, style: float, info: ValidationInfo) -> float:
        if not (style or info.data.get("tests", 1) or info.data.get("syntax", 1)):
            raise ValueError("a weight above 0 here, in `tests` or in `syntax`")
        return style

    def problems(self) -> list[Problem]:
        """Return what the style lacks, and why no sandbox works."""
        style = missing_packages("pycodestyle", "rewards", "reward.style") if self.style else []
        return [*style, *self._sandbox_problems()]

    def _sandbox_problems(self) -> list[Problem]:
        if self.sandbox == "auto":
            if strongest():
                return []
            tried = ", ".join(f"{means}: {obstacle(means)}" for means in STRONGEST_FIRST)
            got = f"auto, where nothing shuts programs in ({tried})"
        else:
            why = obstacle(self.sandbox)
            if why is None:
                return []
            got = f"{self.sandbox}, which does not work here: {why}"
        remedy = f"{_INSTALL}, or run on another machine. Knowingly: reward.sandbox=rlimits, "
        remedy += "under which programs can read what this user can read."
        return [Problem("reward.sandbox", got, "a sandbox that works", remedy)]

    def columns(self) -> set[str]:
        return {self.column, *([self.setup_column] if self.setup_column else [])}

    def notes(self) -> list[str]:
        return [f"model-written code ran in a sandbox: {IN_WORDS[self._means()]}"]

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Say which sandbox is in force."""
        log.info("the sandbox of reward=%s: %s", self.name, IN_WORDS[self._means()])

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[Value]:
        """Score n completions.

        Raises:
            UserError: no sandbox works, the data lacks a column, or tests are of no known form.
            RunFailed: the sandbox breaks down.
        """
        cells = column_of(columns, self.column)
        tests = [read_tests(cell, self.column) if self.tests else () for cell in cells]
        setups = [""] * len(cells)
        if self.setup_column:
            setups = column_of(columns, self.setup_column, "reward.setup_column")
        programs: dict[int, Program] = {}
        for index, text in enumerate(texts_of(completions)):
            code = code_of(text, self.block, self.fenced)
            if code.strip() and (tests[index] or not self.tests):
                prefix = _code_of_prompt(prompts[index]) if self.scope == "whole" else ""
                setup = str(setups[index] or "")
                programs[index] = Program(prefix + code, tests[index], setup, self.style > 0)
        verdicts = dict(zip(programs, self._verdicts_of([*programs.values()]), strict=True))
        return [
            None if self.tests and not row_tests else self._value(verdicts.get(index))
            for index, row_tests in enumerate(tests)
        ]

    def _verdicts_of(self, programs: list[Program]) -> list[Verdict]:
        if not programs:
            return []
        try:
            return _pool(self._means(), self._limits(), self.workers, os.getpid()).run(programs)
        except (CannotStart, ConnectionError) as error:
            raise RunFailed(
                f"the sandbox of the reward {self.name} broke down: {error}",
                "a machine without memory or processes left, or a means that was taken away",
                "look at the machine, or choose another reward.sandbox",
            ) from error

    def _value(self, verdict: Verdict | None) -> float:
        if verdict is None:
            return 0.0
        passed = sum(verdict.passed) / len(verdict.passed) if verdict.passed else 0.0
        parts = ((self.tests, passed), (self.syntax, verdict.parses), (self.style, verdict.style))
        total = sum(weight * float(part or 0) for weight, part in parts)
        return total / sum(weight for weight, _ in parts)

    def _means(self) -> Means:
        if problems := self._sandbox_problems():
            raise UserError(problems)
        means = strongest() if self.sandbox == "auto" else self.sandbox
        assert means is not None  # otherwise there were problems
        return means

    def _limits(self) -> Limits:
        return Limits(**{name: getattr(self, name) for name in Limits.__dataclass_fields__})


@lru_cache(maxsize=4)
def _pool(means: Means, limits: Limits, workers: int | None, process: int) -> SandboxPool:
    """Return the pool of all rewards with the same limits; a forked process needs its own."""
    pool = SandboxPool(means, limits, workers or _cores())
    atexit.register(pool.close)
    return pool


def _cores() -> int:
    """Return the cores for this process, of a run that may have several on this machine."""
    return max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _code_of_prompt(prompt: Text) -> str:
    """Return the code that a prompt begins; of a conversation, the user's last turn."""
    return prompt if isinstance(prompt, str) else content_of(prompt[-1]) if prompt else ""


def code_of(text: str, block: Literal["first", "last"], fenced: bool) -> str:
    """Return the program in a text: its first or last fenced block of Python.

    A fence that is never closed goes to the end; blocks without a language count as Python.

    Args:
        text: what the policy wrote.
        block: which one, of several.
        fenced: whether a text without any has no program; otherwise it is one itself.
    """
    blocks = [
        code
        for language, code in _FENCED_BLOCK.findall(text)
        if language.lower() in _PYTHON_LANGUAGES
    ]
    if not blocks:
        return "" if fenced else text
    return blocks[0 if block == "first" else -1]


def read_tests(value: object, column: str) -> tuple[Test, ...]:
    """Return the tests of a row; none for null, "" and [].

    Raises:
        UserError: they have no form that is known.
    """
    given = value
    if isinstance(value, str):
        try:
            given = json.loads(value)
        except ValueError:  # a source
            given = [value] if value.strip() else []
    if isinstance(given, dict) and set(given) >= {"inputs", "outputs"}:
        given = list(zip(given["inputs"], given["outputs"], strict=True))
    tests = [_test(test) for test in given] if isinstance(given, list | tuple) else [None]
    if given is not None and None in tests:
        shown = f"{str(value)[:80]!r} in the column {column!r}"
        raise UserError(Problem("reward.column", shown, f"tests: {_TEST_FORMS}"))
    return tuple(test for test in tests if test)


def _test(value: object) -> Test | None:
    if isinstance(value, str):
        return Asserts(value)
    if isinstance(value, dict):
        value = (value.get("input"), value.get("output"))
    if isinstance(value, list | tuple) and len(value) == 2:
        stdin, expected = (_stream(part) for part in value)
        if stdin is not None and expected is not None:
            return Prints(stdin, expected)
    return None


def _stream(value: object) -> str | None:
    """Return a text, of which some data sets keep a list of lines; None for anything else."""
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return value if isinstance(value, str) else None
