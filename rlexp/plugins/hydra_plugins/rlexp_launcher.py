"""`hydra/launcher=slots`: a process for each job. Hydra imports this module at every start."""

from collections.abc import Sequence
from typing import Any

from hydra.plugins.launcher import Launcher


class SlotsLauncher(Launcher):
    """Hydra's side of `rlexp.sweep.slots`.

    Args:
        n_jobs: jobs at once.
        preload: module that the server, from which the jobs are forked, imports first.
    """

    def __init__(self, n_jobs: int, preload: str) -> None:
        self.n_jobs, self.preload = n_jobs, preload
        self._slots: Any = None

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    @property
    def slots(self) -> Any:
        """Where jobs are submitted one by one; made when it is asked for, and anew once stopped."""
        if self._slots is None or self._slots.stopped:
            from rlexp.sweep.slots import Slots

            self._slots = Slots(
                self.n_jobs, self.preload, self.hydra_context, self.task_function, self.config
            )
        return self._slots

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        """All jobs of a sweeper that knows of no slots; their results in order."""
        from rlexp.sweep.slots import job_return

        with self.slots as slots:
            self._slots = None
            begun = [
                slots.submit(list(overrides), initial_job_idx + index)
                for index, overrides in enumerate(job_overrides)
            ]
            return [
                job_return(future.result(), overrides)
                for future, overrides in zip(begun, job_overrides, strict=True)
            ]
