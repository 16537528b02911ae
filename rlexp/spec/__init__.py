"""What a run is, validated and frozen. Imports nothing heavy, and nothing of rlexp's rest."""

from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.run import RunSpec

__all__ = ["Problem", "RunFailed", "RunSpec", "UserError"]
