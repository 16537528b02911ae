"""Commands in a process that fails when anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rlexp.runtime.paths import CONF

WITHOUT_TORCH = """
import sys
from rlexp.__main__ import main
status = main(sys.argv[1:])
heavy = {"torch", "transformers", "trl", "mlflow", "datasets", "optuna"} & set(sys.modules)
assert not heavy, heavy
sys.exit(status)
"""


def typed(
    *arguments: str, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command, in a process that fails when anything heavy was imported."""
    import os

    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CONF.parent), **(environment or {})},
        capture_output=True,
        text=True,
    )
