"""Whether the Python that the policy wrote passes its tests, run in a sandbox (`rlexp.sandbox`).

`rlexp.rewards.common.code_tests` says what a column of tests may hold, and
`rlexp.rewards.common.code_blocks` which part of a completion is the program. Sources are run by a
process in which the policy's code is not: see `rlexp.sandbox.verifier` for what a test may ask of a
program. Tests that an empty program passes are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from rlexp.rewards.base import column_of, texts_of
from rlexp.rewards.common.assert_sources import stubs_of
from rlexp.rewards.common.code_blocks import code_of
from rlexp.rewards.common.code_tests import read_tests
from rlexp.rewards.common.sandboxed import (
    Sandbox,
    sandbox_failures,
    sandbox_in_words,
    sandbox_problems,
    shared_pool,
)
from rlexp.runtime.extras import missing_packages
from rlexp.sandbox.limits import Limits
from rlexp.sandbox.pool import Asserts, Program, Test, Verdict
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import DataColumn, DataColumns, Place, RewardSpec, Text, Value
from rlexp.spec.text import content_of

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_CAN_FAIL: set[tuple[tuple[Test, ...], str]] = set()
"""Tests, with their setup, that an empty program has failed in this process."""


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
    entry_point_column: str | None = None
    """Data column that names the tested function, for tests that do not (HumanEval's `entry_point`,
    LiveCodeBench's `metadata`); null for none."""
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
    sandbox: Sandbox
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
        return [*style, *sandbox_problems(self.sandbox)]

    def columns(self) -> set[str]:
        return {self.column, *filter(None, (self.setup_column, self.entry_point_column))}

    def row_problems(self, columns: DataColumns) -> list[tuple[int, Problem]]:
        """Return tests that have no known form, that nothing can pass, or that cannot fail."""
        problems: list[tuple[int, Problem]] = []
        for index, row in enumerate(self._rows_of_tests(columns) if self.tests else ()):
            try:
                self._tests_of(*row)
            except UserError as error:
                problems += [(index, problem) for problem in error.problems]
        return problems

    def _rows_of_tests(self, columns: Mapping[str, DataColumn]) -> list[tuple[object, str, object]]:
        """Return each row's tests, what stands before them, and what they are of."""
        cells = column_of(columns, self.column)
        setups, names = [None] * len(cells), [None] * len(cells)
        if self.setup_column:
            setups = column_of(columns, self.setup_column, "reward.setup_column")
        if self.entry_point_column:
            names = column_of(columns, self.entry_point_column, "reward.entry_point_column")
        return [(cell, str(a or ""), b) for cell, a, b in zip(cells, setups, names, strict=True)]

    def _tests_of(self, cell: object, setup: str, entry_point: object) -> tuple[Test, ...]:
        return read_tests(cell, self.column, entry_point, setup) if self.tests else ()

    def notes(self) -> list[str]:
        return [f"model-written code ran in a sandbox: {sandbox_in_words(self.sandbox)}"]

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Say which sandbox is in force."""
        log.info("the sandbox of reward=%s: %s", self.name, sandbox_in_words(self.sandbox))

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[Value]:
        """Score n completions.

        Raises:
            UserError: no sandbox works, the data lacks a column, or tests are of no known form.
            RunFailed: the sandbox breaks down.
        """
        rows = self._rows_of_tests(columns) if self.tests else [(None, "", None)] * len(prompts)
        tests = [self._tests_of(*row) for row in rows]
        setups = [setup for _, setup, _ in rows]
        self._refuse_tests_that_nothing_fails(tests, setups)
        programs: dict[int, Program] = {}
        for index, text in enumerate(texts_of(completions)):
            code = code_of(text, self.block, self.fenced)
            if code.strip() and (tests[index] or not self.tests):
                prefix = _code_of_prompt(prompts[index]) if self.scope == "whole" else ""
                programs[index] = Program(
                    prefix + code, tests[index], setups[index], self.style > 0
                )
        verdicts = dict(zip(programs, self._verdicts_of([*programs.values()]), strict=True))
        return [
            None if self.tests and not row_tests else self._value(verdicts.get(index))
            for index, row_tests in enumerate(tests)
        ]

    def _refuse_tests_that_nothing_fails(
        self, tests: Sequence[tuple[Test, ...]], setups: Sequence[str]
    ) -> None:
        """Run programs that do nothing against tests that are new here.

        Raises:
            UserError: an empty program passes a source, or all of a row's outputs; or one that
                defines what a source uses passes it, whatever that gives.
        """
        new = {(row, setup) for row, setup in zip(tests, setups, strict=True) if row} - _CAN_FAIL
        empty = [Program("pass", row, setup) for row, setup in new]
        verdicts = zip(empty, self._verdicts_of(empty), strict=True)
        passed = [
            (test, "which an empty program passes")
            for program, verdict in verdicts
            for test, is_passed in zip(program.tests, verdict.passed, strict=True)
            if is_passed and (isinstance(test, Asserts) or all(verdict.passed))
        ]
        sources = [(test, setup) for row, setup in new for test in row if isinstance(test, Asserts)]
        stubs = [
            Program(stub, (test,), setup)
            for test, setup in sources
            for stub in stubs_of(f"{setup}\n{test.source}")
        ]
        stub_verdicts = self._verdicts_of(stubs)
        both = zip(sources, stub_verdicts[::2], stub_verdicts[1::2], strict=True)
        passed += [
            (test, "which a function passes that gives nothing")
            for (test, _), *verdicts in both
            if all(all(verdict.passed) for verdict in verdicts)
        ]
        remedy = "Mend the test so that it compares what the program gives, or leave the row out."
        problems = [
            Problem(
                "reward.column",
                f"{getattr(test, 'source', test)!r:.90} in the column {self.column!r}, {why}",
                "tests that a wrong program fails",
                remedy,
            )
            for test, why in passed
        ]
        if problems:
            raise UserError(problems)
        _CAN_FAIL.update(new)

    def _verdicts_of(self, programs: list[Program]) -> list[Verdict]:
        if not programs:
            return []
        with sandbox_failures(self.name):
            return shared_pool(self.sandbox, self._limits(), self.workers).run(programs)

    def _value(self, verdict: Verdict | None) -> float:
        if verdict is None:
            return 0.0
        passed = sum(verdict.passed) / len(verdict.passed) if verdict.passed else 0.0
        parts = ((self.tests, passed), (self.syntax, verdict.parses), (self.style, verdict.style))
        total = sum(weight * float(part or 0) for weight, part in parts)
        return total / sum(weight for weight, _ in parts)

    def _limits(self) -> Limits:
        return Limits(**{name: getattr(self, name) for name in Limits.__dataclass_fields__})


def _code_of_prompt(prompt: Text) -> str:
    """Return the code that a prompt begins; of a conversation, the user's last turn."""
    return prompt if isinstance(prompt, str) else content_of(prompt[-1]) if prompt else ""
