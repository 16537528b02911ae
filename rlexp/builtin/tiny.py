"""The embedded tiny language model: made on this machine at first use, then cached."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rlexp.builtin import grammar, pretraining
from rlexp.builtin.pretraining import Progress, Recipe
from rlexp.runtime.cache import cache_folder, ensure_writable, make_once

FILES = ("config.json", "model.safetensors", "tokenizer.json", "recipe.json")


def ensure_tiny_model(
    cache: Path | None = None, progress: Progress | None = None, recipe: Recipe | None = None
) -> Path:
    """Return the folder of the tiny model, which is trained first if the cache does not hold it.

    The folder is a plain transformers one; its `recipe.json` holds the recipe and what came of it.
    The same machine makes the same weights, bit for bit. Progress is a step, the steps and the loss
    in nats a token.

    Raises:
        UserError: the cache cannot be written to.
    """
    chosen = recipe or Recipe()
    folder = (cache or cache_folder()) / "models" / f"tiny-{_fingerprint(chosen)}"
    if not _complete(folder):
        ensure_writable(folder.parent)
    make = partial(pretraining.build, recipe=chosen, progress=progress)
    return make_once(folder, make, _complete, family="tiny")


def made_tiny_model() -> Path | None:
    """Return the folder of the usual tiny model; None where the cache does not hold it yet."""
    folder = cache_folder() / "models" / f"tiny-{_fingerprint(Recipe())}"
    return folder if _complete(folder) else None


def _fingerprint(recipe: Recipe) -> str:
    """Return a name of all that makes the model; some texts stand for how rules become texts."""
    texts = [review.text for review in grammar.sample_reviews(20, seed=0)]
    made_of = [pretraining.FORMAT, grammar.RULES, grammar.CLASSES, texts, asdict(recipe)]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)
