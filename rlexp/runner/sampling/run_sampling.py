"""A run that trains nothing: it samples answers to the training prompts, and keeps them rated.

The held-out prompts that the run would be evaluated on are answered as well, so that they stay held
out for whoever trains on the rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlexp.algos.sample import SampleAnswers
from rlexp.data.derived.preference_sampling import ScoredAnswers, cut_answers, score_answers
from rlexp.data.derived.rated_answers import RowFilter
from rlexp.evaluation.policy import measured_samples
from rlexp.evaluation.rated_answers import rate_answers
from rlexp.evaluation.results import Evaluation
from rlexp.models.policy import Policy
from rlexp.runner.dataset import DatasetBuilder, drawn_rows
from rlexp.runner.parts import RunParts, set_up
from rlexp.runner.recorder import evaluation_file
from rlexp.runner.sampling.answers import AnswerSampler, Drawing
from rlexp.scoring import Scorer
from rlexp.spec.errors import RunFailed
from rlexp.spec.files.model_folder import SAMPLES
from rlexp.spec.files.rated_run import HELDOUT
from rlexp.spec.model_kind import KINDS
from rlexp.spec.reward import Scores
from rlexp.spec.run import RunSpec

Rows = list[dict[str, Any]]
STEP = 0
"""What is measured stands at this step: nothing has been trained."""


def run_sampling(spec: RunSpec, folder: Path, parent: str | None = None) -> None:
    """Sample and rate as the spec's `rlexp.algos.sample.SampleAnswers` says; leave rows and a card.

    Raises:
        UserError, RunFailed: as `rlexp.run.run` does; RunFailed also where no row is left.
    """
    with set_up(spec, folder, parent, models=[spec.model]) as parts:
        policy = parts.load(spec.algo.model_kind)
        scorer = parts.open_scorer(policy)
        parts.probe_reward(policy)
        evaluation = RatedSampling(parts, policy, scorer).run()
        if parts.card:
            parts.card.finish(evaluation, STEP)


class RatedSampling:
    """Makes the rows of one run of `algo=sample`."""

    def __init__(self, parts: RunParts, policy: Policy, scorer: Scorer) -> None:
        algo = parts.spec.algo
        assert isinstance(algo, SampleAnswers)
        self.algo, self.spec, self.folder = algo, parts.spec, parts.folder
        self.recorder = parts.recorder
        self.filter = RowFilter(algo.keep, algo.least_reward, algo.least_margin)
        longest = algo.max_completion_length
        drawing = Drawing(algo.completions, longest, algo.temperature, algo.top_p)
        self.sampler = AnswerSampler(parts, policy, scorer, drawing)
        self.builder = DatasetBuilder(parts, policy, scorer)

    def run(self) -> Evaluation:
        """Write held-out rows, which are few and show early what fails, then those to train on."""
        rows, heldout = self._prompts(), self.builder.eval_rows(KINDS["language"])
        heldout = heldout[: self.spec.eval.prompts]
        each = f"{self.algo.completions} answers to each of"
        self.recorder.say(f"{'held out':12} {each} {len(heldout)} prompts")
        self.sampler.rows_once(HELDOUT, lambda: self._heldout_rows(heldout))
        self.recorder.say(f"{'sampling':12} {each} {len(rows)} prompts")
        kept = self.sampler.rows_once(SAMPLES, lambda: self._training_rows(rows))
        kind = "pairs" if self.algo.keep == "all" else "demonstrations"
        self.recorder.made_rows(self.folder / SAMPLES, kind, len(kept))
        self.recorder.made_rows(self.folder / HELDOUT, kind, len(heldout))
        return Evaluation.from_json(evaluation_file(self.folder, STEP))

    def _prompts(self) -> Rows:
        rows, count = self.builder.training_rows(), self.algo.prompts
        if count is None or count >= len(rows):
            return rows
        return drawn_rows(rows, count, self.spec)

    def _heldout_rows(self, prompts: Rows) -> tuple[Rows, str]:
        groups, _ = self._rated(HELDOUT, prompts)
        rows = self.filter.heldout_rows(groups)
        return rows, f"held out: {len(rows)} of {len(prompts)} prompts with rated answers"

    def _training_rows(self, prompts: Rows) -> tuple[Rows, str]:
        groups, tokens = self._rated(SAMPLES, prompts)
        rows, left_out = self.filter.training_rows(groups)
        if not rows:
            raise RunFailed(
                f"no row came of {len(prompts)} prompts: {left_out}",
                "answers are cut at the length limit before their first sentence ends, or the "
                "reward does not tell them apart, or hardly any is good enough",
                "Raise algo.max_completion_length, algo.completions or algo.temperature, or lower "
                "algo.least_reward or algo.least_margin.",
            )
        evaluation = self._measured(groups, {"rows": len(rows), "tokens": tokens})
        self.recorder.rated_answers(STEP, evaluation)
        left_out = f" (left out: {left_out})" if left_out else ""
        note = f"{len(rows)} rows of {len(prompts)} prompts{left_out}; {tokens:,} tokens sampled"
        return rows, note + cut_answers(groups)

    def _rated(self, name: str, prompts: Rows) -> tuple[list[ScoredAnswers], int]:
        """Return the rated answers to each prompt, and how many tokens were sampled."""
        answers = self.sampler.complete([row["prompt"] for row in prompts], name)
        tokens = sum(len(one.token_ids) for group in answers for one in group)
        return score_answers(prompts, answers, self.sampler.score), tokens

    def _measured(self, groups: list[ScoredAnswers], counts: dict[str, int]) -> Evaluation:
        asked = [group.row for group in groups for _ in group.scores]
        completions = [one for group in groups for one in group.completions]
        ids = [number for number, group in enumerate(groups) for _ in group.scores]
        scores = Scores([score for group in groups for score in group.scores], {})
        grammatical = self.spec.data.grammatical
        samples = measured_samples(asked, completions, scores, grammatical, {}, ids)
        return rate_answers(samples, len(groups), counts, self.spec.eval)
