"""Warnings that a card must show: a reward can rise while the policy gets worse.

Each names what was seen and the knob to turn. The worst comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import isfinite

from rlexp.spec.guards import GUARDS

Metrics = Mapping[str, float | None]
Interval = tuple[float, float]

GRAMMATICAL_FALL = 0.1
"""Sound runs of the film reviews lose up to 0.05, policies that game the reward 0.3 to 1."""
PERPLEXITY_RISE = 1.5
"""As a factor: 0.4 nats a token on texts of all kinds. A policy that praises films and still writes
sentences finds blame 1.3 times as perplexing as before."""
KL_CEILING = 1.0
"""Nats a token: the average token e times likelier than the reference finds it. Learning to praise
films takes 0.07; a run without KL penalty that ended in gibberish reached 3.9."""
DISTINCT_FALL = 0.5
"""As a factor: half of the variety of token pairs is gone."""
LENGTH_FALL = 1 / 3
"""As a factor: answers a third as long are a habit rather than brevity."""
ENDED_FLOOR = 0.5
"""Below it most completions are cut, and metrics describe beginnings only."""

CLOSER = "Raise algo.beta (the KL penalty) or lower algo.learning_rate"


def final_warnings(
    before: Metrics,
    after: Metrics,
    win_rate: Interval | None = None,
    watched: Collection[str] = GUARDS,
) -> list[str]:
    """What is suspicious about a training that led from `before` to `after`.

    Args:
        before: metrics by name, without their group; any may be missing or None.
        after: the same after training.
        win_rate: 95 % interval of the win rate, to tell a gain from noise.
        watched: guards of a run that are not off; what they would look at is left alone else.
    """
    broken = [name for name, value in after.items() if value is not None and not isfinite(value)]
    if broken:
        return [
            f"BROKEN: {', '.join(broken)} after training is not finite. Lower algo.learning_rate, "
            "or set train.max_grad_norm=1 and model.dtype=float32."
        ]
    found = [
        check(before, after) for check, guard in CHECKS.items() if guard is None or guard in watched
    ]
    return [warning for warning in [*found, _no_gain(win_rate)] if warning]


def _hacking(before: Metrics, after: Metrics) -> str | None:
    reward, grammatical = _both("reward", before, after), _both("grammatical", before, after)
    if not reward or not grammatical:
        return None
    if reward[1] <= reward[0] or grammatical[1] >= grammatical[0] - GRAMMATICAL_FALL:
        return None
    return (
        f"REWARD HACKING? The reward rose {_from_to(reward)} while grammatical sentences fell "
        f"{_from_to(grammatical)}: it may be paid for text that is no longer language. Read the "
        f"samples. {CLOSER}."
    )


def _forgetting(before: Metrics, after: Metrics) -> str | None:
    pair = _both("perplexity", before, after)
    if not pair or pair[1] <= pair[0] * PERPLEXITY_RISE:
        return None
    return (
        f"Forgetting: perplexity of held-out texts rose {_from_to(pair)}. {CLOSER}, or train an "
        "adapter (peft=lora)."
    )


def _drift(_: Metrics, after: Metrics) -> str | None:
    kl = after.get("kl")
    if kl is None or kl <= KL_CEILING:
        return None
    return (
        f"Far from where it started: KL to the reference is {kl:.2f} nats a token (sound runs stay "
        f"well below {KL_CEILING:g}). {CLOSER}, or train.max_steps."
    )


def _collapse(before: Metrics, after: Metrics) -> str | None:
    pair, length = _both("distinct_2", before, after), _both("length", before, after)
    if not pair or not length or pair[1] >= pair[0] * DISTINCT_FALL:
        return None
    # Longer texts repeat more: a smaller share is no collapse unless there are fewer pairs in all.
    if pair[1] * length[1] >= pair[0] * length[0]:
        return None
    return (
        f"Collapse: the samples repeat each other, distinct token pairs fell {_from_to(pair)}. "
        f"{CLOSER}."
    )


def _cut_off(before: Metrics, after: Metrics) -> str | None:
    ended = after.get("ended")
    if ended is None or ended >= ENDED_FLOOR:
        return None
    was = before.get("ended")
    if was is not None and was < ENDED_FLOOR:
        return (
            f"Only {ended:.0%} of the completions end before the length limit, and {was:.0%} did "
            "before training: raise data.max_completion_length and eval.max_completion_length."
        )
    return (
        f"Only {ended:.0%} of the completions still end before the length limit: the policy no "
        f"longer stops. {CLOSER}, or reward a length (reward=length)."
    )


def _shrinking(before: Metrics, after: Metrics) -> str | None:
    pair = _both("length", before, after)
    if not pair or pair[1] >= pair[0] * LENGTH_FALL:
        return None
    return (
        f"Completions shrank {_from_to(pair)} tokens. {CLOSER}, or reward a length "
        "(reward=length), if the reward does not ask for that."
    )


def _loss(before: Metrics, after: Metrics) -> str | None:
    pair = _both("reward", before, after)
    if not pair or pair[1] >= pair[0]:
        return None
    return (
        f"The reward fell {_from_to(pair)}. Lower algo.learning_rate or raise train.batch_size: "
        "either the steps are too large or they follow noise."
    )


def _no_gain(win_rate: Interval | None) -> str | None:
    if win_rate is None or not win_rate[0] <= 0.5 <= win_rate[1]:
        return None
    return (
        f"No gain beyond noise: the win rate's 95% interval [{win_rate[0]:.2f}, {win_rate[1]:.2f}]"
        " holds 0.5. Raise train.max_steps or algo.learning_rate, or eval.prompts to see less."
    )


CHECKS: dict[Callable[[Metrics, Metrics], str | None], str | None] = {
    _hacking: "reward_hacking",
    _forgetting: "forgetting",
    _drift: "kl_budget",
    _collapse: "collapse",
    _cut_off: None,
    _shrinking: None,
    _loss: None,
}
"""Each with the guard that looks at the same while it trains, in the order of their weight."""


def _both(name: str, before: Metrics, after: Metrics) -> tuple[float, float] | None:
    old, new = before.get(name), after.get(name)
    return None if old is None or new is None else (old, new)


def _from_to(pair: tuple[float, float]) -> str:
    return f"from {pair[0]:.2f} to {pair[1]:.2f}"
