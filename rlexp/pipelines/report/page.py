"""The report of a pipeline as a page: one self-contained file that opens anywhere, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlexp.pipelines.family.tree import draw_tree
from rlexp.pipelines.report import wording
from rlexp.pipelines.report.over_optimisation import RewardCurve
from rlexp.pipelines.report.plots import agreement_plot, curve_plots, reliability_plot
from rlexp.pipelines.report.report import PipelineReport
from rlexp.pipelines.report.scales import Standings
from rlexp.rendering import html
from rlexp.rendering.numbers import NOTHING, duration, memory, number
from rlexp.rendering.svg import Plot

COLOURS = 8
"""Of policies, as `run_colours.css` has them."""


def write_pipeline_page(report: PipelineReport, path: Path) -> None:
    """Write the page into a file."""
    html.write(
        path,
        "rlexp.pipelines.report",
        "pipeline.html",
        report=report,
        colour_of={name: place % COLOURS for place, name in enumerate(report.policies)},
        warnings=[*report.alarms, *map(wording.first_sentence, report.warnings)],
        short_policy=wording.short_policy,
        tree=draw_tree(report.stages, report.base, report.remarks),
        standings=[(table.scale, _standings(table)) for table in report.standings],
        distances=_distances(report),
        costs=_costs(report),
        models=[
            (model, list(wording.reward_model_sentences(model))) for model in report.reward_models
        ],
        reliability=[reliability_plot(one.stage, one.calibration) for one in report.reward_models],
        agreements=_agreements(report),
        curves=[(wording.curve_sentence(curve), _plots(curve, report)) for curve in report.curves],
        number=number,
    )


def _plots(curve: RewardCurve, report: PipelineReport) -> list[Plot]:
    """Return a curve's plots, and how far both rewards agreed on the way."""
    names = curve.policy, curve.gold
    pairs = [one for one in report.agreements if (one.policy, one.gold) == names]
    agreed = (agreement_plot(one) for one in pairs)
    return [*curve_plots(curve), *(plot for plot in agreed if plot)]


def _standings(table: Standings) -> list[dict[str, Any]]:
    return [
        {
            "policy": row.policy,
            "value": wording.value_and_ends(row.value, row.low, row.high),
            "gains": [
                {
                    "other": gain.other,
                    "change": wording.change_cell(gain.change),
                    "wins": wording.wins_cell(gain),
                    "direction": gain.change.direction,
                }
                if gain
                else None
                for gain in (row.on_parent, row.on_base)
            ],
        }
        for row in table.rows
    ]


def _distances(report: PipelineReport) -> list[tuple[str, list[str]]]:
    return [
        (
            row.policy,
            [
                f"{number(row.kl)} from {wording.short_policy(row.reference)}",
                number(row.kl_base),
                number(row.perplexity),
                wording.change_cell(row.forgotten),
                wording.change_cell(row.forgotten_base),
            ],
        )
        for row in report.distances
    ]


def _costs(report: PipelineReport) -> list[tuple[str, list[str]]]:
    rows = [
        (
            row.stage,
            [
                row.algo,
                row.state,
                NOTHING if row.round is None else str(row.round),
                NOTHING if row.steps is None else str(row.steps),
                duration(row.train_seconds) if row.train_seconds else NOTHING,
                duration(row.seconds),
                NOTHING if row.tokens is None else f"{row.tokens:,}",
                memory(row.peak_memory_mib),
            ],
        )
        for row in report.costs
    ]
    total = duration(sum(row.seconds for row in report.costs))
    return [*rows, ("all", ["", "", "", "", "", total, "", ""])] if rows else []


def _agreements(report: PipelineReport) -> list[tuple[str, list[str]]]:
    rows = []
    for one in report.agreements:
        sides = one.before, one.after
        rows.append(
            (
                one.policy,
                [
                    one.gold,
                    *map(wording.agreement_cell, sides),
                    wording.change_cell(one.change),
                    " → ".join(number(side.spearman if side else None) for side in sides),
                    " → ".join(number(side.spread if side else None) for side in sides),
                ],
            )
        )
    return rows
