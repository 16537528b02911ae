"""The story of a run: read the data, load the policy, evaluate it, train it, evaluate it again.

Every process of the run goes through it, and all of them compute; the first one records, and writes
the card.
"""

from __future__ import annotations

from pathlib import Path

from rlexp.runner.parts import set_up
from rlexp.runner.pruning import TrialReporter
from rlexp.runtime.collective import broadcast
from rlexp.runtime.device import prepare
from rlexp.spec.algo import UntrainedAlgo
from rlexp.spec.model_kind import KINDS
from rlexp.spec.rows import rows_are_sampled
from rlexp.spec.run import RunSpec


def run(
    spec: RunSpec,
    folder: Path,
    parent: str | None = None,
    resume: Path | None = None,
    reporter: TrialReporter | None = None,
) -> None:
    """Run the spec in this process; the first one leaves `card.json` in the folder.

    In a folder whose spool has begun the same run goes on, and nothing is recorded twice.

    Args:
        spec: what to do.
        folder: where everything goes; it exists and holds `config.yaml`.
        parent: MLflow run under which this one is nested.
        resume: complete checkpoint that the training goes on from; None begins at step 0.
        reporter: hears how the run gets on, and may end it.

    Raises:
        UserError: data, model or device that are not as the spec says.
        RunFailed: NaN, out of memory, a full disk, a reward that breaks.
        Pruned: the reporter has given the run up.
    """
    if isinstance(spec.algo, UntrainedAlgo):
        spec.algo.runner()(spec, folder, parent)
        return
    with set_up(spec, folder, parent, models=[spec.model], reporter=reporter) as parts:
        from rlexp.guards.probes import serve_probes
        from rlexp.runner.curriculum.building import build_curriculum
        from rlexp.runner.curriculum.measures import PolicyMeasures
        from rlexp.runner.dataset import DatasetBuilder
        from rlexp.runner.training import train

        # the policy, and the rows that it learns from and is evaluated on
        sampled = rows_are_sampled(spec.algo, spec.data)
        kind = spec.algo.model_kind
        policy = parts.load(KINDS["language"] if sampled else kind)
        scorer = parts.open_scorer(policy)
        parts.probe_reward(policy)
        dataset = DatasetBuilder(parts, policy, scorer)
        rows, eval_rows = dataset.training_rows(), dataset.eval_rows(kind)
        rows, curriculum, notes = build_curriculum(
            spec, rows, PolicyMeasures(parts, policy, scorer)
        )
        parts.recorder.notes += notes
        if sampled and not kind.writes:  # a language model has sampled for it
            policy = parts.load_policy(kind, spec.model)
        if kind.writes:
            parts.keep_to_budget(policy, rows, eval_rows)
        # before
        parts.evaluator.begin(kind, policy, eval_rows, scorer)
        parts.baseline.check_columns()
        parts.evaluator.evaluate_initial()
        parts.baseline.sample_baseline()
        card = parts.card
        probes = card.monitor.begin(policy.encode, parts.evaluator.initial) if card else None
        serve_probes(probes, parts.evaluator.take_probe)
        # train
        prepare(spec.hardware, spec.seed)  # training draws the same whatever came before it
        train(parts, policy, rows, scorer, resume, curriculum)
        # after
        step = broadcast(card.monitor.last_step if card else 0)
        final = parts.evaluator.evaluate_final(step)
        if card:
            card.finish(final, step)
