"""A run that Hydra does not begin: in a folder of its own, where Hydra would have put it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rlexp.launch.launcher import launch
from rlexp.runtime.paths import CONF
from rlexp.runtime.run_folder import CONFIG, SPOOL
from rlexp.spec.errors import UserError
from rlexp.spec.run import RunSpec


def new_folder() -> Path:
    """A run's folder below `outputs/`, made."""
    from hydra.core.utils import setup_globals
    from omegaconf import OmegaConf

    setup_globals()  # the resolver of ${now:…}
    folder = Path(OmegaConf.load(CONF / "config.yaml").hydra.run.dir).absolute()
    folder.mkdir(parents=True)
    return folder


def launch_new_run(config: dict[str, Any], spec: RunSpec) -> Path:
    """Run a config to its end; the folder.

    Raises:
        UserError, RunFailed: as the run does. A mistake that it finds before it has begun leaves no
            folder behind.
    """
    from omegaconf import OmegaConf

    folder = new_folder()
    text = OmegaConf.to_yaml(OmegaConf.create(config))
    (folder / CONFIG).write_text(text, encoding="utf-8")
    try:
        launch(spec, folder, None)
    except UserError:
        if not (folder / SPOOL).exists():
            shutil.rmtree(folder)
        raise
    return folder
