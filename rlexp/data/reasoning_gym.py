"""Procedural tasks of the package reasoning-gym: questions by a seed, and what scores answers.

An item's seed in the package is the data set's plus its index, so that data sets of neighbouring
seeds would share all items but one; here each `data.seed` has a million seeds for itself. The last
items are held out, and a question that was asked before is left out, so that no held-out one is
trained on. `reward=reasoning_gym` scores by the column `entry`.
"""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rlexp.data.parsing.values import Row
from rlexp.runtime.extras import missing_packages
from rlexp.runtime.waiting import announced_wait
from rlexp.sandbox.wire import Frame, to_wire
from rlexp.spec.data import DataSource, Kind, Rows
from rlexp.spec.errors import Problem, Problems, UserError

if TYPE_CHECKING:
    from reasoning_gym.dataset import ProceduralDataset

WITHOUT_ANSWERS = frozenset(
    {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
)
"""Tasks that give no right answer, of several that there are: their scorers judge any."""
_NAMED = re.compile(r'^DATASET_NAME = "(\w+)"', re.MULTILINE)
_OWN_OPTIONS = {"size": "data.size", "seed": "data.seed"}
_SEEDS_EACH = 1_000_000
"""Seeds of the package between two of `data.seed`, and so the most items of one."""


class ReasoningTasks(DataSource):
    """Questions of one task, with their answers, and the entries that its scorer reads."""

    task: str
    """The task's name in the package, such as `chain_sum`."""
    options: dict[str, Any]
    """Fields of the task's own configuration, such as {min_terms: 2, max_terms: 3}."""
    size: int = Field(gt=1, le=_SEEDS_EACH)
    """Items that are made, held-out ones included."""
    seed: int = Field(ge=0)
    """Of the items; two seeds share none but by chance."""

    def problems(self) -> Problems:
        """Return what is not installed, and a task or an option that the package does not have."""
        if missing := missing_packages("reasoning_gym", "reasoning", "data"):
            return missing
        files = task_files()
        if self.task not in files:
            near = get_close_matches(self.task, files, n=1)
            remedy = f"Did you mean {near[0]}?" if near else ""
            return [Problem("data.task", self.task, f"one of {', '.join(files)}", remedy)]
        own = [
            Problem(f"data.options.{name}", "a field that rlexp sets", f"{key} instead")
            for name, key in _OWN_OPTIONS.items()
            if name in self.options
        ]
        names = option_names(files[self.task])
        unknown = [name for name in self.options if name not in {*names, *_OWN_OPTIONS}]
        return own + [_unknown_option(name, names, self.task) for name in unknown]

    def kind(self) -> Kind:
        return "prompts" if self.task in WITHOUT_ANSWERS else "demonstrations"

    def extra_columns(self) -> set[str]:
        return {"entry"} if self.task in WITHOUT_ANSWERS else {"answer", "entry"}

    def read(self) -> Rows:
        """Make the rows.

        Raises:
            UserError: options of values that the task refuses, or no question left to hold out.
        """
        with announced_wait(f"the questions of {self.task}"), _seeded(self.seed):
            dataset = self._dataset()
            items = [dataset[index] for index in range(self.size)]
        first_held_out = self.size - max(1, round(self.size * self.eval_fraction))
        rows: dict[str, Row] = {}  # by question: each is asked once
        trained = 0
        for index, item in enumerate(items):
            rows.setdefault(" ".join(item["question"].split()), self._row(item))
            trained = len(rows) if index < first_held_out else trained
        train, heldout = [*rows.values()][:trained], [*rows.values()][trained:]
        if not heldout:
            got = f"{self.task}, which asks {len(train)} questions and no new one to hold out"
            want = "a task whose questions differ"
            remedy = "Raise data.size, or give data.options under which there are more questions."
            raise UserError(Problem("data.task", got, want, remedy))
        repeated = len(items) - len(rows)
        notes = [f"questions that were asked before, left out: {repeated}"] if repeated else []
        source = f"reasoning-gym {self.task}, {self.size} items, seed {self.seed}"
        return Rows(train, heldout, source, notes)

    def _dataset(self) -> ProceduralDataset:
        from reasoning_gym import create_dataset

        seed = self.seed * _SEEDS_EACH
        try:
            return create_dataset(self.task, seed=seed, size=self.size, **self.options)
        except (AssertionError, TypeError, ValueError) as error:
            got = f"{self.options}, which {self.task} refuses: {error}"
            raise UserError(Problem("data.options", got, "values that the task takes")) from error

    def _row(self, item: Mapping[str, Any]) -> Row:
        entry = {"task": self.task, "options": self.options, "entry": to_wire(dict(item), _refuse)}
        row = {"prompt": item["question"], "entry": json.dumps(entry, ensure_ascii=False)}
        if self.task in WITHOUT_ANSWERS:
            return row
        answer = str(item["answer"])
        return {**row, "completion": answer, "answer": answer}


@cache
def task_files() -> dict[str, Path]:
    """Return the file of each task by its name, read from the package's source: importing it takes
    seconds."""
    spec = find_spec("reasoning_gym")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(spec.submodule_search_locations[0])
    texts = ((file, file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*/**/*.py")))
    named = {match[1]: file for file, text in texts if (match := _NAMED.search(text))}
    return dict(sorted(named.items()))


@cache
def option_names(file: Path) -> frozenset[str]:
    """Return the fields of the configuration that a task's file registers."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    calls = [node.value for node in body if isinstance(node, ast.Expr)]
    registered = next(
        call.args[2]
        for call in calls
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "register_dataset"
    )
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    targets = [
        n.target for n in classes[ast.unparse(registered)].body if isinstance(n, ast.AnnAssign)
    ]
    return frozenset(ast.unparse(target) for target in targets)


def _unknown_option(name: str, names: frozenset[str], task: str) -> Problem:
    near = get_close_matches(name, names, n=1)
    remedy = f"Did you mean data.options.{near[0]}?" if near else ""
    known = ", ".join(sorted(names - set(_OWN_OPTIONS))) or "it has none"
    return Problem(f"data.options.{name}", "an unknown option", f"one of {task} ({known})", remedy)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python's own generator, which some tasks draw from, and leave it as it was."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _refuse(value: object) -> Frame:
    raise TypeError(f"an entry with a {type(value).__name__}, which is no plain data")
