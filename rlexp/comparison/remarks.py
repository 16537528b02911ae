"""Remarks on a comparison: what one must know before one believes it, a sentence each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from rlexp.comparison.configs import ABSENT, leaves
from rlexp.comparison.run_data import Run, letter

STATUSES = {
    "FAILED": "failed",
    "KILLED": "was killed",
    "RUNNING": "still runs",
    "DEAD": "says that it runs, but no process does",
}
SAMPLED_BY = ("eval.temperature", "eval.max_completion_length", "eval.completions", "eval.seed")
"""Knobs of the evaluation that move what it finds."""
STEP = ("train.batch_size",)
MIXING = ("weight", "normalize", "clip", "needs")
"""Keys of a mix's term that change the total, and not what is tracked of the term."""
TOKENS = "length, KL, perplexity and distinct tokens"


def remarks(runs: Sequence[Run]) -> list[str]:
    """Return how far runs came, and in what they were not evaluated alike."""
    return [*_progress(runs), *_evaluated_apart(runs)]


def same_scale(metric: str, first: Run, other: Run) -> bool:
    """Whether a metric means the same in these two runs.

    A reward does if it is the same reward, down to the text of a user's own code, and so does a
    term of both, whatever becomes of its values in the total.
    """
    group, _, name = metric.rpartition("/")
    if group not in ("eval", "rollout") or not (name == "reward" or name.startswith("reward_")):
        return True
    rewards = [_reward(run) for run in (first, other)]
    if first.sources != other.sources and any(map(_is_own_code, rewards[0].items())):
        return False
    term = f"reward.terms.{name.removeprefix('reward_')}."
    parts = [
        {
            key: value
            for key, value in reward.items()
            if key.startswith(term) and key.removeprefix(term).split(".")[0] not in MIXING
        }
        for reward in rewards
    ]
    return rewards[0] == rewards[1] or (bool(parts[0]) and parts[0] == parts[1])


def _reward(run: Run) -> dict[str, Any]:
    return {key: value for key, value in leaves(run.config) if key.split(".")[0] == "reward"}


def _is_own_code(leaf: tuple[str, Any]) -> bool:
    key, value = leaf
    last = key.rpartition(".")[2]
    return last == "function" or (last == "_target_" and not str(value).startswith("rlexp."))


def _progress(runs: Sequence[Run]) -> Iterator[str]:
    for index, run in enumerate(runs):
        name, steps = letter(index), f"{run.reached} of {run.steps or '?'} steps"
        if run.status in STATUSES:
            yield f"{name} {STATUSES[run.status]}: it is compared as far as it came, {steps}."
        if run.evaluated is None:
            yield f"{name} was never evaluated."
        elif run.evaluated == 0 and run.reached > 0:
            yield f"{name} was evaluated before its training only: its numbers are the start's."
        elif run.steps and run.evaluated < run.steps:
            yield f"{name} was evaluated at step {run.evaluated} of {run.steps} for the last time."
        yield from (f"{name}: {note}." for note in run.notes)


def _evaluated_apart(runs: Sequence[Run]) -> Iterator[str]:
    first, *others = (dict(leaves(run.config)) for run in runs)
    flat = list(enumerate(others, start=1))
    rewarded = [
        letter(index)
        for index, run in enumerate(runs[1:], start=1)
        if not same_scale("eval/reward", runs[0], run)
    ]
    if rewarded:
        yield (
            f"{join_names(rewarded)}: another reward than A's. Rewards of different rewards are "
            "not on one scale and are not tested; what both runs measure besides is."
        )
    for keys, text in (
        (SAMPLED_BY, "evaluated in another way than A ({}), which moves the numbers by itself"),
        (("model", "model.path"), f"another model than A's: {TOKENS} count its own tokens"),
        (STEP, "another batch size than A's: a step is not the same number of samples"),
    ):
        apart = {
            letter(index): [k for k in keys if config.get(k, ABSENT) != first.get(k, ABSENT)]
            for index, config in flat
        }
        differing = dict.fromkeys(itertools.chain.from_iterable(apart.values()))
        if differing:
            runs_apart = join_names([name for name, run_keys in apart.items() if run_keys])
            yield f"{runs_apart}: {text.format(', '.join(differing))}."


def join_names(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    >>> join_names(["A", "B", "C"])
    'A, B and C'
    """
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
