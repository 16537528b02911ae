"""Sweeps over launchers that reach further than one machine's slots."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy_sweeps import Toy, kill, until

from rlexp.sweep.ownership import RETRIES

pytestmark = pytest.mark.slow


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


class TwoMachines:
    """A Ray cluster on loopback: a head without cores, and two nodes with one each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

        head = {"num_cpus": 0, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self._cluster.add_node(num_cpus=1) for _ in range(2)]
        self.settings = [
            "hydra/launcher=ray",
            "hydra.launcher.preload=optuna",
            f"hydra.launcher.address={self._cluster.address}",
        ]

    def processes(self, node: Any) -> list[psutil.Process]:
        """A node's, the trials' among them."""
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        return [raylet, *raylet.children(recursive=True)]

    def stop(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def two_machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoMachines]:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = TwoMachines()
    yield cluster
    cluster.stop()


def node_of(pid: int, cluster: TwoMachines) -> int:
    """The node on which a process runs."""
    pids_of_nodes = [[process.pid for process in cluster.processes(node)] for node in cluster.nodes]
    return next(index for index, pids in enumerate(pids_of_nodes) if pid in pids)


def test_trials_are_spread_over_a_ray_cluster(toy: Toy, two_machines: TwoMachines) -> None:
    """Both slots on one machine; a batch, which waits for its slowest trial; a lost result."""
    process = toy.start("wait_for='gate{0}'", *two_machines.settings)
    until(toy.begun(0, 1))
    places = {node_of(toy.attempts(number)[0][0], two_machines) for number in (0, 1)}
    assert places == {0, 1}
    for number in (1, 2, 3):
        (toy.folder / f"gate{number}").touch()
    until(toy.begun(0, 1, 2, 3))
    (toy.folder / "gate0").touch()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert toy.states() == ["COMPLETE"] * 4
    assert [trial.value for trial in toy.study.trials] == [
        float(toy.attempts(number)[0][1]) for number in range(4)
    ]


def test_the_trial_of_a_dead_machine_goes_on_elsewhere(toy: Toy, two_machines: TwoMachines) -> None:
    """A trial that is lost with its machine, or that waits for it while another one is free."""
    process = toy.start("wait_for='gate{0}'", *two_machines.settings)
    until(toy.begun(0, 1))
    for process_of_node in two_machines.processes(
        two_machines.nodes[node_of(toy.attempts(0)[0][0], two_machines)]
    ):
        kill(process_of_node.pid)
    for number in range(4):
        (toy.folder / f"gate{number}").touch()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert toy.states() == ["COMPLETE"] * 4
    first, second = toy.attempts(0)
    assert first[1] == second[1] and first[0] != second[0]
    assert toy.study.trials[0].user_attrs[RETRIES] == 1


def test_a_killed_trial_leaves_its_slot_on_the_cluster(toy: Toy, two_machines: TwoMachines) -> None:
    """A trial that takes its slot along, or fails for good."""
    output = toy.sweep("ends=killed once", *two_machines.settings)
    assert "killed by SIGKILL: will be gone on with" in output
    assert toy.states() == ["COMPLETE"] * 4


def test_an_interrupted_sweep_leaves_nothing_on_the_cluster(
    toy: Toy, two_machines: TwoMachines
) -> None:
    """Trials that hold the cluster after Ctrl-C; Ray's handler in the place of the sweep's."""
    for attempt, (sign, status) in enumerate([(signal.SIGTERM, 143), (signal.SIGINT, 130)], 1):
        process = toy.start("wait_for=gate", *two_machines.settings)
        until(lambda count=attempt: all(len(toy.attempts(n)) == count for n in (0, 1)))
        os.kill(process.pid, sign)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == status, output
        assert toy.states() == ["WAITING"] * 2
        for number in (0, 1):
            assert not psutil.pid_exists(toy.attempts(number)[-1][0])


def test_a_cluster_that_does_not_answer_is_told_of(toy: Toy) -> None:
    """A minute of Ray's own attempts, or its traceback."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    output = toy.sweep("hydra/launcher=ray", "hydra.launcher.address=127.0.0.1:9", status=2)
    assert "hydra.launcher.address: got 127.0.0.1:9" in output
    assert not (toy.folder / "swept").exists()


def test_submitit_gets_batches(toy: Toy) -> None:
    """A launcher whose jobs come back from files: results under wrong numbers, or none."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="it is not installed")
    toy.sweep("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=2")
    assert toy.states() == ["COMPLETE"] * 4
    for trial in toy.study.trials:
        ((_, x),) = toy.attempts(trial.number)
        assert float(x) == trial.params["x"]
