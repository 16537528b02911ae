"""What a run is, validated and frozen. Nothing heavy is imported here, nor anything of rlexp's rest."""

from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.run import RunSpec

__all__ = ["Problem", "RunFailed", "RunSpec", "UserError"]
