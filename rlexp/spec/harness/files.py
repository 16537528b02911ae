"""Files of lm-eval's own format: what a task's yaml says, and whether its data are on this machine.

Benchmarks are read offline: their data are local files, or were fetched into the cache before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from rlexp.spec.errors import Problem
from rlexp.spec.harness.index import TaskIndex

Config = dict[str, Any]

FILE_FORMATS = ("json", "csv", "parquet", "text", "arrow", "xml")
"""Values of `dataset_path` by which `datasets` reads the files of `data_files`."""
SUFFIXES = (".yaml", ".yml")
KEY = "eval.benchmarks.tasks"


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """Reads `!function module.name` as text: nothing is imported for a look at a file."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@dataclass(frozen=True)
class TaskFile:
    """One task, as a yaml of its own says."""

    name: str
    path: Path
    config: Config
    """With what the yaml includes."""


def is_file_of_task(word: str) -> bool:
    """Return whether a word of `eval.benchmarks.tasks` is a file rather than a name.

    >>> is_file_of_task("arc_easy"), is_file_of_task("sums.yaml"), is_file_of_task("mine/sums")
    (False, True, True)
    """
    return word.endswith(SUFFIXES) or "/" in word


def read_task_file(path: Path) -> Config:
    """Return what a yaml says, what it includes below what it says itself.

    Raises:
        ValueError: something that is no yaml, or no mapping.
        OSError: a file, or one that it includes, that cannot be read.
    """
    try:
        # A subclass of SafeLoader, which makes nothing but plain values.
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if not isinstance(config, dict):
        raise ValueError("no mapping of keys to values")
    included = config.pop("include", [])
    merged: Config = {}
    for name in [included] if isinstance(included, str) else included:
        merged |= read_task_file(path.parent / name)
    return merged | config


def task_of_file(path: Path) -> TaskFile:
    """Return the task of a yaml.

    Raises:
        ValueError: no task, or a group of them.
        OSError: a file that cannot be read.
    """
    config = read_task_file(path)
    name = config.get("task")
    if "group" in config or not isinstance(name, str):
        raise ValueError("not one task: name the files of a group's tasks instead")
    return TaskFile(name, path, config)


def tasks_of_name(name: str, index: TaskIndex) -> Iterator[TaskFile]:
    """Yield the task of a name, or all tasks of a group or of a tag; none of an unknown one."""
    for member in index.tagged.get(name, []):
        yield from tasks_of_name(member, index)
    if (path := index.files.get(name)) is None:
        return
    config = read_task_file(path)
    if "group" not in config:
        yield TaskFile(name, path, config)
        return
    for member in _members(config):
        yield from tasks_of_name(member, index)


def _members(group: Config) -> Iterator[str]:
    """Yield the names of a group's members, those of the groups inside it included."""
    members = group.get("task") or []
    for member in [members] if isinstance(members, str) else members:
        if isinstance(member, str):
            yield member
        elif isinstance(member.get("task"), list):
            yield from _members(member)
        else:
            yield str(member.get("task") or member.get("group"))


def with_absolute_paths(config: Mapping[str, Any], folder: Path) -> Config:
    """Return a task's config whose data files are found wherever the run stands.

    Relative ones are below the folder of the yaml, or else below the current one, where lm-eval's
    own command line looks.
    """
    config = dict(config)
    kwargs = dict(config.get("dataset_kwargs") or {})
    for key in ("data_files", "data_dir"):
        if kwargs.get(key) is not None:
            kwargs[key] = _absolute(kwargs[key], folder)
    if kwargs:
        config["dataset_kwargs"] = kwargs
    dataset = config.get("dataset_path")
    if isinstance(dataset, str) and dataset not in FILE_FORMATS and (folder / dataset).exists():
        config["dataset_path"] = str((folder / dataset).resolve())
    return config


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {name: _absolute(part, folder) for name, part in value.items()}
    if isinstance(value, list):
        return [_absolute(part, folder) for part in value]
    path = Path(value).expanduser()
    if "://" in value or path.is_absolute():
        return str(value) if "://" in value else str(path)
    beside = folder / path
    return str(path if path.exists() and not beside.exists() else beside.resolve())


def data_problems(task: TaskFile) -> list[Problem]:
    """Return what of a task's data is not on this machine."""
    config = with_absolute_paths(task.config, task.path.parent)
    dataset = config.get("dataset_path")
    if not isinstance(dataset, str) or "custom_dataset" in config or "class" in config:
        return []  # code makes the data: known when it runs
    place = str(task.path)
    if dataset in FILE_FORMATS:
        files = list(_leaves((config.get("dataset_kwargs") or {}).get("data_files")))
        if not files:
            want = f"the files that {task.name} reads"
            remedy = "Give it dataset_kwargs: {data_files: {test: FILE.jsonl}}"
            return [Problem(place, "no data_files", want, remedy)]
        return [problem for file in files for problem in _file_problems(task, file)]
    if Path(dataset).exists() or dataset_is_cached(dataset):
        return []
    call = f"datasets.load_dataset({dataset!r}{_subset(config)})"
    remedy = f'Where there is a network, once: python -c "import datasets; {call}"'
    got = f"{task.name}, whose data {dataset} are not on this machine"
    return [Problem(KEY, got, "data in local files or in the cache, read offline", remedy)]


def _subset(config: Config) -> str:
    return f", {config['dataset_name']!r}" if config.get("dataset_name") else ""


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    elif value is not None:
        yield str(value)


def _file_problems(task: TaskFile, file: str) -> list[Problem]:
    place, path = f"{task.path}: data_files", Path(file)
    if "://" in file:
        remedy = "Fetch it once, and name the copy."
        return [
            Problem(place, file, "a local file: nothing is fetched while a run goes on", remedy)
        ]
    if path.is_file() or any(path.parent.glob(path.name)):
        return []
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, names, n=1)
    remedy = f"Did you mean {near[0]}?" if near else ""
    return [Problem(place, f"{file}, which is not there", "a file of the task's documents", remedy)]


def dataset_is_cached(dataset: str) -> bool:
    """Return whether `datasets` has a hub's data set in its cache, as far as folders tell."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets"))
    wanted = _letters(dataset.replace("/", "___"))
    return cache.is_dir() and any(_letters(folder.name) == wanted for folder in cache.iterdir())


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
