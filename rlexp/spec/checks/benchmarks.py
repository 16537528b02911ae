"""What benchmarks demand: lm-eval, tasks that it knows, and their data on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from rlexp.spec.algo import AlgoSpec
from rlexp.spec.errors import Problem, Problems
from rlexp.spec.eval import EvalSpec
from rlexp.spec.harness.files import (
    KEY,
    SUFFIXES,
    TaskFile,
    data_problems,
    is_file_of_task,
    task_of_file,
    tasks_of_name,
)
from rlexp.spec.harness.index import own_tasks, own_tasks_folder

UNSAFE = "a task without unsafe_code: lm-eval would run what the model writes, outside a sandbox"


def benchmarks_are_there(algo: AlgoSpec, evaluation: EvalSpec) -> Problems:
    """Every task of `eval.benchmarks` can be measured on what is trained, on this machine."""
    words = evaluation.benchmarks.tasks
    if not words or not algo.evaluates:
        return []
    if not algo.model_kind.writes:
        want = f"[]: algo={algo.name} has a model that writes nothing"
        return [Problem(KEY, ", ".join(words), want, "Set eval.benchmarks.tasks=[].")]
    if own_tasks_folder() is None:
        got, want = "tasks of lm-eval, which is not installed", "the extra `benchmarks`"
        remedy = "python -m pip install 'rlexp[benchmarks]'"
        return [Problem(KEY, got, want, remedy)]
    return [problem for word in words for problem in _problems_of(word)]


def _problems_of(word: str) -> Iterator[Problem]:
    try:
        yield from _unknown_file(word) if is_file_of_task(word) else _unknown_name(word)
        tasks = list(tasks_named(word))
    except (ValueError, OSError) as error:
        cause = str(error).splitlines()[0]
        yield Problem(KEY, f"{word}, which cannot be read: {cause}", "a yaml of lm-eval's format")
        return
    for task in tasks:
        if task.config.get("unsafe_code"):
            remedy = "Train with reward=code, which runs code in a sandbox, on such data."
            yield Problem(KEY, f"{task.name}, which runs model-written code", UNSAFE, remedy)
        yield from data_problems(task)


def tasks_named(word: str) -> Iterator[TaskFile]:
    """Yield the tasks of a word of `eval.benchmarks.tasks`; none where there is none."""
    if not is_file_of_task(word):
        yield from tasks_of_name(word, own_tasks())
    elif (path := Path(word).expanduser()).is_file():
        yield task_of_file(path.resolve())


def _unknown_file(word: str) -> Iterator[Problem]:
    path = Path(word).expanduser()
    if path.is_file():
        return
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    names = [other.name for other in beside if other.name.endswith(SUFFIXES)]
    near = get_close_matches(path.name, names, n=1)
    remedy = f"Did you mean {path.parent / near[0]}?" if near else ""
    yield Problem(KEY, f"{word}, which is not there", "a yaml of lm-eval's format", remedy)


def _unknown_name(word: str) -> Iterator[Problem]:
    names = own_tasks().names
    if word in names:
        return
    near = get_close_matches(word, names, n=3)
    remedy = f"Did you mean {' or '.join(near)}?" if near else "`lm-eval ls tasks` lists them."
    yield Problem(KEY, word, "a name of lm-eval's, or a yaml file of its format", remedy)
