"""Models that a run or somebody else saved, looked at without loading them.

A model is named by its folder, by the folder of a run (its `model/` is meant), by `run:` and the id
of a run below the current folder, by `registry:` and its name in MLflow's registry, or by a hub id.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.registry_reference import Reference, is_registered

RUNS = ("outputs/*/*/card.json", "multirun/*/*/card.json")


def saved_path(path: str, key: str) -> str:
    """The model's folder where it is on this machine, otherwise the hub id or `registry:` as it is.

    Raises:
        UserError: a run that is not there, or a folder without a model.
    """
    if is_registered(path):
        Reference.parse(path, key)
        return path
    run = path.removeprefix("run:")
    folder = _run_folder(run, key) if run != path else Path(path).expanduser()
    is_hub_id = path.count("/") == 1 and not path.startswith(("/", ".", "~"))
    if not folder.is_dir():
        if is_hub_id:
            return path
        remedy = "Give a model's folder, a run's folder, run:ID, registry:NAME or a hub id."
        raise UserError(Problem(key, f"{path}, which is not there", "a folder", remedy))
    inside = [place for place in (folder, folder / "model") if _config_file(place).is_file()]
    if not inside:
        remedy = "Did the run finish? Its model/ is written at its end."
        raise UserError(Problem(key, f"{folder}, without a model", "a model's folder", remedy))
    return str(inside[0].resolve())


def saved_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model, or `adapter_config.json` of an adapter."""
    return json.loads(_config_file(folder).read_text(encoding="utf-8"))


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter instead of whole weights."""
    return (folder / "adapter_config.json").is_file()


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


def _run_folder(run: str, key: str) -> Path:
    cards = [card for pattern in RUNS for card in sorted(Path().glob(pattern))]
    known = {json.loads(card.read_text(encoding="utf-8"))["run_id"]: card.parent for card in cards}
    folders = [place for run_id, place in known.items() if run and run_id.startswith(run)]
    if len(folders) == 1:
        return folders[0]
    got = f"run:{run}, the beginning of {len(folders)} of the {len(known)} finished runs here"
    remedy = "Type it in the folder where the run was started, or give the run's folder."
    raise UserError(Problem(key, got, "the id of one run in outputs/ or multirun/", remedy))
