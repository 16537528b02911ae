"""A run in words, for its page in MLflow: at first what is being trained, then what came of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlexp.cards.card import Card
from rlexp.cards.labels import card_headline, cost_line, format_verdicts
from rlexp.cards.model_card import NAME, algorithm_of, training_summary
from rlexp.spec.algo import UntrainedAlgo
from rlexp.spec.model_kind import KINDS


def note_at_start(config: Mapping[str, Any], folder: Path) -> str:
    """Return what a run of this config does, and how its training goes on if it stops. Markdown."""
    return f"{_plan(config)}\n\n{_resume(folder)}"


def note_at_end(config: Mapping[str, Any], card: Card, folder: Path) -> str:
    """Return what came of a run, what to distrust, and where the results are. Markdown.

    MLflow folds all but its first lines away: the result stands in them.
    """
    algo = algorithm_of(config)
    paragraphs = [f"**{card_headline(card)}**: {_plan(config)}"]
    paragraphs += [*format_verdicts(card), *card.guards, *card.notes]
    if not algo.trains:
        return "\n\n".join([*paragraphs, "The card: the artifact `card.html`."])
    paragraphs.append("The card of the run, with curves and samples: the artifact `card.html`.")
    if not card.after:
        return "\n\n".join([*paragraphs, _resume(folder)])
    auto_class, model = KINDS[algo.head].auto_class, str(folder / "model")
    promote = f"python -m rlexp promote {card.run_id or shlex.quote(str(folder))} --name NAME"
    paragraphs += [
        f"Load it: `{auto_class}.from_pretrained({model!r})`; its model card is `model/{NAME}`.",
        f"Give it a name in the model registry: `{promote}`",
        f"It took: {cost_line(card)}.",
    ]
    return "\n\n".join(paragraphs)


def _plan(config: Mapping[str, Any]) -> str:
    algo, train = algorithm_of(config), config["train"]
    if issubclass(algo, UntrainedAlgo):
        return algo.sentence(config)
    length = f"{train['max_steps']} steps of {train['batch_size']}, seed {config['seed']}."
    return f"{training_summary(config)} {length}"


def _resume(folder: Path) -> str:
    return f"Should it stop, it goes on by `python -m rlexp resume {shlex.quote(str(folder))}`"
