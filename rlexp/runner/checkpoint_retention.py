"""Which checkpoints of a run stay: the newest ones, and the best by a tracked metric."""

from __future__ import annotations

import shutil
from pathlib import Path

from rlexp.runtime.checkpoints import BestCheckpoint, best_checkpoint, complete_checkpoints
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.train import TrainSpec
from rlexp.spec.validation import nearest
from rlexp.tracking import Tracker


class KeptCheckpoints:
    """The checkpoints of one run, of which `train` says how many stay, and which is the best."""

    def __init__(self, train: TrainSpec, folder: Path, tracker: Tracker) -> None:
        self.train, self.folder, self.tracker = train, folder, tracker

    def keep(self) -> BestCheckpoint | None:
        """Remove all checkpoints but the newest ones and the best; return the best."""
        checkpoints = complete_checkpoints(self.folder)
        best = None
        if (metric := self.train.best_metric) is not None:
            history = self.tracker.history
            values = {step: metrics[metric] for step, metrics in history if metric in metrics}
            best = best_checkpoint(checkpoints, metric, values, self.train.best_mode)
        for old in checkpoints[: -self.train.keep_checkpoints]:
            if best is None or old.name != best.folder:
                shutil.rmtree(old)
                self.tracker.removed(old)
        if best is not None:
            best.write(self.folder)
        return best

    def remove_all(self) -> None:
        """Remove them with their folder."""
        for checkpoint in complete_checkpoints(self.folder):
            self.tracker.removed(checkpoint)
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def check_metric(self) -> None:
        """Stop a run whose `train.best_metric` is nothing that it tracks.

        Raises:
            UserError: with the nearest name among the metrics so far.
        """
        metric = self.train.best_metric
        known = sorted({name for _, metrics in self.tracker.history for name in metrics})
        if metric is None or metric in known:
            return
        near = nearest(metric, known)
        remedy = f"Did you mean {near}?" if near else ""
        raise UserError(Problem("train.best_metric", metric, f"one of {', '.join(known)}", remedy))
