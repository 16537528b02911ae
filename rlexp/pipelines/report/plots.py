"""Drawings of a pipeline's page: reward models' reliability, and rewards along a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rlexp.evaluation.ranking.calibration import Calibration
from rlexp.pipelines.report.over_optimisation import CurvePoint, MeanReward, RewardCurve
from rlexp.pipelines.report.reward_models import GoldAgreement
from rlexp.rendering.svg import MUTED, TICKS, Plot, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GOLD, OWN = "#010305", "#010306"
COLOURS = {GOLD: "--gold", OWN: "--after"}
STEP = "step"
BAND = 0.2
"""How opaque an interval is."""
LINE = {"linewidth": 1.6, "markersize": 3.5, "marker": "o"}


def reliability_plot(stage: str, known: Calibration) -> Plot:
    """Plot the share of pairs in the right order over how sure the model is of them."""

    def fill(axes: Axes) -> None:
        axes.plot([0.5, 1], [0.5, 1], color=MUTED, linewidth=1, linestyle="--", label="calibrated")
        for one in known.bins:
            axes.plot([one.confidence] * 2, [one.low, one.high], color=OWN, linewidth=1, alpha=0.6)
        points = [(one.confidence, one.accuracy) for one in known.bins]
        axes.plot(*zip(*points, strict=True), color=OWN, label=stage, **LINE)
        axes.set(xlabel="confidence in the answer it prefers", ylabel="in the right order")
        axes.set(xlim=(0.48, 1.02), ylim=(min(0.45, *(one.low for one in known.bins)), 1.02))
        axes.legend(fontsize=8, loc="lower right")

    return draw_svg(f"{stage}: how sure, and how often right", fill, COLOURS)


def curve_plots(curve: RewardCurve) -> list[Plot]:
    """Plot a curve by step, and by the square root of the KL divergence where that was measured."""
    title = f"{curve.policy}: {curve.reward} and {curve.gold}"
    plots = [_curve(f"{title}, by step", curve, curve.points, lambda point: point.step, STEP)]
    known = [point for point in curve.points if point.root_kl is not None]
    if len(known) > 1:
        # where the policy is pulled back along its way the line goes back as well: by step
        axis = "√KL, nats an answer"
        plots.append(
            _curve(f"{title}, by √KL", curve, known, lambda point: point.root_kl or 0.0, axis)
        )
    return plots


def _curve(
    title: str,
    curve: RewardCurve,
    points: Sequence[CurvePoint],
    place: Callable[[CurvePoint], float],
    axis: str,
) -> Plot:
    """Plot both rewards as standard deviations of the policy's before the training above its mean.

    Gao et al. 2022 normalise their reward models so; each then has a slope that can be compared.
    """
    start = curve.points[0]
    at = [place(point) for point in points]

    def fill(axes: Axes) -> None:
        own, gold = ([getattr(p, name) for p in points] for name in ("reward", "gold"))
        _line(axes, at, own, start.reward.value, curve.reward_spread, (OWN, curve.reward))
        label = f"{curve.gold} (gold)"
        _line(axes, at, gold, start.gold.value, curve.gold_spread, (GOLD, label))
        if curve.gold_since_peak is not None and axis == STEP:
            axes.axvline(curve.peak, color=MUTED, linewidth=1, linestyle=":")
        axes.set(xlabel=axis, ylabel="deviations above the start")
        axes.legend(fontsize=8)

    return draw_svg(title, fill, COLOURS)


def _line(
    axes: Axes,
    at: Sequence[float],
    means: Sequence[MeanReward],
    zero: float,
    spread: float,
    look: tuple[str, str],
) -> None:
    """Draw means with their intervals, as deviations from a start; the look is colour and name."""
    colour, label = look
    scale = spread or 1.0
    axes.plot(at, [(m.value - zero) / scale for m in means], color=colour, label=label, **LINE)
    band = [
        (x, (mean.low - zero) / scale, (mean.high - zero) / scale)
        for x, mean in zip(at, means, strict=True)
        if mean.low is not None and mean.high is not None
    ]
    if not band:
        return
    if list(at) == sorted(at):
        where, low, high = zip(*band, strict=True)
        axes.fill_between(where, low, high, color=colour, alpha=BAND, linewidth=0)
    else:  # a way that goes back on itself has no area beside it
        axes.vlines(*zip(*band, strict=True), color=colour, linewidth=1, alpha=0.6)


def agreement_plot(one: GoldAgreement) -> Plot | None:
    """Plot by step on which share of the policy's answers its reward and gold agree."""
    points = [(step, rate) for step, rate in zip(one.steps, one.rates, strict=True) if rate]
    if len(points) < 3:
        return None

    def fill(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        steps = [step for step, _ in points]
        axes.axhline(0.5, color=MUTED, linewidth=1, linestyle="--")
        axes.plot(steps, [rate.rate for _, rate in points], color=OWN, **LINE)
        band = [(s, r.low, r.high) for s, r in points if r.low is not None and r.high is not None]
        if band:
            where, low, high = zip(*band, strict=True)
            axes.fill_between(where, low, high, color=OWN, alpha=BAND, linewidth=0)
        axes.set(xlabel="step", ylabel="pairs ordered alike")
        axes.xaxis.set_major_locator(MaxNLocator(TICKS, integer=True))

    return draw_svg(f"{one.policy}: {one.reward} and {one.gold} agree", fill, COLOURS)
