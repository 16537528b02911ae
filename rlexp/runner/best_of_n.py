"""What a run is measured by beside itself: best-of-n of the policy before training.

Its answers are sampled once, before training, for all attempts at a run. They are a second sample
of the same policy as well, so that they tell for nothing whether the win rate is fair.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlexp.evaluation.best_of import BestOfNSamples, sample_best_of_n
from rlexp.evaluation.frontier import Frontier, frontier
from rlexp.evaluation.results import Evaluation
from rlexp.evaluation.slices import LENGTH
from rlexp.evaluation.win_rate import WinRate
from rlexp.spec.checks.eval import no_such_column
from rlexp.spec.errors import UserError
from rlexp.spec.judge import JudgeSpec
from rlexp.spec.run import RunSpec

FILE = "best_of.json"
STEP = "step-"


class BestOfNBaseline:
    """Of one run, in its first process.

    Args:
        spec: the run.
        observer: knows policy, prompts and scorer, and records.
    """

    def __init__(self, spec: RunSpec, observer: Any) -> None:
        self.spec, self.observer = spec, observer
        self.draws: BestOfNSamples | None = None

    @property
    def _folder(self) -> Path:
        return self.observer.folder / "evaluations"

    def take(self) -> None:
        """Sample the policy, which is the one before training, unless an earlier attempt has."""
        spec, rewards = self.spec.eval, self.spec.reward
        if not spec.best_of or self.spec.algo.head != "language" or not rewards.scores_anything:
            return
        if any(_compares(term.reward) for term in rewards.terms_by_name().values()):
            note = "best-of-n was left out: the reward compares the answers to a prompt"
            self.observer.notes.append(note)
            return
        if (file := self._folder / FILE).is_file():
            self.draws = BestOfNSamples.from_json(file)
            return
        with self.observer.phase("best of n"):
            scorer = self.observer.scorer.held_out(0)
            self.draws = sample_best_of_n(self.observer.policy, self.observer.heldout, scorer, spec)
        self.draws.to_json(file)

    def control(self, before: Evaluation | None) -> WinRate | None:
        """The second sample of the policy against its first."""
        if self.draws is None or before is None:
            return None
        return self.draws.control(before, self.spec.eval.bootstrap, self.spec.eval.seed)

    def frontier(self) -> Frontier | None:
        """All evaluations of the run so far, against best-of-n."""
        if self.draws is None:
            return None
        evaluations: Mapping[int, Evaluation] = {
            int(file.stem.removeprefix(STEP)): Evaluation.from_json(file)
            for file in sorted(self._folder.glob(f"{STEP}*.json"))
        }
        return frontier(evaluations, self.draws, self.spec.eval.bootstrap, self.spec.eval.seed)

    def columns(self) -> dict[str, list[Any]]:
        """What the evaluated prompts are sliced by: their length in tokens, and `eval.slices`."""
        policy, spec = self.observer.policy, self.spec.eval
        rows = self.observer.heldout[: spec.prompts]
        if self.spec.algo.head != "language" or not rows:
            return {}
        lengths = [len(ids) for ids in policy.encode([row["prompt"] for row in rows])]
        return {LENGTH: lengths} | {name: [row.get(name) for row in rows] for name in spec.slices}

    def check_columns(self) -> None:
        """Before training.

        Raises:
            UserError: a column of `eval.slices` that no held-out row has.
        """
        there = sorted({name for row in self.observer.heldout for name in row} - {"prompt"})
        missing = [name for name in self.spec.eval.slices if name not in there]
        if missing:
            raise UserError(no_such_column(name, there) for name in missing)


def _compares(reward: Any) -> bool:
    return isinstance(reward, JudgeSpec) and reward.needs_rivals
