"""Which of a run's weights are promoted, and the folder that goes into the model registry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from rlexp.cards.card import Card
from rlexp.cards.model_card import NAME, Weights, hub_id, model_card, of_step
from rlexp.evaluation.results import Evaluation
from rlexp.models.adapters import ADAPTER_CONFIG, BASE, base_of
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

    place: Path
    """Their folder."""
    step: int
    why: str
    """In words, for people."""


@dataclass(frozen=True)
class StagedCard:
    """The model card of what is uploaded."""

    text: str
    """Markdown, without the front matter."""
    metrics: dict[str, str]
    """Of the evaluation of these weights, as tags."""


def choose_weights(run: Path, status: str, checkpoint: str | None) -> ChosenWeights:
    """The weights that were asked for, else the run's best, else its last.

    Args:
        run: the run's folder.
        status: as MLflow has it, for errors.
        checkpoint: `step-000030`, `30`, or `model`; None leaves the choice.

    Raises:
        UserError: they are not there.
    """
    complete = {each.name: each for each in complete_checkpoints(run / CHECKPOINTS)}
    last = last_step(run)
    best = run / CHECKPOINTS / BEST
    if checkpoint is None and best.is_file():
        told = json.loads(best.read_text(encoding="utf-8"))
        if told["folder"] in complete:
            why = f"the best by {told['metric']} ({told['value']:.4g})"
            return ChosenWeights(complete[told["folder"]], int(told["step"]), why)
    if checkpoint in (None, MODEL):
        if has_weights(run / MODEL):
            return ChosenWeights(run / MODEL, last, "the final model")
        there = f"checkpoints: {', '.join(complete)}" if complete else "no complete checkpoint"
        got = f"{run}, {status}, without a final model ({there})"
        remedy = f"Name one: --checkpoint {[*complete][-1]}" if complete else "Promote another run."
        raise UserError(Problem("run", got, "a run that left a model", remedy))
    name = f"step-{int(checkpoint):06d}" if checkpoint.isdigit() else checkpoint
    if name not in complete:
        want = f"one of {', '.join([*complete, MODEL])}"
        raise UserError(Problem("--checkpoint", checkpoint, want))
    return ChosenWeights(complete[name], step_of(complete[name]), "as asked")


def stage(run: Path, weights: ChosenWeights, origin: Mapping[str, str], target: Path) -> StagedCard:
    """Gather in `target` what is to be uploaded; its model card.

    Args:
        run: the run's folder.
        weights: of the run.
        origin: the run's tags.
        target: an empty folder; the files in it are links.

    Raises:
        UserError: an adapter whose base is nowhere, or a run that was cut off without a card.
    """
    for file in _model_files(weights.place):
        (target / file.name).symlink_to(file.resolve())
    config, card = run_config(run), _card_of(run, weights)
    template = target / "chat_template.jinja"
    if not config["model"]["chat"] and template.exists() and template.read_text("utf-8") == PLAIN:
        template.unlink()  # as in the final model: it would pass for one that knows chats
    adapter = is_adapter(weights.place)
    base_inside = adapter and _bring_base(weights.place, target)
    told = model_card(config, card, origin, Weights(weights.step, adapter, base_inside))
    (target / NAME).write_text(redacted(told.content), encoding="utf-8")
    metrics = {
        f"eval/{name}": f"{value:.6g}" for name, value in card.after.items() if value is not None
    }
    return StagedCard(redacted(told.text.strip()), metrics)


def _card_of(run: Path, weights: ChosenWeights) -> Card:
    """The run's card, as it would be had the run ended with these weights."""
    file = run / CARD
    if not file.is_file():
        remedy = f"Let it go on to its end first: python -m rlexp resume {run}"
        raise UserError(Problem("run", f"{run}, cut off without a card", "a run's card", remedy))
    card = Card.from_json(file)
    if card.after and weights.step == last_step(run):
        return card
    evaluation = run / EVALUATIONS / step_file(weights.step)
    found = Evaluation.from_json(evaluation) if evaluation.is_file() else None
    return of_step(card, found.metrics if found else {}, found.intervals if found else {})


def last_step(run: Path) -> int:
    """The step at which the run ended: the last of its config, unless a guard stopped it."""
    told = RunHistory.read(run / SPOOL)
    stopped = told.stopped_at if told else None
    return stopped or int(run_config(run)["train"]["max_steps"])


def run_config(run: Path) -> dict[str, Any]:
    """The run's composed config."""
    return yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))


def has_weights(folder: Path) -> bool:
    """Whether a folder holds a model's weights."""
    return any(folder.glob("*.safetensors"))


def files_digest(folder: Path) -> str:
    """SHA-256 of the files that make the model, by name; the card is not among them."""
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != NAME:
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            whole.update(f"{file.relative_to(folder)}:{content}\n".encode())
    return whole.hexdigest()


def _model_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.iterdir()):
        if file.is_file() and any(fnmatch(file.name, pattern) for pattern in FILES):
            yield file


def _bring_base(adapter: Path, target: Path) -> bool:
    """Put the adapter's base beside it unless everybody finds it on the hub; whether it was put."""
    base, _ = base_of(adapter)
    if hub_id(base):
        return False
    if not Path(base).is_dir():
        got = f"{adapter}, an adapter of {base}, which is not there"
        remedy = "Promote it where it was trained."
        raise UserError(Problem("run", got, "an adapter with its base", remedy))
    (target / BASE).mkdir()
    for file in _model_files(Path(base)):
        (target / BASE / file.name).symlink_to(file.resolve())
    return True
