"""A run's weights as a GGUF file, an adapter merged into its base first."""

from __future__ import annotations

from pathlib import Path

from rlexp.models.gguf.writing import gguf_mistakes, write_gguf
from rlexp.models.locate import local_folder, whole_folder
from rlexp.registry.promote import ChosenWeights, run_config
from rlexp.runtime.extras import missing_packages
from rlexp.spec.errors import Problem, UserError

MB = 10**6


def export_problems(precision: str, file: Path) -> list[Problem]:
    """Return what is wrong with `--gguf PRECISION FILE` before the run is looked at."""
    from rlexp.models.gguf.writing import PRECISIONS

    problems = missing_packages("gguf", "real", "--gguf")
    if precision not in PRECISIONS:
        problems.append(Problem("--gguf", precision, f"one of {', '.join(PRECISIONS)}, then FILE"))
    if file.is_dir() or not file.absolute().parent.is_dir():
        problems.append(Problem("--gguf", str(file), "a file in a folder that exists"))
    return problems


def export_gguf(run: Path, weights: ChosenWeights, precision: str, file: Path) -> str:
    """Write a run's weights to a file; return a line about it.

    Args:
        run: the run's folder.
        weights: of the run.
        precision: of `PRECISIONS`.
        file: is replaced where it is there.

    Raises:
        UserError: a model that cannot be written as GGUF.
        RunFailed: what was read back is not what was written.
    """
    folder = whole_folder(weights.folder, local_folder)
    if problems := gguf_mistakes(folder, precision, "--gguf"):
        raise UserError(problems)
    config = run_config(run)
    written = write_gguf(folder, file, precision, config["name"], config["model"]["license"])
    read_back = f"read back, a weight is off by {written.largest_error:.2%} of the largest at most"
    line = f"{file}, {precision}, {written.size / MB:.0f} MB: {read_back}"
    if written.unquantised:
        line += f"; {len(written.unquantised)} tensors stay f16, whose rows are no multiple of 32"
    return line
