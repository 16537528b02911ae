"""Slots on the machines of a Ray cluster: `hydra/launcher=ray`.

Each slot is an actor that has a trial's share of one machine, and in it is a slot as on a single
machine (`rlexp.sweep.workers.slots`): a trial's process starts with everything imported, and when
it dies the actor stays. With a machine its actors die; what they ran is resumed elsewhere, as the
study decides. Ray itself retries nothing.

The machines share the sweep's folder, under one path, and have rlexp installed already.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlexp.runtime.extras import install_command
from rlexp.spec.errors import Problem, UserError
from rlexp.sweep.workers.slots import STOP_TIMEOUT, JobOutcome, Slots

LOCAL = "local"
"""Address of a cluster that is started here, for one sweep."""
CONNECT_TIMEOUT = 5.0
"""Seconds that a cluster may take to take a connection."""
PLUGINS = str(Path(__file__).parents[2] / "plugins")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResourceShare:
    """Resources of its machine that a trial has to itself."""

    cpus: float
    gpus: float
    resources: Mapping[str, float] = field(default_factory=dict)
    """Others, as the cluster names them."""

    def fits(self, machine: Mapping[str, float]) -> bool:
        """Whether a machine with these resources has as much."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, **self.resources}
        return all(machine.get(name, 0.0) >= amount for name, amount in wanted.items())


def check_address(address: str) -> None:
    """Check, in seconds and without Ray, that it is installed and something answers there."""
    if importlib.util.find_spec("ray") is None:
        want, remedy = "the package ray", f"Install it: {install_command('ray')}"
        raise UserError(Problem("hydra/launcher", "ray, which is not installed", want, remedy))
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from error


def connect_cluster(address: str) -> None:
    """Join a cluster, or start one here. Raises `UserError` where none answers as it should."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    arguments: dict[str, Any] = {"address": address}
    if address == LOCAL:
        arguments |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    before = signal.getsignal(signal.SIGTERM)
    try:
        import ray  # pyright: ignore[reportMissingImports]

        ray.init(**arguments, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        raise _unreachable(address, error) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's would leave without ending the trials


def gpus_per_job(config: DictConfig) -> int:
    """Return one for each of its processes, where the cluster has any and the config wants them."""
    import ray  # pyright: ignore[reportMissingImports]

    wanted = OmegaConf.select(config, "hardware.device", default="auto") in ("auto", "cuda")
    if not wanted or not ray.cluster_resources().get("GPU"):
        return 0
    return int(OmegaConf.select(config, "hardware.processes", default=1))


def threads_override(config: DictConfig, cpus: float) -> list[str]:
    """Return the override that shares a job's cores among its processes, unless threads are set."""
    if "hardware" not in config or config.hardware.get("threads", cpus) is not None:
        return []
    processes = int(OmegaConf.select(config, "hardware.processes", default=1))
    return [f"hardware.threads={max(1, int(cpus) // processes)}"]


def _unreachable(address: str, error: Exception) -> UserError:
    want = "the address of a Ray cluster, auto for this machine's, or local to start one here"
    remedy = " ".join(str(error).split())
    return UserError(Problem("hydra.launcher.address", address, want, remedy))


