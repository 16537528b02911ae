"""Where metrics, samples and checkpoints go: a spool in the run's folder, MLflow behind it."""

from rlexp.tracking.tracker import Tracker

__all__ = ["Tracker"]
