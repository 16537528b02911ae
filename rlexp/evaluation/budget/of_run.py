"""The size of one run's card: what its config asks for, within `eval.budget`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from rlexp.evaluation.budget.size import (
    CardSize,
    TokenCounts,
    TrainingWork,
    card_tokens,
    fitting_size,
    training_tokens,
)
from rlexp.spec.algo import RolloutAlgo
from rlexp.spec.judge import needs_rivals
from rlexp.spec.policy import PolicyLike
from rlexp.spec.run import RunSpec
from rlexp.spec.text import Text, content_of

COUNTED = 64
"""Rows and texts, the first of them, whose tokens are counted."""
ANSWERS = ("completion", "chosen", "rejected")

Rows = Sequence[Mapping[str, Any]]


def size_of_card(
    spec: RunSpec,
    policy: PolicyLike,
    rows: Rows,
    eval_rows: Rows,
    texts: Sequence[str],
    *,
    looks: bool,
) -> tuple[CardSize, str]:
    """Return the size of the run's card, and in words what `eval.budget` has taken away.

    Args:
        spec: the run's, of a model that writes.
        policy: its model before training.
        rows: framed training rows.
        eval_rows: framed held-out rows.
        texts: held-out texts for perplexity.
        looks: whether guards look at held-out prompts.
    """
    asked = asked_size(spec, len(eval_rows), len(texts), looks=looks)
    share = spec.eval.budget
    if share is None:
        return asked, ""
    training = TrainingWork(spec.train.max_steps, _sequences(spec), _passes(spec))
    lengths = _lengths(spec, policy, rows, eval_rows, texts)
    weights = policy.model.num_parameters()
    size = fitting_size(asked, training, lengths, share, weights)
    if size == asked:
        return asked, ""
    cost = card_tokens(size, training, lengths) / training_tokens(training, lengths)
    return size, f"eval.budget={share:g}: {_difference(asked, size)}. {_cost(cost)}"


def asked_size(spec: RunSpec, rows: int, texts: int, *, looks: bool) -> CardSize:
    """Return the size that the config asks for, of so many rows and texts as there are."""
    evaluation, guards = spec.eval, spec.guards
    steps, every = spec.train.max_steps, evaluation.every
    rewarded = spec.reward.scores_anything
    return CardSize(
        prompts=min(evaluation.prompts, rows),
        completions=evaluation.completions,
        texts=min(evaluation.texts, texts),
        best_of=evaluation.best_of if rewarded else 0,
        best_of_prompts=min(evaluation.best_of_prompts, evaluation.prompts, rows),
        looks_every=guards.every if looks else 0,
        look_prompts=min(guards.prompts, rows),
        look_texts=min(guards.texts, texts),
        fewest_completions=min(evaluation.completions, 2 if needs_rivals(spec.reward) else 1),
        evaluations=2 + ((steps - 1) // every if every else 0),
    )


def with_size(spec: RunSpec, size: CardSize) -> RunSpec:
    """Return the spec of a run whose card has this size."""
    evaluation = {
        "prompts": size.prompts,
        "completions": size.completions,
        "texts": size.texts,
        "best_of": size.best_of,
        "best_of_prompts": max(2, size.best_of_prompts),
        "judge_prompts": min(spec.eval.judge_prompts, size.prompts),
    }
    changes: dict[str, Any] = {"eval": spec.eval.model_copy(update=evaluation)}
    if size.looks_every:
        changes["guards"] = spec.guards.model_copy(update={"every": size.looks_every})
    return spec.model_copy(update=changes)


def _sequences(spec: RunSpec) -> int:
    """Return the sequences that a step samples, or the rows that it reads.

    A batch counts whole groups where an algorithm has groups, and otherwise prompts.
    """
    algo, batch = spec.algo, spec.train.batch_size
    if isinstance(algo, RolloutAlgo) and not hasattr(algo, "num_generations"):
        return batch * algo.answers_a_prompt
    return batch


def _passes(spec: RunSpec) -> int:
    """Return how often a batch is trained on: algorithms name it as their papers do."""
    names = ("epochs", "num_iterations")
    return next((getattr(spec.algo, name) for name in names if hasattr(spec.algo, name)), 1)


def _lengths(
    spec: RunSpec, policy: PolicyLike, rows: Rows, eval_rows: Rows, texts: Sequence[str]
) -> TokenCounts:
    algo, evaluation = spec.algo, spec.eval

    def mean_tokens(of_rows: Sequence[Sequence[Text]]) -> float:
        """Return the mean over rows of the tokens of all their texts."""
        plain = ["\n".join(map(_words, several)) for several in of_rows[:COUNTED]]
        if not plain:
            return 0.0
        encoded = policy.tokenizer(plain, add_special_tokens=False)["input_ids"]
        return fmean(len(ids) for ids in encoded)

    rollout = algo.max_completion_length if isinstance(algo, RolloutAlgo) else 0
    example = 0.0 if rollout else mean_tokens([_trained(row) for row in rows[:COUNTED]])
    if longest := algo.longest_example:
        sequences = 2 if algo.needs == "pairs" else 1
        example = min(example, float(longest * sequences))
        example = float(longest) if getattr(algo, "packing", False) else example
    return TokenCounts(
        prompt=mean_tokens([[row["prompt"]] for row in eval_rows[:COUNTED]]),
        answer=evaluation.max_completion_length,
        text=mean_tokens([[text] for text in texts[:COUNTED]]),
        rollout=rollout,
        example=example,
    )


def _trained(row: Mapping[str, Any]) -> list[Text]:
    """Return what is trained on of a row: each of its answers with the prompt before it."""
    prompt = row.get("prompt") or ""
    answers = [row[name] for name in ANSWERS if row.get(name)]
    return [part for answer in answers for part in (prompt, answer)] or [prompt]


def _words(text: Text) -> str:
    return text if isinstance(text, str) else "\n".join(map(content_of, text))


def _difference(asked: CardSize, size: CardSize) -> str:
    """Return what became smaller, in words."""
    parts = []
    old, new = asdict(asked), asdict(size)
    for name in ("prompts", "completions", "texts"):
        if new[name] != old[name]:
            parts.append(f"{new[name]} of {old[name]} {name}")
    if not size.best_of and asked.best_of:
        parts.append("no best-of-n")
    elif (size.best_of, size.best_of_prompts) != (asked.best_of, asked.best_of_prompts):
        sizes = f"{size.best_of_prompts} prompts × {size.best_of}"
        parts.append(f"best-of-n on {sizes} of {asked.best_of_prompts} × {asked.best_of}")
    if size.looks_every != asked.looks_every:
        parts.append(f"guards look every {size.looks_every} steps, not {asked.looks_every}")
    return ", ".join(parts)


def _cost(cost: float) -> str:
    return f"The card's work is {cost:.0%} of the training's; eval.budget=null measures all"
