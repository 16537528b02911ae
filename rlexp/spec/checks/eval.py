"""What an evaluation demands of the user's files and of the data's columns."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from rlexp.spec.data import SOURCE, DataSpec
from rlexp.spec.errors import Problem, Problems
from rlexp.spec.eval import EvalSpec
from rlexp.spec.train import TrainSpec

TEXTS = (".txt", ".jsonl", ".csv", ".parquet")
"""Suffixes of files of texts."""


def texts_are_there(evaluation: EvalSpec) -> list[Problem]:
    """The file of `eval.texts_path` exists, is of a known kind, and is used."""
    key, path = "eval.texts_path", evaluation.texts_path
    if path is None:
        return []
    file, problems = Path(path).expanduser(), []
    if not file.is_file():
        got = f"{path}, a folder" if file.is_dir() else f"{path}, which is not there"
        near = get_close_matches(file.name, _names_in(file.parent), n=1)
        remedy = f"Did you mean {file.parent / near[0]}?" if near else ""
        problems.append(Problem(key, got, "a file of texts, or null", remedy))
    if file.suffix.lower() not in TEXTS:
        problems.append(Problem(key, path, f"a file that ends with {', '.join(TEXTS)}"))
    if evaluation.texts == 0:
        remedy = "Set eval.texts=200, or eval.texts_path=null."
        problems.append(Problem("eval.texts", "0, with eval.texts_path", "1 or more", remedy))
    return problems


def _names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def slices_are_columns(data: DataSpec, evaluation: EvalSpec) -> list[Problem]:
    """Each of `eval.slices` is a column of the data, or of a mix's sources, as far as known yet."""
    columns = {SOURCE} if data.source_names else set()
    for source in data.sources_by_name().values():
        of_source = source.extra_columns()
        if of_source is None:
            return []
        columns |= of_source
    return [
        no_such_column(name, sorted(columns)) for name in evaluation.slices if name not in columns
    ]


def no_such_column(name: str, columns: list[str]) -> Problem:
    """The problem of a slice by a column that the data does not have."""
    has = f"columns among {', '.join(columns)}" if columns else "[]: the data has no such column"
    near = get_close_matches(name, columns, n=1)
    remedy = f"Did you mean {near[0]}?" if near else ""
    return Problem("eval.slices", repr(name), has, remedy)


def best_is_known(train: TrainSpec, evaluation: EvalSpec) -> Problems:
    """Checkpoints are compared by a metric that is known at each of them."""
    metric = train.best_metric
    if metric is None:
        return []
    group, _, name = metric.partition("/")
    if group not in ("eval", "rollout", "train") or not name:
        want = "a tracked metric, such as eval/reward, rollout/reward or train/loss"
        return [Problem("train.best_metric", metric, want)]
    every = evaluation.every
    if group == "eval" and name.startswith("benchmark_"):
        want = "a metric of every evaluation: benchmarks are measured before and after only"
        return [Problem("train.best_metric", metric, want)]
    if group == "eval" and (every == 0 or train.checkpoint_every % every):
        want = f"an evaluation at each checkpoint, for train.best_metric={metric}"
        remedy = f"Set eval.every={train.checkpoint_every}: it is train.checkpoint_every."
        return [Problem("eval.every", str(every), want, remedy)]
    return []
