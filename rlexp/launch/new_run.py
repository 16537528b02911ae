"""A run begun in a folder of its own, which it does not leave behind if it cannot begin."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rlexp.config.stored import Config, write_config
from rlexp.launch.launcher import launch
from rlexp.runtime.paths import CONF
from rlexp.runtime.run_folder import SPOOL
from rlexp.spec.errors import UserError
from rlexp.spec.run import RunSpec


def launch_new_run(config: Config, spec: RunSpec) -> Path:
    """Run a config in a new folder, where Hydra would have put it; the folder.

    Raises:
        UserError, RunFailed: as the run does.
    """
    folder = new_folder()
    launch_in(folder, config, spec)
    return folder


def new_folder() -> Path:
    """Make a run's folder below `outputs/`, and return it."""
    from hydra.core.utils import setup_globals
    from omegaconf import OmegaConf

    setup_globals()  # the resolver of ${now:…}
    folder = Path(OmegaConf.load(CONF / "config.yaml").hydra.run.dir).absolute()
    folder.mkdir(parents=True)
    return folder


def launch_in(
    folder: Path, config: Config, spec: RunSpec, parent: str | None = None
) -> dict[str, Any]:
    """Run a config to its end in a folder that exists; its card.

    Args:
        folder: of the run; its `config.yaml` is written here, and its processes read that.
        config: composed and resolved.
        spec: the same, parsed.
        parent: MLflow run under which this one is nested.

    Raises:
        UserError, RunFailed: as the run does. A mistake that it finds before it has begun leaves no
            folder behind.
    """
    write_config(folder, config)
    try:
        return launch(spec, folder, parent)
    except UserError:
        if not (folder / SPOOL).exists():
            _remove(folder)
        raise


def _remove(folder: Path) -> None:
    """Remove a folder, and those above it that are empty then, up to the current one."""
    shutil.rmtree(folder)
    for above in folder.absolute().parents:
        if not above.is_relative_to(Path.cwd()) or above == Path.cwd() or any(above.iterdir()):
            return
        above.rmdir()
