"""Is the policy better than before? A judge compares the two on the same prompts.

Each pair is shown in both orders (Zheng et al. 2023, arXiv:2306.05685) and counts 1 for two wins of
the policy after training, 0 for two losses, 1/2 for ties and for verdicts that went by the place.
The win rate is the mean over the prompts, with its bootstrap interval: a policy against itself has
1/2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.evaluation.results import Evaluation
from rlexp.spec.errors import RunFailed, UserError
from rlexp.spec.eval import EvalSpec
from rlexp.spec.judge import JudgeSpec, Preference

METRIC = "judge_win_rate"

Row = Mapping[str, Any]


def judge_win_rate(
    rows: Sequence[Row], before: Evaluation, after: Evaluation, spec: EvalSpec
) -> tuple[Evaluation, str]:
    """Return the evaluation after training with its win rate by `eval.judge`, and a note for
    people.

    The first completions to the first prompts are compared. Where no answer can be read, there is
    no win rate.

    Raises:
        UserError, RunFailed: the endpoint refuses, or does not answer.
    """
    judge = _judge_of(spec)
    rows = rows[: min(spec.prompts, spec.judge_prompts)]
    firsts = (side.samples[:: spec.completions][: len(rows)] for side in (before, after))
    old, new = ([sample.final_answer for sample in samples] for samples in firsts)
    preferences = _preferences(judge, rows, new, old)
    known = [preference for preference in preferences if preference is not None]
    note = _note(judge, known, missing=len(preferences) - len(known))
    if not known:
        return after, note
    wins = [preference.value for preference in known]
    interval = bootstrap_ratio(wins, [1.0] * len(wins), spec.bootstrap, spec.seed)
    metrics = after.metrics | {METRIC: sum(wins) / len(wins)}
    intervals = after.intervals | ({METRIC: interval} if interval else {})
    return replace(after, metrics=metrics, intervals=intervals), note


def check_judge_answers(rows: Sequence[Row], before: Evaluation, spec: EvalSpec) -> None:
    """Put one question to `eval.judge`, since a wrong key is to be known before the training.

    Raises:
        UserError, RunFailed: the endpoint refuses, or does not answer.
    """
    if spec.judge is None:
        return
    texts = [sample.final_answer for sample in before.samples]
    others = [text for text in texts if text != texts[0]]
    if others:
        _preferences(_judge_of(spec), rows[:1], texts[:1], others[:1])


def _judge_of(spec: EvalSpec) -> JudgeSpec:
    judge, problems = spec.judge_checked
    if judge is None:
        raise UserError(problems)
    return judge


def _preferences(
    judge: JudgeSpec, rows: Sequence[Row], new: list[str], old: list[str]
) -> list[Preference | None]:
    columns = {name: [row[name] for row in rows] for name in judge.pair_columns()}
    try:
        return judge.prefer([row["prompt"] for row in rows], [*new], [*old], columns)
    except UserError as error:
        raise UserError(problem.under("eval.judge") for problem in error.problems) from error
    except RunFailed as error:
        remedy = error.remedy.replace("reward.", "eval.judge.")
        raise RunFailed(f"eval.judge: {error.what}", error.cause, remedy) from error


def _note(judge: JudgeSpec, known: Sequence[Preference], missing: int) -> str:
    better = sum(preference.value > 0.5 for preference in known)
    worse = sum(preference.value < 0.5 for preference in known)
    parts = [
        f"{judge.who} compared before with after on {len(known)} prompts, in both orders: after is "
        f"better on {better}, worse on {worse}, neither on {len(known) - better - worse}"
    ]
    if known:
        # What stood first wins 1 of 1 in each order where the place alone decides.
        first = sum(pair.shown_first + 1 - pair.shown_second for pair in known) / (2 * len(known))
        parts.append(f"what stood first won {first:.0%} (50% without a bias for the place)")
    if missing:
        parts.append(f"{missing} prompts without a readable answer were left out")
    return "; ".join(parts)
