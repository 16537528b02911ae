"""Whether a run is a trial; light, since every run asks."""

import os

VARIABLE = "RLEXP_TRIAL"
"""Environment variable by which the processes of a trial know of it."""
PRUNED = "pruned"
"""Event in the spool of a run that a pruner gave up."""


def is_trial() -> bool:
    """Whether this process runs a trial, or works for one that does."""
    return VARIABLE in os.environ
