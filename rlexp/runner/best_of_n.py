"""What a run is measured by beside itself: best-of-n of the policy before training.

Its completions are sampled once, before training, for all attempts at a run. They are a second
sample of the same policy as well, so that they tell for nothing whether the win rate is fair.
"""

from __future__ import annotations

from pathlib import Path

from rlexp.evaluation.best_of_n.frontier import Frontier, frontier
from rlexp.evaluation.best_of_n.samples import BestOfNSamples, sample_best_of_n
from rlexp.evaluation.results import Evaluation
from rlexp.evaluation.win_rate import WinRate
from rlexp.runner.evaluator import Evaluator
from rlexp.runtime.collective import broadcast
from rlexp.runtime.run_folder import EVALUATIONS
from rlexp.spec.checks.eval import no_such_column
from rlexp.spec.errors import UserError
from rlexp.spec.judge import JudgeSpec
from rlexp.spec.reward import RewardSpec

FILE = "best_of.json"
STEP = "step-"


class BestOfNBaseline:
    """The best-of-n of one run; `samples` are of the policy before training, None without any."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator, self.spec = evaluator, evaluator.spec
        self.samples: BestOfNSamples | None = None

    @property
    def _folder(self) -> Path:
        return self.evaluator.folder / EVALUATIONS

    def sample_baseline(self) -> None:
        """Sample the policy before training, unless an earlier attempt has; in every process."""
        spec, rewards, evaluator = self.spec.eval, self.spec.reward, self.evaluator
        if not spec.best_of or not evaluator.kind.writes or not rewards.scores_anything:
            return
        if any(_compares(term.reward) for term in rewards.terms_by_name().values()):
            note = "best-of-n was left out: the reward compares the answers to a prompt"
            evaluator.recorder.notes.append(note)
            return
        file = self._folder / FILE
        if broadcast(file.is_file()):
            self.samples = BestOfNSamples.from_json(file)
            return
        with evaluator.recorder.phase("best of n"):
            reward = evaluator.scorer.held_out(0)
            self.samples = sample_best_of_n(evaluator.policy, evaluator.rows, reward, spec)
        evaluator.recorder.write_file(file, self.samples.to_json)

    def control(self, initial: Evaluation | None) -> WinRate | None:
        """Return how often the second sample of the policy wins against its first."""
        if self.samples is None or initial is None:
            return None
        return self.samples.control(initial, self.spec.eval.bootstrap, self.spec.eval.seed)

    def frontier(self) -> Frontier | None:
        """Return all evaluations of the run so far against best-of-n."""
        if self.samples is None:
            return None
        evaluations = {
            int(file.stem.removeprefix(STEP)): Evaluation.from_json(file)
            for file in sorted(self._folder.glob(f"{STEP}*.json"))
        }
        return frontier(evaluations, self.samples, self.spec.eval.bootstrap, self.spec.eval.seed)

    def check_columns(self) -> None:
        """Look for the columns of `eval.slices`, before training.

        Raises:
            UserError: one that no held-out row has.
        """
        known = sorted({name for row in self.evaluator.rows for name in row} - {"prompt"})
        missing = [name for name in self.spec.eval.slices if name not in known]
        if missing:
            raise UserError(no_such_column(name, known) for name in missing)


def _compares(reward: RewardSpec) -> bool:
    return isinstance(reward, JudgeSpec) and reward.needs_rivals
