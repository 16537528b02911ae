"""Pre-training of the embedded tiny language model on the film reviews of `rlexp.builtin.grammar`.

A Qwen3 of 0.17 M parameters with a byte-level BPE tokenizer learns the language of
`rlexp.builtin.grammar` by plain next-token prediction: AdamW, one pass over fresh texts, a cosine
to zero.

A text stands between two end tokens, so that its first token is predicted as well and the held-out
loss can be read against the grammar's exact entropy. Every second one lacks the end token before
it, as prompts do: without that, only 86 % of a completed prompt's sentences were grammatical.

What helped and what did not, as the gap to that entropy in nats a token (this recipe: .0046): 1,300
steps .0039, these at a rate of 1e-2 .0044, 900 at that rate .0064, and with hidden size 96 .0065; a
second thread makes each step a third slower. With batches of texts of like
length, which pull the end token's probability to and fro: .0082 where the same without had .0064,
Qwen2 .0087, 450 steps of 64 texts .0105, a third layer .0093, an average of the weights none. Muon
brought .0020, at six times the duration.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rlexp.builtin import grammar
from rlexp.builtin.new_model import END, PAD, deterministic_cpu, new_model, new_tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast as Tokenizer
    from transformers import Qwen3ForCausalLM as Model

Progress = Callable[[int, int, float], None]

FORMAT = 1
"""To be raised whenever this code makes another model of the same recipe and texts."""

LONGEST = 512  # tokens of a context


@dataclass(frozen=True)
class Recipe:
    """Everything that the model is made of beside the grammar's texts and `FORMAT`."""

    vocabulary: int = 1_024
    """Most pieces the tokenizer may have; it stops at 972, when every word is one."""
    hidden_size: int = 64
    layers: int = 2
    heads: int = 4
    intermediate_size: int = 192
    initializer_range: float = 0.04
    steps: int = 1_100
    batch_size: int = 32
    learning_rate: float = 1.3e-2
    warmup_steps: int = 40
    held_out: int = 1_000
    """Reviews that the loss is measured on."""
    samples: int = 400
    """Of these, how many the model completes from four words: are the sentences grammatical?"""
    seed: int = 0


def build(folder: Path, recipe: Recipe, progress: Progress | None = None) -> None:
    """Train the model and write it to `folder`, with a `recipe.json` that says how well it went.

    The same machine makes the same weights, bit for bit. The caller's random state, grad mode,
    default dtype and thread count are untouched.
    """
    started = time.perf_counter()
    with deterministic_cpu():
        # A stream of its own: no seed that a data set may be drawn with starts the same one.
        rng = random.Random(f"pre-training {recipe.seed}")
        count = recipe.steps * recipe.batch_size
        texts = [grammar.FILM_REVIEWS.sample(rng)[0] for _ in range(count)]
        tokenizer = new_tokenizer(texts[:5_000], recipe.vocabulary, LONGEST)
        names = ("layers", "hidden_size", "heads", "intermediate_size", "initializer_range")
        sizes = {name: getattr(recipe, name) for name in names}
        model = new_model(len(tokenizer), recipe.seed, longest=LONGEST, **sizes)
        _train(model, tokenizer, texts, recipe, progress)
        quality = _evaluate(model, tokenizer, recipe)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    seconds = round(time.perf_counter() - started, 1)
    size = {"parameters": model.num_parameters(), "seconds": seconds}
    results = {**asdict(recipe), **quality, **size}
    (folder / "recipe.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _train(
    model: Model, tokenizer: Tokenizer, texts: list[str], recipe: Recipe, progress: Progress | None
) -> None:
    import torch

    def scale(step: int) -> float:
        rise = min(1.0, (step + 1) / recipe.warmup_steps)
        return rise * (1 + math.cos(math.pi * step / recipe.steps)) / 2

    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
    model.train()
    batches = _batches(tokenizer, texts, recipe.batch_size, bare_every=2)
    for step, batch in enumerate(batches, start=1):
        loss = _losses(model, batch).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if progress:
            progress(step, recipe.steps, loss.item())


def _batches(
    tokenizer: Tokenizer, texts: list[str], size: int, bare_every: int | None = None
) -> Iterator[Tensor]:
    """Yield the texts in their order as token ids [size, longest], padded on the right.

    Each stands between two end tokens; every `bare_every`-th lacks the one before it.
    """
    import torch

    for start in range(0, len(texts), size):
        rows = [[END, *ids, END] for ids in tokenizer(texts[start : start + size])["input_ids"]]
        if bare_every:
            rows[::bare_every] = [row[1:] for row in rows[::bare_every]]
        tensors = [torch.tensor(row) for row in rows]
        yield torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=PAD)


def _losses(model: Model, batch: Tensor) -> Tensor:
    """Return -log p in nats of every token [n] but the first of each row, padding left out.

    Under a causal mask nothing sees the padding on its right: no attention mask is needed.
    """
    import torch

    targets = batch[:, 1:]
    hidden = model.model(input_ids=batch[:, :-1], use_cache=False).last_hidden_state
    real = targets != PAD
    logits = model.lm_head(hidden[real])
    return torch.nn.functional.cross_entropy(logits, targets[real], reduction="none")


def _evaluate(model: Model, tokenizer: Tokenizer, recipe: Recipe) -> dict[str, float]:
    """Return held-out loss and floor, in nats a predicted token, and the model's own grammar.

    The floor is the same reviews' loss under the grammar itself: no model can be expected below.
    """
    import torch

    model.eval()
    reviews = grammar.sample_reviews(recipe.held_out, seed=recipe.seed)
    texts = [review.text for review in reviews]
    with torch.no_grad():
        losses = torch.cat([_losses(model, batch) for batch in _batches(tokenizer, texts, 100)])
        prompts = [" ".join(text.split(" ")[:4]) for text in texts[: recipe.samples]]
        encoded = tokenizer(prompts, return_tensors="pt", padding=True)
        torch.default_generator.manual_seed(recipe.seed)
        # The stubs of transformers do not see that the class has what `generate` asks for.
        written = cast(Any, model).generate(**encoded, do_sample=True, top_k=0, max_new_tokens=96)
    samples = tokenizer.batch_decode(written, skip_special_tokens=True)
    return {
        "held_out_loss": losses.double().mean().item(),
        "floor": -sum(review.log_prob for review in reviews) / len(losses),
        "grammatical": sum(map(grammar.grammatical, samples)) / len(samples),
    }
