"""The embedded tiny language model: made on this machine at first use, then cached."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from rlexp.builtin import grammar, pretraining
from rlexp.builtin.pretraining import Progress, Recipe
from rlexp.runtime.cache import cache_folder, ensure_writable

FILES = ("config.json", "model.safetensors", "tokenizer.json", "recipe.json")


def ensure_tiny_model(
    cache: Path | None = None, progress: Progress | None = None, recipe: Recipe | None = None
) -> Path:
    """The folder of the tiny model, which is trained first if the cache does not hold it.

    The folder is a plain transformers one; its `recipe.json` holds the recipe and what came of it.
    The same machine makes the same weights, bit for bit. Processes that ask at the same time train
    once, and a killed one leaves nothing that could be mistaken for a model. The caller's random
    state, grad mode, default dtype and thread count are untouched.

    Args:
        cache: root of the cache; by default `$RLEXP_CACHE`, or else the user's cache folder.
        progress: called after each training step with the step, the steps and the loss in nats a
            token.
        recipe: another model than the usual one.

    Raises:
        UserError: the cache cannot be written to.
    """
    recipe = recipe or Recipe()
    models = (cache or cache_folder()) / "models"
    folder = models / f"tiny-{_fingerprint(recipe)}"
    if _complete(folder):
        return folder
    ensure_writable(models)
    from filelock import FileLock

    # One lock for every recipe: whoever holds it knows that any workshop it finds is a dead one's.
    with FileLock(models / "tiny.lock"):
        if not _complete(folder):
            for leftover in models.glob("tiny-*.workshop-*"):
                shutil.rmtree(leftover)
            if folder.exists():
                shutil.rmtree(folder)
            with tempfile.TemporaryDirectory(prefix=f"{folder.name}.workshop-", dir=models) as made:
                workshop = Path(made, folder.name)
                workshop.mkdir()
                pretraining.build(workshop, recipe, progress)
                workshop.rename(folder)
    return folder


def made_tiny_model() -> Path | None:
    """Return the folder of the usual tiny model; None where the cache does not hold it yet."""
    folder = cache_folder() / "models" / f"tiny-{_fingerprint(Recipe())}"
    return folder if _complete(folder) else None


def _fingerprint(recipe: Recipe) -> str:
    """Names everything that the model is made of; some texts stand for how rules become texts."""
    texts = [review.text for review in grammar.sample_reviews(20, seed=0)]
    made_of = [pretraining.FORMAT, grammar.RULES, grammar.CLASSES, texts, asdict(recipe)]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)
