"""Warnings that a card must show: a reward can rise while the policy gets worse.

Each names what was seen and the knob to turn. The worst comes first. Limits are those of the guards
that look at the same while a run trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from statistics import fmean

from rlexp.evaluation.changes import Change, finite_values
from rlexp.evaluation.results import Evaluation
from rlexp.guards import training_health as health
from rlexp.guards.training_health import CLOSER, Ends
from rlexp.guards.truncation import CUT_SHARE
from rlexp.spec.guards import GuardsSpec

Metrics = Mapping[str, float | None]
Interval = tuple[float, float]

ENDED_FLOOR = 0.5
"""Below it most completions are cut, and metrics describe beginnings only."""


def final_warnings(
    before: Metrics, after: Metrics, win_rate: Interval | None, guards: GuardsSpec
) -> list[str]:
    """Return what is suspicious about a training that led from `before` to `after`.

    Any metric may be missing or None. The 95 % interval of the win rate tells a gain from noise.
    What a guard that is off looks at is left alone.
    """
    broken = [name for name, value in after.items() if value is not None and not isfinite(value)]
    if broken:
        return [
            f"BROKEN: {', '.join(broken)} after training is not finite. Lower algo.learning_rate, "
            "or set train.max_grad_norm=1 and model.dtype=float32."
        ]
    watched = (None, *guards.watched())

    def ends(name: str) -> Interval | None:
        return finite_values(name, before, after)

    warnings = [check(ends, after, guards) for check, guard in CHECKS.items() if guard in watched]
    return [warning for warning in [*warnings, _no_gain(win_rate)] if warning]


def benchmark_warnings(
    before: Evaluation | None,
    after: Evaluation | None,
    changed: Mapping[str, Change],
    guards: GuardsSpec,
) -> list[str]:
    """Return in which benchmarks the model has become worse beyond chance: real forgetting.

    A score counts where the paired 95 % interval of its change leaves 0 out.
    """
    if before is None or after is None or "forgetting" not in guards.watched():
        return []
    worse = []
    for name, score in after.benchmarks.items():
        change = changed.get(name)
        directions: dict[bool | None, str] = {True: "fell", False: "rose"}
        direction = directions.get(score.higher_is_better)
        if change is None or direction is None or change.direction != direction:
            continue
        sides = f"{before.metrics[name]:.3g} to {after.metrics[name]:.3g}"
        ends = f"95% interval of the change [{change.low:+.3g}, {change.high:+.3g}]"
        worse.append(f"{score.task} {score.metric} {direction} from {sides} ({ends})")
    if not worse:
        return []
    return [
        f"Forgetting, by benchmark: {'; '.join(worse)}. {CLOSER}, or train an adapter (peft=lora)."
    ]


def masked_notes(history: Iterable[tuple[int, Metrics]]) -> list[str]:
    """Return a note where most completions were cut, and hence left out of the loss.

    Args:
        history: tracked metrics by step, of a training with `mask_truncated_completions`.
    """
    shares = [share for _, metrics in history if (share := metrics.get(CUT_SHARE)) is not None]
    if not shares or fmean(shares) <= 1 - ENDED_FLOOR:
        return []
    return [
        f"{fmean(shares):.0%} of the rollouts were cut, and so left out of the loss: raise "
        "algo.max_completion_length, or set algo.mask_truncated_completions=false"
    ]


def _hacking(ends: Ends, after: Metrics, guards: GuardsSpec) -> str | None:
    reward, grammatical = ends("reward"), ends("grammatical")
    if not reward or not grammatical:
        return None
    if reward[1] <= reward[0] or grammatical[1] >= grammatical[0] - guards.grammatical_fall:
        return None
    return (
        f"REWARD HACKING? The reward rose {_from_to(reward)} while grammatical sentences fell "
        f"{_from_to(grammatical)}: it may be paid for text that is no longer language. Read the "
        f"samples. {CLOSER}."
    )


def _forgetting(ends: Ends, after: Metrics, guards: GuardsSpec) -> str | None:
    return _sentence("Forgetting", health.check_perplexity(ends, guards))


def _drift(ends: Ends, after: Metrics, guards: GuardsSpec) -> str | None:
    kl = after.get("kl")
    return _sentence(
        "Far from where it started", None if kl is None else health.check_kl(kl, guards)
    )


def _collapse(ends: Ends, after: Metrics, guards: GuardsSpec) -> str | None:
    return _sentence("Collapse", health.check_repetition(ends, guards))


def _cut_off(ends: Ends, after: Metrics, _: GuardsSpec) -> str | None:
    ended, both = after.get("ended"), ends("ended")
    if ended is None or ended >= ENDED_FLOOR:
        return None
    if both and both[0] < ENDED_FLOOR:
        return (
            f"Only {ended:.0%} of the completions end before the length limit, and {both[0]:.0%} "
            "did before training: raise data.max_completion_length and eval.max_completion_length."
        )
    return (
        f"Only {ended:.0%} of the completions still end before the length limit: the policy no "
        f"longer stops. {CLOSER}, or reward a length (reward=length)."
    )


def _unfinished(ends: Ends, after: Metrics, _: GuardsSpec) -> str | None:
    share = after.get("thinking_unfinished")
    if share is None or share <= 1 - ENDED_FLOOR:
        return None
    return (
        f"In {share:.0%} of the completions the thinking never ends, and rewards see an empty "
        "answer: raise data.max_completion_length and eval.max_completion_length."
    )


def _shrinking(ends: Ends, after: Metrics, guards: GuardsSpec) -> str | None:
    length = ends("length")
    if not length or length[1] * guards.length_drift >= length[0]:
        return None
    return (
        f"Completions shrank {_from_to(length)} tokens. {CLOSER}, or reward a length "
        "(reward=length), if the reward does not ask for that."
    )


def _loss(ends: Ends, after: Metrics, _: GuardsSpec) -> str | None:
    reward = ends("reward")
    if not reward or reward[1] >= reward[0]:
        return None
    return (
        f"The reward fell {_from_to(reward)}. Lower algo.learning_rate or raise train.batch_size: "
        "either the steps are too large or they follow noise."
    )


def _no_gain(win_rate: Interval | None) -> str | None:
    if win_rate is None or not win_rate[0] <= 0.5 <= win_rate[1]:
        return None
    return (
        f"No gain beyond noise: the win rate's 95% interval [{win_rate[0]:.2f}, {win_rate[1]:.2f}]"
        " holds 0.5. Raise train.max_steps or algo.learning_rate, or eval.prompts to see less."
    )


CHECKS: dict[Callable[[Ends, Metrics, GuardsSpec], str | None], str | None] = {
    _hacking: "reward_hacking",
    _forgetting: "forgetting",
    _drift: "kl_budget",
    _collapse: "collapse",
    _cut_off: None,
    _unfinished: None,
    _shrinking: None,
    _loss: None,
}
"""Each with the guard that looks at the same while it trains, in the order of their weight."""


def _sentence(title: str, finding: health.Finding | None) -> str | None:
    return f"{title}: {finding.what}. {finding.remedy}." if finding else None


def _from_to(ends: tuple[float, float]) -> str:
    return f"from {ends[0]:.2f} to {ends[1]:.2f}"
