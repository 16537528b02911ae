"""The tracking server is killed, frozen and answers 500 while a training goes on."""

from __future__ import annotations

import random
import signal
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from tracking_servers import Gateway, Server, served
from tracking_spec import tracking_spec

from fault_kinds.losses import Losses
from fault_kinds.training import EXPERIMENT, Training
from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking import Tracker
from rlexp.tracking.spool.spool import read_events

SECONDS = 30.0
STEPS_OF_THE_SPOOL = 2000


def run(scratch: Path, rng: random.Random, count: int) -> Losses:
    """One long training: half a minute of each fault, half a minute of health around each."""
    losses = Losses()
    losses.remarks.append(f"the spool takes {_spool_milliseconds(scratch):.3f} ms a step")
    store = f"sqlite:///{scratch / 'server.db'}"
    with served(store, scratch / "server") as server, Gateway(server.port).open() as gateway:
        training = Training(scratch / "run", gateway.uri, "train.max_steps=100000")
        training.start()
        _wait_for_a_step(training.folder)
        windows: dict[str, list[tuple[float, float]]] = {"healthy": [_lasting(SECONDS)]}
        for name, (begin, end) in _faults(server, gateway).items():
            begin()
            windows[name] = [_lasting(SECONDS)]
            end()
            windows["healthy"].append(_lasting(SECONDS))
        training.tell(signal.SIGTERM)
        training.wait()
        losses.add(sync_failed=training.sync())
        losses.against_spool(server.uri, EXPERIMENT, training.folder)
    healthy = _step_seconds(training.folder, windows.pop("healthy"))
    for name, during in windows.items():
        ratio = _step_seconds(training.folder, during) / healthy - 1
        losses.remarks.append(f"{name} {SECONDS:.0f} s: steps {ratio:+.1%}")
    return losses


Switch = Callable[[], object]


def _faults(server: Server, gateway: Gateway) -> dict[str, tuple[Switch, Switch]]:
    """How each fault begins and ends."""

    def answer(fault: str | None) -> Switch:
        return lambda: setattr(gateway, "fault", fault)

    return {
        "500": (answer("error"), answer(None)),
        "frozen": (lambda: server.tell(signal.SIGSTOP), lambda: server.tell(signal.SIGCONT)),
        "killed": (server.kill, server.start),
    }


def _lasting(seconds: float) -> tuple[float, float]:
    """Wait; begin and end in milliseconds since 1970."""
    began = time.time()
    time.sleep(seconds)
    return began * 1000, time.time() * 1000


def _step_seconds(folder: Path, windows: list[tuple[float, float]]) -> float:
    """Median seconds of the steps that ended within the windows, from one step to the next.

    Whole intervals, with evaluations left out by the median: what the callbacks cost is in them.
    """
    times = [event["t"] for event, _ in read_events(folder / SPOOL) if _is_step(event)]
    return statistics.median(
        (later - earlier) / 1000
        for earlier, later in pairwise(times)
        if any(begin <= earlier and later <= end for begin, end in windows)
    )


def _is_step(event: dict) -> bool:
    return event["kind"] == "metrics" and "train/loss" in event["metrics"]


def _wait_for_a_step(folder: Path) -> None:
    while not (folder / SPOOL).is_file() or not any(
        _is_step(event) for event, _ in read_events(folder / SPOOL)
    ):
        time.sleep(0.2)


def _spool_milliseconds(scratch: Path) -> float:
    """What logging twenty metrics costs a training, with nobody behind the spool."""
    metrics = {f"train/metric_{index}": index / 7 for index in range(20)}
    with Tracker.open(tracking_spec(None), scratch / "spool") as tracker:
        began = time.perf_counter()
        for step in range(STEPS_OF_THE_SPOOL):
            tracker.log(metrics, step)
        return (time.perf_counter() - began) / STEPS_OF_THE_SPOOL * 1000
