"""The files that a run of `algo=sample` left, found by the run."""

from __future__ import annotations

import shlex
from pathlib import Path

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import SAMPLES, named_run, unknown_run

HELDOUT = "heldout.jsonl"
"""As `SAMPLES`, to held-out prompts; in other folders, pairs that were sampled to evaluate on."""
SAMPLING = "rlexp.algos.sample.SampleAnswers"
"""What the configs of such runs name."""


def rated_files(path: str, key: str) -> tuple[Path, Path] | None:
    """Return a run's rated answers to training prompts and to held-out ones.

    Args:
        path: as `rated_run` takes it.
        key: of the config, for the error.

    Raises:
        UserError: a run that left none, or `run:` and what names no run.
    """
    run = rated_run(path, key)
    if run is None:
        return None
    files = run / SAMPLES, run / HELDOUT
    if not all(file.is_file() for file in files):
        raise UserError(_without_rows(run, path, key))
    return files


def rated_run(path: str, key: str) -> Path | None:
    """Return the folder of a run that `data.path` names; None where it names something else.

    Args:
        path: a run's folder, or `run:` with its name or its id's beginning.
        key: of the config, for the error.

    Raises:
        UserError: `run:` and what names no run.
    """
    if path.startswith("run:"):
        named = named_run(path.removeprefix("run:"), lambda run: (run / SAMPLES).is_file())
        if named is None:
            raise UserError(unknown_run(path, key))
        return named.resolve()
    run = Path(path).expanduser()
    return run if (run / "config.yaml").is_file() else None


def _without_rows(run: Path, path: str, key: str) -> Problem:
    want = "a run of algo=sample that has ended"
    if SAMPLING in (run / "config.yaml").read_text(encoding="utf-8"):
        remedy = f"Let it end: python -m rlexp resume {shlex.quote(str(run))}"
        return Problem(key, f"{path}, a run whose rated answers are not written yet", want, remedy)
    remedy = (
        f"Have its model answer first: python -m rlexp algo=sample model.path={shlex.quote(path)}"
    )
    return Problem(key, f"{path}, a run without rated answers", want, remedy)