class ClusterSlots:
    """Runs jobs of a Hydra application on a cluster, so many at once, each with its share.

    Args:
        application: as `rlexp.sweep.workers.slots.pack_application` makes it.
        preload: module that is imported on each machine before its first job.
        folder: of the sweep.
        n_jobs: at once.
        share: of its machine, for each.
        overrides: behind those of every job.
    """

    def __init__(
        self,
        application: bytes,
        preload: str,
        folder: str,
        n_jobs: int,
        share: ResourceShare,
        overrides: Sequence[str],
    ) -> None:
        import ray  # pyright: ignore[reportMissingImports]

        self._actor_arguments = (application, preload, folder, str(Path.cwd()))
        self._share, self._overrides = share, list(overrides)
        # Actors that have no job; None once the cluster is left.
        self._ready: SimpleQueue[Any] = SimpleQueue()
        self._actors: set[Any] = set()
        self._waiters = ThreadPoolExecutor(n_jobs, thread_name_prefix="slot")
        self.stopped = False
        """Whether it takes no more jobs."""
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(map(share.fits, machines)):
            log.warning("No machine of the cluster has %s; waiting for one", share)
        for _ in range(n_jobs):
            self._request_slot()

    def __enter__(self) -> ClusterSlots:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def submit(self, overrides: Sequence[str], number: int) -> Future[JobOutcome]:
        """Run the job with these overrides as soon as a slot is free."""
        return self._waiters.submit(self._run, [*overrides, *self._overrides], number)

    def stop(self) -> None:
        """End what still runs, as SIGTERM does, wait until it has ended, and leave the cluster."""
        import ray  # pyright: ignore[reportMissingImports]

        self.stopped = True
        self._waiters.shutdown(wait=False, cancel_futures=True)
        actors = list(self._actors)
        stops = [actor.stop.remote() for actor in actors]
        ray.wait(stops, num_returns=len(stops), timeout=STOP_TIMEOUT + 5.0)
        for actor in actors:
            ray.kill(actor)
            self._ready.put(None)
        self._waiters.shutdown()
        ray.shutdown()

    def _run(self, overrides: list[str], number: int) -> JobOutcome:
        import ray  # pyright: ignore[reportMissingImports]
        from ray.exceptions import RayActorError, RayError  # pyright: ignore[reportMissingImports]

        actor = self._ready.get()
        if actor is None:
            return {"died": "with the sweep"}
        try:
            outcome: JobOutcome = ray.get(actor.run.remote(overrides, number))
        except RayActorError as error:
            ray.kill(actor)  # it may live behind a broken network
            self._actors.discard(actor)
            self._request_slot()
            if error.actor_init_failed:
                return {"error": str(error)}
            return {"died": "with its machine in the cluster"}
        except RayError as error:
            outcome = {"error": str(error)}
        self._ready.put(actor)
        return outcome

    def _request_slot(self) -> None:
        """Ask the cluster for an actor, which is used once there is a place: all may be taken."""
        import ray  # pyright: ignore[reportMissingImports]

        if self.stopped:
            return
        actor_class = ray.remote(ClusterSlot).options(
            num_cpus=self._share.cpus,
            num_gpus=self._share.gpus,
            resources=dict(self._share.resources),
            max_concurrency=2,  # one that runs a job, one that stops it
            scheduling_strategy="SPREAD",
        )
        actor = actor_class.remote(*self._actor_arguments)
        self._actors.add(actor)
        actor.ready.remote().future().add_done_callback(lambda _: self._ready.put(actor))


class ClusterSlot:
    """A slot on one of the machines."""

    def __init__(self, application: bytes, preload: str, folder: str, origin: str) -> None:
        self._missing = None if Path(origin, folder).is_dir() else str(Path(origin, folder))
        if self._missing:
            return
        os.chdir(origin)
        sys.path += [path for path in (origin, PLUGINS) if path not in sys.path]
        # Else the processes that are forked would load Ray's own main program again.
        vars(sys.modules["__main__"]).pop("__file__", None)
        self._slots = Slots(application, preload, Path(folder), [{}])

    def ready(self) -> None:
        """Return at once, which says that the cluster has a place for it."""

    def run(self, overrides: list[str], number: int) -> JobOutcome:
        """Run a job, and return what came of it."""
        if self._missing:
            got = f"{self._missing}, which {platform.node()} does not have"
            want = "a folder that all machines of the cluster share"
            problem = Problem("sweep.folder", got, want)
            return {"error": str(problem), "problems": [vars(problem)]}
        return self._slots.submit(overrides, number).result()

    def stop(self) -> None:
        """End the job that runs."""
        if not self._missing:
            self._slots.stop()
