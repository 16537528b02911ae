"""Promotion of a run: which of its weights, and the folder that goes into the model registry."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from rlexp.cards.card import Card
from rlexp.cards.model_card import NAME, Weights, card_at_step, hub_id, model_card
from rlexp.evaluation.results import Evaluation
from rlexp.models.adapters import ADAPTER_CONFIG, BASE, base_of
from rlexp.models.locate import local_folder, whole_folder
from rlexp.models.tokenizer import PLAIN
from rlexp.runtime.checkpoints import BEST, complete_checkpoints, step_of
from rlexp.runtime.run_folder import CARD, CHECKPOINTS, CONFIG, EVALUATIONS, MODEL, SPOOL, step_file
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import is_adapter
from rlexp.tracking.secrets import redacted
from rlexp.tracking.spool.history import RunHistory

FILES = (
    "model*.safetensors",
    "adapter_model.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    ADAPTER_CONFIG,
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.jinja",
)
"""Of a checkpoint, what belongs to the model: neither the optimizer's state nor any pickle."""


@dataclass(frozen=True)
class ChosenWeights:
    """Weights of a run."""

    folder: Path
    step: int
    reason: str
    """Why these, for people."""


@dataclass(frozen=True)
class StagedCard:
    """The model card of what is uploaded, and its metrics."""

    text: str
    """Markdown, without the front matter."""
    metrics: dict[str, str]
    """Of the evaluation of these weights, as tags."""


def choose_weights(run: Path, status: str, checkpoint: str | None) -> ChosenWeights:
    """Return the weights that were asked for, else the run's best, else its last.

    A checkpoint is `step-000030`, `30`, or `model`. Raises `UserError` where it is not there, which
    tells the run's status.
    """
    complete = {path.name: path for path in complete_checkpoints(run / CHECKPOINTS)}
    last = last_step(run)
    best_file = run / CHECKPOINTS / BEST
    if checkpoint is None and best_file.is_file():
        best = json.loads(best_file.read_text(encoding="utf-8"))
        if best["folder"] in complete:
            reason = f"the best by {best['metric']} ({best['value']:.4g})"
            return ChosenWeights(complete[best["folder"]], int(best["step"]), reason)
    if checkpoint in (None, MODEL):
        if any((run / MODEL).glob("*.safetensors")):
            return ChosenWeights(run / MODEL, last, "the final model")
        others = f"checkpoints: {', '.join(complete)}" if complete else "no complete checkpoint"
        got = f"{run}, {status}, without a final model ({others})"
        remedy = f"Name one: --checkpoint {[*complete][-1]}" if complete else "Choose another run."
        raise UserError(Problem("run", got, "a run that left a model", remedy))
    name = f"step-{int(checkpoint):06d}" if checkpoint.isdigit() else checkpoint
    if name not in complete:
        want = f"one of {', '.join([*complete, MODEL])}"
        raise UserError(Problem("--checkpoint", checkpoint, want))
    return ChosenWeights(complete[name], step_of(complete[name]), "as asked")


def stage(
    run: Path,
    weights: ChosenWeights,
    origin: Mapping[str, str],
    target: Path,
    *,
    for_hub: bool = False,
    merged: bool = False,
) -> StagedCard:
    """Gather in an empty folder, as links, what is to be uploaded; return its model card.

    Args:
        run: the run's folder.
        weights: of the run.
        origin: the run's tags.
        target: the empty folder.
        for_hub: whether it goes to the hub, where an adapter finds only a base that is there too.
        merged: whether an adapter goes merged into its base.

    Raises:
        UserError: an adapter whose base is nowhere, or a run that was cut off without a card.
    """
    folder = whole_folder(weights.folder, local_folder) if merged else weights.folder
    for file in _model_files(folder):
        (target / file.name).symlink_to(file.resolve())
    config, card = run_config(run), _card_of(run, weights)
    template = target / "chat_template.jinja"
    if not config["model"]["chat"] and template.exists() and template.read_text("utf-8") == PLAIN:
        template.unlink()  # as in the final model: it would pass for one that knows chats
    adapter = is_adapter(folder)
    if adapter and for_hub and not hub_id(base_of(folder)[0]):
        got = f"an adapter of {base_of(folder)[0]}, which is not on the hub"
        want = "an adapter whose base can be had there"
        raise UserError(Problem("--push", got, want, "Add --merged."))
    base_inside = adapter and _link_base(folder, target)
    text = model_card(config, card, origin, Weights(weights.step, adapter, base_inside))
    (target / NAME).write_text(redacted(text.content), encoding="utf-8")
    measured = {name: value for name, value in card.after.items() if value is not None}
    metrics = {f"eval/{name}": f"{value:.6g}" for name, value in measured.items()}
    return StagedCard(redacted(text.text.strip()), metrics)


def _card_of(run: Path, weights: ChosenWeights) -> Card:
    """Return the run's card, as it would be had the run ended with these weights."""
    file = run / CARD
    if not file.is_file():
        remedy = f"Let it go on to its end first: python -m rlexp resume {shlex.quote(str(run))}"
        raise UserError(Problem("run", f"{run}, cut off without a card", "a run's card", remedy))
    card = Card.from_json(file)
    if card.after and weights.step == last_step(run):
        return card
    file = run / EVALUATIONS / step_file(weights.step)
    if not file.is_file():
        return card_at_step(card, {}, {})
    evaluation = Evaluation.from_json(file)
    return card_at_step(card, evaluation.metrics, evaluation.intervals)


def last_step(run: Path) -> int:
    """Return the step at which the run ended: the last of its config, unless a guard stopped it."""
    history = RunHistory.read(run / SPOOL)
    stopped_at = history.stopped_at if history else None
    return stopped_at or int(run_config(run)["train"]["max_steps"])


def run_config(run: Path) -> dict[str, Any]:
    """Return the run's composed config."""
    return yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))


def files_digest(folder: Path) -> str:
    """Return the SHA-256 of the files that make the model, by name; the card is not among them."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != NAME:
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            digest.update(f"{file.relative_to(folder)}:{content}\n".encode())
    return digest.hexdigest()


def _model_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.iterdir()):
        if file.is_file() and any(fnmatch(file.name, pattern) for pattern in FILES):
            yield file


def _link_base(adapter: Path, target: Path) -> bool:
    """Link the adapter's base beside it unless it is on the hub; return whether it was linked."""
    base, _ = base_of(adapter)
    if hub_id(base):
        return False
    if not Path(base).is_dir():
        got = f"{adapter}, an adapter of {base}, which is not there"
        remedy = "Promote it where it was trained."
        raise UserError(Problem("run", got, "an adapter with its base", remedy))
    (target / BASE).mkdir()
    for file in _model_files(whole_folder(Path(base), local_folder)):
        (target / BASE / file.name).symlink_to(file.resolve())
    return True
