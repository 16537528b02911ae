"""The tracking store that the spool in a folder goes to, long after the command that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlexp.runtime.run_folder import CONFIG, HYDRA_CONFIG, SWEEP_CONFIG
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.store.connection import resolve


def tracking_address(folder: Path) -> tuple[str | None, str]:
    """Return the resolved tracking address and the experiment of a run or a sweep.

    Returns:
        The address is None for one that is not tracked.

    Raises:
        UserError: the folder does not say, or what it says can never work.
    """
    from omegaconf import OmegaConf

    for path in (folder / CONFIG, folder / SWEEP_CONFIG):
        if path.is_file():
            tracking: Any = OmegaConf.select(OmegaConf.load(path), "tracking")
            if tracking is not None:
                uri = resolve(tracking.uri, _working_directory(folder)) if tracking.uri else None
                return uri, tracking.experiment
    remedy = "Name the store: tracking.uri=… tracking.experiment=…"
    wanted = f"a {CONFIG} that says where its events go"
    raise UserError(Problem(str(folder), "a spool alone", wanted, remedy))


def _working_directory(folder: Path) -> Path | None:
    """Return where the command was typed: addresses of files are relative to it."""
    from omegaconf import OmegaConf

    for path in (folder / HYDRA_CONFIG, folder / SWEEP_CONFIG):
        if path.is_file():
            directory: Any = OmegaConf.select(OmegaConf.load(path), "hydra.runtime.cwd")
            if directory is not None:
                return Path(directory)
    return None
