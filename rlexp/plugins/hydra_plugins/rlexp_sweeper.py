"""`hydra/sweeper=rlexp`: a study of Optuna. Hydra imports this module at every start."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class StudySweeper(Sweeper):
    """Hydra's side of `rlexp.sweep.driver`.

    Args:
        settings: the fields of `rlexp.spec.sweep.SweepSpec`.
        trial: None; an override of each trial tells its process which one it is.
        confirms: whether that trial confirms another one, told in the same way.
    """

    def __init__(self, settings: Any, trial: None, confirms: bool) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from hydra.core.plugins import Plugins

        self._context, self._config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from rlexp.sweep.driver import run_sweep

        assert self.launcher is not None
        run_sweep(self.settings, arguments, self.launcher, self._context, self._config)
