"""What evaluates a run's policy: before the training, during it, and after.

Every process calls the same methods at the same time and takes part in each forward pass, so that a
model may be spread over them; the first one asks the reward, and what it says is everybody's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rlexp.data.load import Splits
from rlexp.evaluation.by_source import with_source_metrics
from rlexp.evaluation.judge_win_rate import check_judge_answers
from rlexp.evaluation.results import Evaluation
from rlexp.evaluation.win_rate import win_rate
from rlexp.guards.probes import Probe
from rlexp.models.policy import Policy
from rlexp.runner.pruning import TrialReporter
from rlexp.runner.recorder import Recorder, evaluation_file
from rlexp.runtime.collective import broadcast, compute_on_first
from rlexp.scoring import Scorer
from rlexp.spec.data import SOURCE
from rlexp.spec.eval import EvalSpec
from rlexp.spec.model_kind import ModelKind
from rlexp.spec.run import RunSpec

Rows = list[dict[str, Any]]


class Evaluator:
    """Evaluates one run's policy on its held-out rows.

    Attributes:
        texts: held-out texts for perplexity.
        text_sources: the source of each, where the data is a mix and they are its own.
        reporter: hears how the run gets on, where that may end it.
        kind, policy, rows, scorer: what is evaluated, on which rows, by whose reward; set by
            `begin`.
        initial: the evaluation that everything later is compared with.
        left_out: metrics that mean nothing for what is evaluated.
    """

    kind: ModelKind
    policy: Policy
    scorer: Scorer

    def __init__(
        self,
        spec: RunSpec,
        folder: Path,
        splits: Splits,
        recorder: Recorder,
        reporter: TrialReporter | None = None,
    ) -> None:
        self.spec, self.folder, self.recorder = spec, folder, recorder
        self.texts, self.text_sources = splits.texts, splits.text_sources
        self.reporter = reporter
        self.rows: Rows = []
        self.initial: Evaluation | None = None
        self.left_out: tuple[str, ...] = ()

    def begin(self, kind: ModelKind, policy: Policy, rows: Rows, scorer: Scorer) -> None:
        """Take up what is evaluated from now on."""
        self.kind, self.policy, self.rows, self.scorer = kind, policy, rows, scorer

    def evaluate(self, step: int, spec: EvalSpec, *, trained: bool) -> Evaluation:
        """Return an evaluation that is not recorded, as large as `spec` says."""
        evaluate, grammatical = self.kind.evaluate, self.spec.data.grammatical
        inputs = self.policy, self.rows, self.scorer.held_out(step), self.texts, spec
        evaluation = evaluate(*inputs, trained=trained, grammatical=grammatical)
        if self.spec.data.source_names:
            of_prompts = [row[SOURCE] for row in self.rows[: spec.prompts]]
            of_texts = self.text_sources[: spec.texts]
            evaluation = with_source_metrics(evaluation, of_prompts, of_texts, spec)
        parts = ("metrics", "intervals", "ratios")
        kept = {part: self._kept(getattr(evaluation, part)) for part in parts}
        return replace(evaluation, **kept)

    def _kept(self, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in self.left_out}

    def evaluate_and_log(self, step: int, *, trained: bool, benchmarks: bool = True) -> Evaluation:
        """Evaluate as `eval` says, and record what was measured at `step`."""
        with self.recorder.phase("evaluation"):
            evaluation = self.evaluate(step, self.spec.eval, trained=trained)
        if benchmarks and self.spec.eval.benchmarks.tasks:
            evaluation = self._with_benchmarks(evaluation)
        self.recorder.evaluation(step, evaluation)
        return evaluation

    def _with_benchmarks(self, evaluation: Evaluation) -> Evaluation:
        from rlexp.evaluation.benchmarks.measure import benchmarks_note, with_benchmarks

        tasks = ", ".join(self.spec.eval.benchmarks.tasks)
        self.recorder.say(f"{'benchmarks':12} {tasks}")
        with self.recorder.phase("benchmarks"):
            evaluation = with_benchmarks(evaluation, self.policy, self.spec.eval)
        if (note := benchmarks_note(evaluation.benchmarks)) not in self.recorder.notes:
            self.recorder.notes.append(note)
        return evaluation

    def evaluate_initial(self) -> None:
        """Evaluate the policy before training, unless an earlier attempt at the run has."""
        file = evaluation_file(self.folder, 0)
        if broadcast(file.is_file()):
            self.initial = Evaluation.from_json(file)
            self.scorer.remember([sample.terms for sample in self.initial.samples])
            return
        rows = len(self.rows[: self.spec.eval.prompts])
        self.recorder.say(f"{'before':12} {rows} held-out {self.kind.rows}")
        self.initial = initial = self.evaluate_and_log(0, trained=False)
        compute_on_first(lambda: check_judge_answers(self.rows, initial, self.spec.eval))

    def evaluate_step(self, step: int) -> bool:
        """Evaluate in the middle of the training; return whether it is to be given up."""
        evaluation = self.evaluate_and_log(step, trained=True, benchmarks=False)
        return compute_on_first(lambda: self._report(step, evaluation))

    def _report(self, step: int, evaluation: Evaluation) -> bool:
        if self.reporter is None:
            return False
        metrics = {f"eval/{name}": value for name, value in evaluation.metrics.items()}
        if self.initial and (rate := win_rate(self.initial, evaluation)) is not None:
            metrics["eval/win_rate"] = rate
        if self.reporter.metric not in metrics:  # known at the end only, as a cost is
            return False
        return self.reporter.report(step, metrics[self.reporter.metric])

    def evaluate_final(self, step: int) -> Evaluation:
        """Evaluate the policy as the training leaves it."""
        self.recorder.say(f"{'after':12} the same prompts")
        return self.evaluate_and_log(step, trained=True)

    def take_probe(self, probe: Probe) -> Evaluation:
        """Take a probe that the guards ask for."""
        with self.recorder.phase("guards"):
            return self.evaluate(probe.step, probe.spec, trained=probe.step > 0)

    def prompt_columns(self) -> dict[str, list[Any]]:
        """Return what the evaluated prompts are sliced by: their tokens, the source where the data
        is a mix, and `eval.slices`."""
        from rlexp.evaluation.slices import LENGTH

        rows = self.rows[: self.spec.eval.prompts]
        if not rows or not self.kind.writes:
            return {}
        lengths = [len(ids) for ids in self.policy.encode([row["prompt"] for row in rows])]
        by_source = [SOURCE] if self.spec.data.source_names else []
        return {LENGTH: lengths} | {
            name: [row.get(name) for row in rows] for name in (*by_source, *self.spec.eval.slices)
        }
