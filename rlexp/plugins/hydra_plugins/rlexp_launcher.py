"""`hydra/launcher=slots` and `ray`: a process for each job, on one machine or on a cluster.

Hydra imports this module at every start.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from rlexp.sweep.workers.ray_cluster import ClusterSlots
    from rlexp.sweep.workers.slots import Slots


class SlotsLauncher(Launcher):
    """Hydra's side of `rlexp.sweep.workers.slots`: `n_jobs` at once, importing `preload` first."""

    def __init__(self, n_jobs: int, preload: str) -> None:
        self.n_jobs, self.preload = n_jobs, preload
        self._slots: Slots | ClusterSlots | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    @property
    def slots(self) -> "Slots | ClusterSlots":
        """Where jobs are submitted one by one; made when asked for, and anew once stopped."""
        if self._slots is None or self._slots.stopped:
            from rlexp.sweep.workers.slots import pack_application

            application = pack_application(self.hydra_context, self.task_function, self.config)
            self._slots = self._make_slots(application, str(self.config.hydra.sweep.dir))
        return self._slots

    def _make_slots(self, application: bytes, folder: str) -> "Slots | ClusterSlots":
        from rlexp.sweep.workers.slots import Slots, slot_environments

        environments = slot_environments(self.n_jobs, self.config)
        return Slots(application, self.preload, Path(folder), environments)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all jobs of a sweeper that knows of no slots, and return their results in order."""
        from rlexp.sweep.workers.slots import job_return_from

        with self.slots as slots:
            self._slots = None
            jobs = list(enumerate(job_overrides, start=initial_job_idx))
            futures = [slots.submit(list(overrides), index) for index, overrides in jobs]
            results = zip(futures, job_overrides, strict=True)
            return [job_return_from(future.result(), overrides) for future, overrides in results]


class RayLauncher(SlotsLauncher):
    """Hydra's side of `rlexp.sweep.workers.ray_cluster`.

    Args:
        address: of the cluster; `auto` for this machine's, `local` to start one here.
        cpus: of a job.
        gpus: of a job; None gives it one for each of its processes, if the cluster has any.
        resources: of a job, by the names that the cluster has for them.
    """

    def __init__(
        self,
        n_jobs: int,
        preload: str,
        address: str,
        cpus: float,
        gpus: float | None,
        resources: dict[str, float],
    ) -> None:
        super().__init__(n_jobs, preload)
        self.address, self.cpus, self.gpus, self.resources = address, cpus, gpus, resources

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from rlexp.sweep.workers.ray_cluster import check_address

        check_address(self.address)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def _make_slots(self, application: bytes, folder: str) -> "ClusterSlots":
        from rlexp.sweep.workers import ray_cluster

        ray_cluster.connect_cluster(self.address)
        gpus = ray_cluster.gpus_per_job(self.config) if self.gpus is None else self.gpus
        share = ray_cluster.ResourceShare(self.cpus, gpus, self.resources)
        overrides = ray_cluster.threads_override(self.config, self.cpus)
        return ray_cluster.ClusterSlots(
            application, self.preload, folder, self.n_jobs, share, overrides
        )
