"""Models that a run or somebody else saved, looked at without loading them.

A model is named by its folder, by a run (its `model/` is meant: the run's folder, or the name or id
of one below the current folder, with `run:` before it or not), by `registry:` and its name in
MLflow's registry, by a hub id, or by a GGUF file. `run:NAME/step-000020` is one of a run's
checkpoints.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.registry_reference import Reference, is_registered
from rlexp.spec.gguf import gguf_file, names_gguf

RUNS = ("outputs/*/*/card.json", "multirun/*/*/card.json")
SAMPLES = "samples.jsonl"
"""In the folder of a run of `algo=sample`: rated answers to training prompts."""
_STEP = re.compile(r"run:(?P<run>.+)/(?P<step>step-\d+)")
SHORTEST_ID = 4
"""Characters of an id that can name a run."""


def saved_path(path: str, key: str) -> str:
    """The model's folder where it is on this machine; a hub id, `registry:` and GGUF as they are.

    Raises:
        UserError: a run or a GGUF file that is not there, or a folder without a model.
    """
    if is_registered(path):
        Reference.parse(path, key)
        return path
    if names_gguf(path):
        gguf_file(path, key)
        return path
    if (of_run := model_of_run(path, key)) is not None:
        return str(of_run)
    folder = Path(path).expanduser()
    is_hub_id = path.count("/") == 1 and not path.startswith(("/", ".", "~"))
    if not folder.is_dir():
        if is_hub_id:
            return path
        remedy = "Give a model's folder, a run's folder, name or id, registry:NAME or a hub id."
        raise UserError(Problem(key, f"{path}, which is not there", "a folder", remedy))
    if not _config_file(folder).is_file():
        remedy = f"Give a folder that save_pretrained wrote: {key}=FOLDER"
        raise UserError(Problem(key, f"{folder}, without a model", "a model's folder", remedy))
    return str(folder.resolve())


def model_of_run(path: str, key: str) -> Path | None:
    """Return the folder of the model that a run left; None where the path names no run.

    Args:
        path: a run's folder, or the name or id of a finished run in `outputs/` or `multirun/`; of
            several runs of one name the newest is meant.
        key: of the config, for the error.

    Raises:
        UserError: a run without a model, or `run:` and what names no run.
    """
    run = Path(path).expanduser()
    if run.is_dir():
        if _config_file(run).is_file() or not (run / "config.yaml").is_file():
            return None
    elif path.startswith("run:") and (step := _STEP.fullmatch(path)):
        return _checkpoint(step["run"], step["step"], path, key)
    elif path.startswith("run:") or "/" not in path:
        named = named_run(path.removeprefix("run:"), _has_model)
        if named is None and path.startswith("run:"):
            raise UserError(unknown_run(path, key))
        if named is None:
            return None
        run = named
    else:
        return None
    model = run / "model"
    if (run / SAMPLES).is_file():
        got = f"{path}, a run of algo=sample, which trains nothing"
        words = f"python -m rlexp algo=dpo data=file data.path={shlex.quote(path)}"
        raise UserError(Problem(key, got, "a run that left a model", f"To train on it: {words}"))
    if not _config_file(model).is_file():
        got = f"{path}, a run without a model: it is written at the run's end"
        remedy = f"Let it end: python -m rlexp resume {shlex.quote(str(run))}"
        raise UserError(Problem(key, got, "a run that has ended", remedy))
    return model.resolve()


def _checkpoint(run: str, step: str, path: str, key: str) -> Path:
    named = named_run(run, lambda folder: (folder / "checkpoints" / step).is_dir())
    if named is None:
        raise UserError(unknown_run(path, key))
    folder = named / "checkpoints" / step
    if not _config_file(folder).is_file():
        kept = sorted(
            one.name for one in folder.parent.glob("step-*") if _config_file(one).is_file()
        )
        got = f"{path}, a checkpoint that the run has not kept"
        remedy = (
            f"Its last one: {key}=run:{run}/{kept[-1]}" if kept else f"Its model: {key}=run:{run}"
        )
        want = f"one of {', '.join(kept)}" if kept else "a run with checkpoints"
        raise UserError(Problem(key, got, want, remedy))
    return folder.resolve()


def saved_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model, or `adapter_config.json` of an adapter."""
    return json.loads(_config_file(folder).read_text(encoding="utf-8"))


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter instead of whole weights."""
    return (folder / "adapter_config.json").is_file()


def base_of_adapter(folder: Path, config: dict[str, Any]) -> Any:
    """Return what an adapter's config names as its base: a folder or a hub id.

    An adapter that began on the merged weights of another one names these, in the cache. Where they
    are gone, it is the other one that the run's config names, which is merged again.
    """
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not Path(base).is_absolute() or Path(base).is_dir():
        return base
    import yaml

    for run in (folder.parent, folder.parent.parent):  # of the final model, of a checkpoint
        if (run / "config.yaml").is_file():
            model = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")).get("model")
            began = str(model.get("path")) if isinstance(model, dict) else ""
            return began if is_adapter(Path(began).expanduser()) else base
    return base


def vocabulary(folder: Path) -> dict[str, int] | None:
    """Pieces and their ids as `tokenizer.json` has them, added tokens included; None without it."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    pieces = content["model"].get("vocab", {})
    if isinstance(pieces, list):  # of a unigram model: pieces with their scores
        pieces = {piece: index for index, (piece, _) in enumerate(pieces)}
    return pieces | {token["content"]: token["id"] for token in content.get("added_tokens", [])}


def _config_file(folder: Path) -> Path:
    return folder / ("adapter_config.json" if is_adapter(folder) else "config.json")


def unknown_run(path: str, key: str) -> Problem:
    """The problem of `run:` and what names no run."""
    got = f"{path}, which names no finished run here"
    remedy = "`python -m rlexp ls` lists the runs; or give the run's folder."
    return Problem(key, got, "the name or id of a run in outputs/ or multirun/", remedy)


def named_run(word: str, is_wanted: Callable[[Path], bool]) -> Path | None:
    """Return the newest run here of a name or of an id's beginning; those wanted come first."""
    named: list[Path] = []
    cards = [card for pattern in RUNS for card in Path().glob(pattern)]
    for card in sorted(cards, key=lambda card: card.stat().st_mtime, reverse=True):
        content = json.loads(card.read_text(encoding="utf-8"))
        is_id = len(word) >= SHORTEST_ID and str(content["run_id"]).startswith(word)
        if word == content["name"] or is_id:
            named.append(card.parent)
    return next(iter([*filter(is_wanted, named), *named]), None)


def _has_model(run: Path) -> bool:
    return _config_file(run / "model").is_file()
