"""The names in a run's folder, each spelled here only: earlier runs, and users' scripts, have them.

A run stands in `outputs/<date>/<time>/`, a sweep's trial in `multirun/<sweep>/<trial>/`.
"""

from __future__ import annotations

CONFIG = "config.yaml"
"""The composed, resolved config."""
HYDRA_CONFIG = ".hydra/hydra.yaml"
"""Hydra's own, with the folder in which the command was typed."""

CARD = "card.json"
"""What came of the run, for programs."""
CARD_PAGE = "card.html"
"""The same for people."""

SPOOL = "spool.jsonl"
"""Every metric and event, append-only."""
SENT = "spool.sent"
"""How much of the spool MLflow has."""

PROBE = "probe.json"
"""What cheap strategies earn from the reward, beside reference answers."""

CHECKPOINTS = "checkpoints"
"""Folder of `step-000040/` and so on; see `rlexp.runtime.checkpoints`."""
MODEL = "model"
"""Folder of the final model."""
EVALUATIONS = "evaluations"
"""Folder of the evaluations, a file a step."""
LOOKS = "looks"
"""Folder of the guards' small evaluations, a file a step."""

PROVENANCE = "provenance"
"""Folder of the files that tell where the run comes from."""
ORIGIN = "origin.json"
"""In it: all that decides the run's numbers beside the config."""
SOURCES = "sources"
"""In it: copies of the user's own code."""
PACKAGES = "packages.txt"
"""In it: every installed package."""
GIT_DIFF = "git.diff"
"""In it: uncommitted changes, where there are any."""

SWEEP_CONFIG = "multirun.yaml"
"""In a sweep's folder: its composed config."""
STUDY = "study.db"
"""In a sweep's folder: its trials, unless `sweep.storage` names another data base."""
BEST_CONFIG = "best.yaml"
"""In a sweep's folder: the config of its best trial."""
PARENT = "parent.json"
"""In a sweep's folder: the MLflow run under which its trials are folded."""

PIPELINE = "pipeline.json"
"""In a pipeline's folder: its stages, and how far they have come."""


def step_file(step: int) -> str:
    """Return the name of a step's file, `step-000040.json`: sorts by name as by number."""
    return f"step-{step:06d}.json"
