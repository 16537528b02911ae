"""The tasks of `eval.benchmarks`, built by lm-eval: imported only where there are any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from rlexp.runtime.environment import hub_closed
from rlexp.spec.benchmarks import BenchmarksSpec
from rlexp.spec.harness.files import is_file_of_task, with_absolute_paths
from rlexp.spec.harness.index import own_tasks


@contextmanager
def data_read_offline() -> Iterator[None]:
    """Have `datasets` read local files and its cache, and ask nobody, inside the block."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = True
    try:
        with hub_closed():
            yield
    finally:
        config.HF_HUB_OFFLINE = before


def build_tasks(spec: BenchmarksSpec) -> dict[str, Any]:
    """Return what `TaskManager.load` gives for the words of `spec.tasks`.

    Each task is set as lm-eval's command line sets it: `spec.num_fewshot` goes before a task's own
    number unless that is 0, and the examples are drawn by lm-eval's seed.
    """
    words = [_task_config(word) for word in spec.tasks]
    by_name = any(isinstance(word, str) for word in words)
    loaded: Any = _manager(by_name).load(words)
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        if spec.num_fewshot is not None and own != 0:
            task.set_config(key="num_fewshot", value=spec.num_fewshot)
        elif own is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
    return loaded


@cache
def _manager(with_names: bool) -> TaskManager:
    """Return what builds tasks; to know all names of lm-eval's takes it ten seconds."""
    return TaskManager(include_defaults=with_names)


def _task_config(word: str) -> str | dict[str, Any]:
    """Return a task's config; of groups, tags and tasks that are classes the name."""
    if is_file_of_task(word):
        path = Path(word).expanduser().resolve()
    else:
        path = own_tasks().files.get(word)
    if path is None:
        return word
    config = load_yaml(path)
    if "group" in config or "class" in config:
        return word
    return with_absolute_paths(config, path.parent)
