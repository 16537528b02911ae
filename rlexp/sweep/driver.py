"""Entry of a sweep: what Hydra's sweeper is given, made into a study and a loop over it."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from rlexp.runtime.run_folder import SWEEP_CONFIG
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_values
from rlexp.spec.sweep import SweepSpec
from rlexp.spec.validation import validate
from rlexp.sweep.space.space import SearchSpace
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


def sweep_spec(settings: Any) -> SweepSpec:
    """Return the spec of a config node.

    Raises:
        UserError: with everything that is wrong with it.
    """
    if OmegaConf.is_config(settings):
        settings = OmegaConf.to_container(settings, resolve=True)
    problems: list[Problem] = []
    spec = validate(SweepSpec, settings, "sweep", [f"sweep.{key}" for key in settings], problems)
    if spec is not None:
        problems += spec.problems()
    if problems or spec is None:
        raise UserError(problems)
    return spec


def run_sweep(
    settings: Any,
    arguments: Sequence[str],
    launcher: Launcher,
    hydra_context: HydraContext,
    config: DictConfig,
) -> None:
    """Work on a study until its budget is met.

    Args:
        settings: of the sweep, as the config has them.
        arguments: the command line's overrides of the task's config.
        launcher: Hydra's, set up.
        hydra_context: with the config loader.
        config: the sweep's master config.

    Raises:
        UserError: before the first trial, for all that is wrong with space, sampler or study.
        RunFailed: too many trials in a row failed, or the study's data base stays away.
    """
    from rlexp.sweep.confirmation.rerun import run_confirmation
    from rlexp.sweep.loop import SweepLoop
    from rlexp.sweep.report.mlflow_parent import parent_run_logger
    from rlexp.sweep.report.progress import SweepProgress
    from rlexp.sweep.report.report import write_sweep_report
    from rlexp.sweep.space.check import group_test
    from rlexp.sweep.space.composed_keys import CompositionCache
    from rlexp.sweep.space.syntax import read_space
    from rlexp.sweep.study import open_study, patiently

    # check
    spec = sweep_spec(settings)
    _check_folder(spec, str(config.hydra.sweep.dir))
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
    _write_config(spec, config)
    with parent_run_logger(spec, study, space, _tracking_settings(config)) as parent_run:
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
        report = patiently(lambda: write_sweep_report(study, Path(spec.folder)))
        progress.report_written(report)
        parent_run.log_report(report)
    print(spec.folder)


def _write_config(spec: SweepSpec, config: DictConfig) -> None:
    """Leave the sweep's composed config in its folder, as Hydra's own sweepers do."""
    Path(spec.folder).mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, Path(spec.folder) / SWEEP_CONFIG)


def _tracking_settings(config: DictConfig) -> dict[str, Any]:
    settings = OmegaConf.to_container(config.tracking, resolve=True) if "tracking" in config else {}
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def _check_folder(spec: SweepSpec, folder: str) -> None:
    if folder != spec.folder:
        want = f"{spec.folder}, which is sweep.folder"
        raise UserError(Problem("hydra.sweep.dir", folder, want, f"Set sweep.folder={folder}."))


def trial_spec(settings: Any, confirms: bool) -> SweepSpec:
    """Return the spec of a trial's study: the sweep's, or that of the study that confirms it."""
    spec = sweep_spec(settings)
    if not confirms:
        return spec
    from rlexp.sweep.confirmation.rerun import confirmation_spec

    return confirmation_spec(spec)


def check_samplers(spec: SweepSpec, space: SearchSpace) -> None:
    """Make the sampler and the pruner once, before anything is run.

    Raises:
        UserError: arguments that they refuse; a grid of a space that is none.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    from rlexp.sweep.space.grid import grid_problems, is_grid

    problems = grid_problems(space) if is_grid(spec) else []
    for key, settings in (("sampler", spec.sampler), ("pruner", spec.pruner)):
        if key == "sampler" and is_grid(spec):
            continue  # made with its space, which has just been looked at
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that some are experimental
                instantiate(settings, **({"seed": spec.seed} if key == "sampler" else {}))
        except InstantiationException as error:
            cause = error.__cause__ or error
            name = str(settings.get("_target_"))
            want = f"what {name.rpartition('.')[2]} takes"
            problems.append(Problem(f"sweep.{key}", name, want, " ".join(str(cause).split())))
    if problems:
        raise UserError(problems)


def _study_attributes(spec: SweepSpec, space: SearchSpace, config: DictConfig) -> dict[str, Any]:
    """Return what the study is to be known by."""
    from rlexp.sweep import study as names

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
    """Each key that decides what a trial comes to, with the value that all trials share."""
    plain = OmegaConf.to_container(
        OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    )
    return {
        key: str(value)
        for key, value in key_values(plain)
        if value != {}
        and not any(key == each or key.startswith(f"{each}.") for each in (*FREE, *searched))
    }
