"""Entry of a sweep: what Hydra's sweeper is given, made into a study and a loop over it."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from rlexp.runtime.run_folder import SWEEP_CONFIG
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_values
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep import study as names
from rlexp.sweep.confirmation.rerun import run_confirmation
from rlexp.sweep.loop import SweepLoop
from rlexp.sweep.report.progress import SweepProgress, parent_run_logger
from rlexp.sweep.report.report import write_sweep_report
from rlexp.sweep.space.check import group_test
from rlexp.sweep.space.grid import grid_problems, is_grid
from rlexp.sweep.space.space import CompositionCache, SearchSpace
from rlexp.sweep.space.syntax import read_space
from rlexp.sweep.study import open_study, retry_outages, sweep_spec
from rlexp.tracking.secrets import redacted

FREE = (
    "sweep",
    "name",
    "hardware",
    "tracking",
    "hydra",
    "train.micro_batch_size",
    "train.gradient_checkpointing",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "eval.batch_size",
)
"""Keys, with all below them, that do not change what a trial comes to: a study is gone on with
whatever they are."""


def run_sweep(
    settings: Any,
    arguments: Sequence[str],
    launcher: Launcher,
    hydra_context: HydraContext,
    config: DictConfig,
) -> None:
    """Work on a study until its budget is met.

    `arguments` are the command line's overrides of the task's config, `config` the sweep's own.

    Raises:
        UserError: before the first trial, for all that is wrong with space, sampler or study.
        RunFailed: too many trials in a row failed, or the study's data base stays away.
    """

    # check
    spec = sweep_spec(settings)
    if (folder := str(config.hydra.sweep.dir)) != spec.folder:
        want = f"{spec.folder}, which is sweep.folder"
        raise UserError(Problem("hydra.sweep.dir", folder, want, f"Set sweep.folder={folder}."))
    loader = hydra_context.config_loader
    is_group = group_test(loader)
    space = read_space(spec.params, arguments, is_group)
    check_samplers(spec, space)
    getattr(launcher, "slots", None)  # made now: they get ready while the study is opened

    def compose(groups: list[str]) -> tuple[DictConfig, Mapping[str, Any]]:
        composed = loader.load_sweep_config(config, [*space.fixed.values(), *groups])
        return composed, composed.hydra.runtime.choices

    # open the study
    study = open_study(spec, _study_attributes(spec, space, config))
    Path(spec.folder).mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, Path(spec.folder) / SWEEP_CONFIG)  # as Hydra's own sweepers do
    with parent_run_logger(spec, study, space, config.get("tracking")) as parent_run:
        # run the trials
        progress = SweepProgress(spec, study, parent_run)
        compositions = CompositionCache(compose, is_group)
        loop = SweepLoop(spec, space, study, launcher, compositions, progress)
        progress.sweep_started(loop.budget, type(launcher).__name__)
        loop.run()
        parent_run.log_progress()
        progress.sweep_ended()
        # confirm the best
        if spec.confirm:
            run_confirmation(loop, parent_run, int(config.seed))
        # report
        report = retry_outages(lambda: write_sweep_report(study, Path(spec.folder)))
        progress.report_written(report)
        parent_run.log_report(report)
    print(spec.folder)


def check_samplers(spec: SweepSpec, space: SearchSpace) -> None:
    """Make sampler and pruner once. Raises `UserError` for arguments or a grid that they refuse."""

    # a grid is made with its space, which is looked at here
    problems = grid_problems(space) if is_grid(spec) else []
    seeded = {} if is_grid(spec) else {"sampler": {**spec.sampler, "seed": spec.seed}}
    for key, settings in {**seeded, "pruner": spec.pruner}.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that some are experimental
                instantiate(settings)
        except InstantiationException as error:
            name = str(settings.get("_target_"))
            cause = " ".join(str(error.__cause__ or error).split())
            want = f"what {name.rpartition('.')[2]} takes"
            problems.append(Problem(f"sweep.{key}", name, want, cause))
    if problems:
        raise UserError(problems)


def _study_attributes(spec: SweepSpec, space: SearchSpace, config: DictConfig) -> dict[str, Any]:
    return {
        names.SPACE: space.descriptions(),
        names.OBJECTIVES: spec.objectives,
        names.CONFIG: _in_common(config, {parameter.key for parameter in space.parameters}),
        names.COMMAND: redacted(shlex.join(["python", "-m", "rlexp", *sys.argv[1:]])),
        names.FOLDER: str(Path(spec.folder).absolute()),
        names.SAMPLER: spec.sampler["_target_"],
        names.PRUNER: spec.pruner["_target_"],
    }


def _in_common(config: DictConfig, searched: set[str]) -> dict[str, str]:
    """Return each key that decides what a trial comes to, with the value that all trials share."""
    plain = OmegaConf.to_container(
        OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    )
    return {
        key: str(value)
        for key, value in key_values(plain)
        if value != {}
        and not any(key == each or key.startswith(f"{each}.") for each in (*FREE, *searched))
    }
