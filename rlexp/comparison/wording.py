"""A comparison's results in words, on the terminal and on the page alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rlexp.comparison.compare import Comparison
from rlexp.comparison.paired_tests import SIGNIFICANT, Paired
from rlexp.comparison.remarks import join_names
from rlexp.comparison.run_data import Value, letter
from rlexp.rendering.numbers import NOTHING, interval, number, share

NAMED = 4
"""Runs that a headline calls by their letters."""
CAUTION = (
    "The test speaks of these trained models on such prompts; whether a setting is better takes "
    "several seeds. p is two-sided, corrected for the number of runs, not for that of metrics."
)


def comparison_headline(comparison: Comparison) -> str:
    """Return the result by the metric that matters most."""
    if not comparison.tested:
        return f"{len(comparison.runs)} runs, without a test"
    tested = comparison.tested[0]
    name = short_name(tested.metric)
    results = [(letter(i), result) for i, result in enumerate(tested.results) if result]
    clear = [(run, result) for run, result in results if result.significant]
    if len(results) == 1 and clear:
        run, result = clear[0]
        direction = "higher" if result.difference > 0 else "lower"
        return f"{name} {direction} by {number(abs(result.difference))} in {run} than in A"
    parts = []
    for direction, sign in (("higher", 1), ("lower", -1)):
        if runs := [run for run, result in clear if result.difference * sign > 0]:
            parts.append(f"{direction} in {_format_runs(runs)}")
    rest = [run for run, result in results if not result.significant]
    if rest:
        parts.append(f"no clear difference in {_format_runs(rest)}")
    return f"{name} against A: {', '.join(parts)}"


def _format_runs(letters: Sequence[str]) -> str:
    return join_names(letters) if len(letters) <= NAMED else f"{len(letters)} runs"


def short_name(metric: str) -> str:
    """Return a metric's name, of an evaluation's without its group.

    >>> short_name("eval/reward"), short_name("train/loss")
    ('reward', 'train/loss')
    """
    return metric.removeprefix("eval/")


def value_cell(value: Value | None) -> str:
    """Return a value and its interval, which a narrow column breaks apart but does not split."""
    if value is None:
        return NOTHING
    ends = interval(value.low, value.high).replace(" ", "\N{NO-BREAK SPACE}")
    return f"{number(value.value)} {ends}".strip()


def format_difference(value: float) -> str:
    """Return a difference with its sign.

    >>> format_difference(0.0312), format_difference(-12.04)
    ('+0.0312', '-12.0')
    """
    return number(value) if value < 0 else f"+{number(value)}"


def difference_cell(result: Paired | None) -> str:
    """Return the difference to the first run and its interval."""
    if result is None:
        return NOTHING
    ends = interval(result.low, result.high).replace(" ", "\N{NO-BREAK SPACE}")
    return f"{format_difference(result.difference)} {ends}"


def p_value_cell(result: Paired | None) -> str:
    """Return the p-value, with a star where it is below 0.05."""
    if result is None:
        return NOTHING
    text = "<0.001" if result.p < 0.001 else f"{result.p:.3f}"
    return f"{text}{'*' if result.p < SIGNIFICANT else ''}"


def higher_cell(result: Paired | None) -> str:
    """Return the share of the prompts on which the run is higher."""
    return share(result.higher) if result else NOTHING


def group_by_value(values: Sequence[str | None]) -> str:
    """Return which runs have which value, where there are too many runs for a column each.

    >>> group_by_value(["1", "2", "1", None])
    '1: A C · 2: B · –: D'
    """
    runs: dict[str | None, list[str]] = {}
    for index, value in enumerate(values):
        runs.setdefault(value, []).append(letter(index))
    return " · ".join(f"{value or NOTHING}: {' '.join(letters)}" for value, letters in runs.items())


def paragraphs(comparison: Comparison) -> Iterator[str]:
    """Yield how the table of tests is to be read."""
    if comparison.tested:
        counts = [result.prompts for result in comparison.tested[0].results if result]
        least, most = min(counts), max(counts)
        prompts = f"{least}" if least == most else f"{least} to {most}"
        yield (
            f"Against A, prompt by prompt, on {prompts} shared held-out prompts: difference of the "
            "means with its 95% interval, p of a sign-flip test (* below 0.05), and the share of "
            "prompts on which a run is higher (a reward's win rate)."
        )
        yield CAUTION
