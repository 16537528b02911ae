"""A run in words, for its page in MLflow: at first what is being trained, then what came of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlexp.cards.card import Card
from rlexp.cards.labels import card_headline, cost_line, format_verdicts
from rlexp.cards.model_card import NAME, training_summary
from rlexp.spec.model_kind import KINDS


def note_at_start(config: Mapping[str, Any], folder: Path) -> str:
    """Return what is trained on what, and how the run goes on if it stops.

    Args:
        config: the run's composed config.
        folder: the run's folder.

    Returns:
        Markdown.
    """
    return f"{_plan(config)}\n\n{_resume(folder)}"


def note_at_end(config: Mapping[str, Any], card: Card, folder: Path) -> str:
    """Return what came of a run, what to distrust, and where the results are.

    Args:
        config: the run's composed config.
        card: of the run, finished or not.
        folder: the run's folder.

    Returns:
        Markdown. MLflow folds all but its first lines away: the result stands in them.
    """
    paragraphs = [
        f"**{card_headline(card)}**: {_plan(config)}",
        *format_verdicts(card),
        *card.guards,
        *card.notes,
    ]
    paragraphs.append("The card of the run, with curves and samples: the artifact `card.html`.")
    if card.after:
        kind = KINDS["reward" if "accuracy" in card.after else "language"]
        model = folder / "model"
        promote = f"python -m rlexp promote {card.run_id or shlex.quote(str(folder))} --name NAME"
        paragraphs += [
            f"Load it: `{kind.auto_class}.from_pretrained({str(model)!r})`; its model card is "
            f"`model/{NAME}`.",
            f"Give it a name in the model registry: `{promote}`",
            f"It took: {cost_line(card)}.",
        ]
    else:
        paragraphs.append(_resume(folder))
    return "\n\n".join(paragraphs)


def note_at_evaluation_start(config: Mapping[str, Any]) -> str:
    """Return what is evaluated, where nothing is trained. Markdown."""
    against = config["model"]["path"] if config["algo"]["model"] else None
    evaluated = config["algo"]["model"] or config["model"]["path"]
    compared = f", against `{against}`" if against else ""
    data, reward = config["data"]["name"], config["reward"]["name"]
    return f"An evaluation of `{evaluated}`{compared}, on {data}, by the reward {reward}."


def note_at_evaluation_end(config: Mapping[str, Any], card: Card) -> str:
    """Return what came of an evaluation. Markdown."""
    paragraphs = [
        f"**{card_headline(card)}**: {note_at_evaluation_start(config)}",
        *format_verdicts(card),
        *card.guards,
    ]
    return "\n\n".join([*paragraphs, *card.notes, "The card: the artifact `card.html`."])


def _plan(config: Mapping[str, Any]) -> str:
    train = config["train"]
    length = f"{train['max_steps']} steps of {train['batch_size']}, seed {config['seed']}."
    return f"{training_summary(config)} {length}"


def _resume(folder: Path) -> str:
    return f"Should it stop, it goes on by `python -m rlexp resume {shlex.quote(str(folder))}`"
