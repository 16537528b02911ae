"""A new model of the user's own shape, with a tokenizer of the user's own texts: `model=scratch`.

It knows nothing until a run trains it; pre-training is `algo=sft` on these texts. The beginning is
kept in the cache, where the run's reference, its resumption and its reproduction find the same one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from rlexp.builtin.new_model import deterministic_cpu, new_model, new_tokenizer
from rlexp.runtime.cache import cache_folder, ensure_writable, make_once
from rlexp.spec.model import Shape

FORMAT = 1
"""To be raised whenever this code makes another model of the same shape, texts and seed."""
INITIALIZER_RANGE = 0.04
"""Standard deviation of the weights; wider than large models have, as suits narrow layers."""


def ensure_scratch_model(shape: Shape, texts: Sequence[str], seed: int) -> Path:
    """Return the folder of the new model, which is made if the cache does not hold it.

    The same shape, texts in their order, and seed give the same folder, with the same bits.

    Raises:
        UserError: the cache cannot be written to.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, shape.model_dump(), seed]).encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    models = cache_folder() / "models"
    ensure_writable(models)

    def make(draft: Path) -> None:
        with deterministic_cpu():
            tokenizer = new_tokenizer(texts, shape.vocabulary, shape.context)
            sizes = {"layers": shape.layers, "hidden_size": shape.hidden_size, "heads": shape.heads}
            inner = {"intermediate_size": 3 * shape.hidden_size, "longest": shape.context}
            model = new_model(
                len(tokenizer), seed, **sizes, **inner, initializer_range=INITIALIZER_RANGE
            )
            model.save_pretrained(draft)
            tokenizer.save_pretrained(draft)

    return make_once(models / f"scratch-{digest.hexdigest()[:16]}", make)
