"""From the command line to a run: compose, check, launch.

Nothing heavy is imported before the spec is valid.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.cli.exit_status import import_from_here, reported
from rlexp.cli.flags import MULTIRUN, check_flags
from rlexp.runtime.environment import share_cores
from rlexp.runtime.paths import CONF
from rlexp.runtime.run_folder import SPOOL
from rlexp.spec.errors import Problem, RunFailed, UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

PLUGINS = str(Path(__file__).parents[1] / "plugins")
"""Hydra finds its plugins in `hydra_plugins` of `sys.path`, once, when it is first used."""
if PLUGINS not in sys.path:
    sys.path.append(PLUGINS)
_begun: list[bool] = []
"""Not empty once Hydra has made a run's folder, and what fails is the run."""
_failures: list[UserError | RunFailed] = []
"""How the run has ended, raised once Hydra is left: it would print a line of its own before."""


def main(argv: list[str]) -> int:
    """Run what the command line asks for; return the exit status.

    0: finished. 1: failed. 2: a user's mistake. 130: Ctrl-C.
    """
    from hydra._internal.utils import get_args_parser

    share_cores()  # a module of the user's may import torch
    arguments = get_args_parser().parse_args(argv)
    import_from_here()

    def job() -> None:
        check_flags(arguments)
        overrides = arguments.overrides
        if not (arguments.hydra_help or arguments.shell_completion or arguments.info):
            from rlexp.cli.command_line import check_command

            overrides = check_command(arguments)
        flags = [part for part in argv if part not in arguments.overrides]
        if arguments.cfg:  # of a sweep, what its trials have in common; Hydra refuses both flags
            flags = [flag for flag in flags if flag not in MULTIRUN]
        sys.argv = ["rlexp", *flags, *overrides]
        # Hydra would print its own cut of a traceback and exit with 1 whatever happened.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        _hydra_main()
        if _failures:
            raise _failures.pop()

    return reported(job)


def _hydra_main() -> None:
    import hydra

    try:
        hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(_job)()
    except OSError as error:
        if _begun:
            raise
        got = f"{error.filename}: {error.strerror}"
        remedy = "Type one where you may write: hydra.run.dir=FOLDER"
        key = "hydra.run.dir"
        raise UserError(Problem(key, got, "a folder that can be made", remedy)) from error


def _job(config: DictConfig) -> float | list[float] | None:
    """Do one run of a composed config; return what a sweeper gets as its objective."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    _begun.append(True)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return _run(config)
    try:
        return _run(config)
    except (UserError, RunFailed) as error:
        _failures.append(error)
        return None


def _run(config: DictConfig) -> float | list[float] | None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from rlexp.config.registry_choices import parse_pinned, pin_versions
    from rlexp.launch.launcher import launch_in
    from rlexp.tracking.spool.mlflow_writer import parent_run

    resolved: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportAssignmentType]
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    settings = resolved.pop("sweep", None)
    if (number := OmegaConf.select(hydra.sweeper, "trial")) is not None:
        from rlexp.sweep.study import sweep_spec
        from rlexp.sweep.trial import run_trial

        sweep = sweep_spec(settings, hydra.sweeper.confirms)
        if "pipeline" in resolved:
            from rlexp.sweep.pipeline_trial import run_pipeline_trial

            return run_pipeline_trial(list(hydra.overrides.task), folder, sweep, number)
        return run_trial(pin_versions(resolved), folder, sweep, number)
    resolved, spec = parse_pinned(resolved)
    if (folder / SPOOL).exists():
        got = f"{folder}, which holds a run"
        remedy = f"Choose another one, or go on: python -m rlexp resume {shlex.quote(str(folder))}"
        raise UserError(Problem("hydra.run.dir", got, "a folder without a run", remedy))
    parent = parent_run(Path(hydra.sweep.dir)) if hydra.mode == RunMode.MULTIRUN else None
    card = launch_in(folder, resolved, spec, parent)
    print(folder)
    return card.get("after", {}).get("reward")
