"""Guards that go by the run's own numbers: drift, forgetting, collapse, and jumps.

Each function judges the metrics up to a step and gives what was seen, the likely cause and the knob
to turn, or None. Curves of a training are noisy: beginnings and ends are means of a few steps, and
a jump is told from noise by the median absolute deviation of the steps before, which the jumps
themselves do not move.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from rlexp.guards.divergence import CAUSES
from rlexp.spec.guards import GuardsSpec

FEW = 3
"""Steps that make a mean."""
PROBE_GROUP = "guard/"
"""Group of the metrics of probes."""

JUMPS = {"train/loss": 0.5, "train/grad_norm": 1.0, "train/approx_kl": 0.1, "rollout/kl": 0.1}
"""Metrics that may jump, each with the least rise over the median that is no trifle."""
RATIO = 2.0
"""A mean ratio of the new to the sampling policy beyond it, or below its inverse, is a jump:
clipped objectives keep single tokens within a factor of 1.2."""

Ends = Callable[[str], tuple[float, float] | None]
"""A metric at the start and now, by its name; None where it is not known at both."""

CLOSER = "Raise algo.beta (the KL penalty) or lower algo.learning_rate"


@dataclass(frozen=True)
class Finding:
    """What a guard has seen, the likely cause, and the knob to turn."""

    what: str
    cause: str
    remedy: str


@dataclass
class Series:
    """Metrics of a run by name, in the order of the steps."""

    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add metrics of a step; values that are not finite are left to those that end a run."""
        for name, value in metrics.items():
            if math.isfinite(value):
                self.points.setdefault(name, []).append((step, value))

    def values(self, name: str) -> list[float]:
        """Return all values of a metric."""
        return [value for _, value in self.points.get(name, [])]

    def first(self, name: str) -> float | None:
        """Return the mean of the first few values; None while there are not two times as many."""
        values = self.values(name)
        return fmean(values[:FEW]) if len(values) >= 2 * FEW else None

    def last(self, name: str) -> float | None:
        """Return the same of the last few."""
        values = self.values(name)
        return fmean(values[-FEW:]) if len(values) >= 2 * FEW else None

    def probes(self, name: str) -> tuple[float, float] | None:
        """Return the first and the last probe's value; None without two probes."""
        values = self.values(PROBE_GROUP + name)
        return (values[0], values[-1]) if len(values) > 1 else None


def kl_budget(series: Series, spec: GuardsSpec) -> Finding | None:
    """Check the KL divergence a token from the reference, in the answers or in a probe."""
    probes = series.probes("kl")
    return check_kl(max(series.last("rollout/kl") or 0.0, probes[1] if probes else 0.0), spec)


def check_kl(kl: float, spec: GuardsSpec) -> Finding | None:
    """Compare a KL divergence, in nats a token, with the budget."""
    if kl <= spec.kl_limit:
        return None
    return Finding(
        f"the KL divergence from the reference is {kl:.2f} nats a token, above "
        f"guards.kl_limit={spec.kl_limit:g}",
        "updates that carry the policy away faster than the KL penalty holds it",
        f"{CLOSER}, or stop earlier (train.max_steps)",
    )


def check_perplexity(ends: Ends, spec: GuardsSpec) -> Finding | None:
    """Compare the perplexity of held-out texts with that before training."""
    perplexity = ends("perplexity")
    if perplexity is None or perplexity[1] <= perplexity[0] * spec.perplexity_rise:
        return None
    return Finding(
        f"the perplexity of held-out texts rose {perplexity[0]:.3g} → {perplexity[1]:.3g}",
        "training on a narrow task overwrites what the model could write before",
        f"{CLOSER}, or train an adapter (peft=lora)",
    )


def collapse(series: Series, spec: GuardsSpec) -> Finding | None:
    """Check that answers are not all alike."""
    repetition = check_repetition(series.probes, spec)
    return _entropy(series, spec) or repetition or _no_variance(series, spec)


def _entropy(series: Series, spec: GuardsSpec) -> Finding | None:
    name = "rollout/entropy"
    start, now = series.first(name), series.last(name)
    if start is None or now is None or now * spec.entropy_fall >= start:
        return None
    return Finding(
        f"the entropy a token fell {start:.2f} → {now:.2f} nats",
        "the policy has settled on few answers and explores no more",
        f"{CLOSER}, or reward exploration (algo.entropy_coefficient of ppo)",
    )


def check_repetition(ends: Ends, spec: GuardsSpec) -> Finding | None:
    """Compare the samples' share of distinct pairs of tokens with that before training."""
    share, length = ends("distinct_2"), ends("length")
    if share is None or length is None or share[1] * spec.distinct_fall >= share[0]:
        return None
    # Longer texts repeat more: a smaller share is no collapse unless there are fewer pairs in all.
    if share[1] * length[1] >= share[0] * length[0]:
        return None
    return Finding(
        f"samples repeat each other: distinct pairs of tokens fell {share[0]:.2f} → {share[1]:.2f}",
        "the policy has found few answers that its reward likes",
        f"{CLOSER}, or reward variety (reward=mix with repetition)",
    )


def _no_variance(series: Series, spec: GuardsSpec) -> Finding | None:
    values = series.values("rollout/frac_reward_zero_std")[-spec.window :]
    if len(values) < spec.window or fmean(values) < spec.zero_variance:
        return None
    return Finding(
        f"in {fmean(values):.0%} of the groups of the last {len(values)} steps all answers earned "
        "the same: there is nothing to learn from",
        "prompts that are too easy or too hard, or a reward with too few levels",
        "Choose other prompts or a finer reward, or raise algo.num_generations or algo.temperature",
    )


def instability(series: Series, spec: GuardsSpec) -> Finding | None:
    """Check the last steps' loss, gradient norm and KL against those before, and the last ratio.

    One step alone is no sign: gradients of sampled answers have heavy tails, and are clipped.
    """
    ratio = series.values("train/ratio")[-1:]
    if ratio and not 1 / RATIO <= ratio[0] <= RATIO:
        return _jump(f"the ratio of new to sampling policy is {ratio[0]:.2f}", "ratio")
    for name, least in JUMPS.items():
        values = series.values(name)[-spec.window - FEW :]
        before, value = values[:-FEW], median(values[-FEW:] or [0.0])
        if len(before) == spec.window and is_jump(value, before, spec.spike, least):
            logged = name.partition("/")[2]
            what = f"{logged.replace('_', ' ')} jumped to {value:.3g} from {median(before):.3g}"
            return _jump(what, "ratio" if logged == "approx_kl" else logged)
    return None


def is_jump(value: float, before: Sequence[float], spike: float, least: float) -> bool:
    """Return whether a value stands out of those before it, by `spike` median deviations.

    A rise over the median below `least` does not count; and a tenth of the median's own size is
    taken for a deviation that is smaller, since a flat curve has none.
    """
    middle = median(before)
    deviation = max(median(abs(other - middle) for other in before), abs(middle) / 10)
    return value - middle > max(spike * deviation, least)


def _jump(what: str, name: str) -> Finding:
    cause, remedy = CAUSES[name]
    return Finding(what, cause, remedy[:1].upper() + remedy[1:])


HEALTH: dict[str, Callable[[Series, GuardsSpec], Finding | None]] = {
    "kl_budget": kl_budget,
    "forgetting": lambda series, spec: check_perplexity(series.probes, spec),
    "collapse": collapse,
    "instability": instability,
}
