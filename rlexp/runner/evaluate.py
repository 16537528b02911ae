"""A run without a training: one model is evaluated, or two of them on the same prompts.

Of two the first takes the place of a run's policy before training, and the second that of the same
policy after it: KL, forgetting, win rate and best-of-n mean what they mean on any card. Models with
different tokenizers are compared by what they write alone: their distributions are over different
things, so that neither KL nor perplexities can be compared.
"""

from __future__ import annotations

from pathlib import Path

from rlexp.algos.evaluate import Evaluate
from rlexp.evaluation.metrics import reference_metrics
from rlexp.evaluation.results import Evaluation
from rlexp.models.policy import Policy
from rlexp.runner.dataset import DatasetBuilder, shared_prompts
from rlexp.runner.parts import RunParts, set_up
from rlexp.scoring import Scorer
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import KINDS
from rlexp.spec.run import RunSpec


def run_evaluation(spec: RunSpec, folder: Path, parent: str | None = None) -> None:
    """Evaluate what the spec's `rlexp.algos.evaluate.Evaluate` names; the folder gets its card.

    Raises:
        UserError, RunFailed: as `rlexp.run.run` does.
    """
    algo = spec.algo
    assert isinstance(algo, Evaluate)
    second = algo.examined(spec.model) if algo.model is not None else None
    models = [spec.model, *([second] if second else [])]
    with set_up(spec, folder, parent, models=models) as parts:
        policy = parts.load(algo.model_kind)
        scorer = parts.open_scorer(policy)
        step = spec.train.max_steps
        if second is None:
            final = _evaluate_one(parts, policy, scorer, step)
        else:
            final = _evaluate_against(parts, policy, second, scorer, step)
        if parts.card:
            parts.card.finish(final, step)


def _evaluate_one(parts: RunParts, policy: Policy, scorer: Scorer, step: int) -> Evaluation:
    spec, kind, evaluator = parts.spec, parts.spec.algo.model_kind, parts.evaluator
    rows = DatasetBuilder(parts, policy, scorer).eval_rows(kind)
    evaluator.begin(kind, policy, rows, scorer)
    parts.baseline.check_columns()
    evaluator.left_out = reference_metrics()
    parts.recorder.say(f"{'evaluation':12} {len(rows[: spec.eval.prompts])} rows")
    return evaluator.evaluate_and_log(step, trained=False)


def _evaluate_against(
    parts: RunParts, policy: Policy, model: ModelSpec, scorer: Scorer, step: int
) -> Evaluation:
    """Record the first model's evaluation as the initial one; return the second's."""
    spec, kind, evaluator = parts.spec, KINDS["language"], parts.evaluator
    second = parts.load_policy(kind, model)
    related = policy.tokenizer.get_vocab() == second.tokenizer.get_vocab()
    policies = [policy] if related else [policy, second]
    rows = shared_prompts(policies, spec, parts.splits, parts.recorder.notes)
    if related:
        second.model.to("cpu")  # the reference is in memory while KL is measured
    evaluator.begin(kind, policy, rows[0], scorer)
    parts.baseline.check_columns()
    evaluator.evaluate_initial()
    parts.baseline.sample_baseline()
    parts.recorder.say(f"{'second':12} the same prompts")
    if related:
        policy.model = second.model.to(policy.model.device)
        policy.grouping = second.grouping
        return evaluator.evaluate_and_log(step, trained=True)
    evaluator.begin(kind, second, rows[1], scorer)
    evaluator.left_out = (*reference_metrics(), "perplexity")
    parts.recorder.notes.append("KL and perplexities are left out: the models' tokenizers differ")
    return evaluator.evaluate_and_log(step, trained=False)
