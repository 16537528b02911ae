"""Slots: what a job's process has loaded from its start, and which devices are its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlexp.runtime.paths import CONF
from rlexp.sweep.workers.slots import slot_environments

SERVER = """
import multiprocessing, sys
from multiprocessing import forkserver
from pathlib import Path

LOADED = ("torch", "transformers", "peft", "trl.trainer.grpo_trainer", "mlflow", "rlexp.run")

def send_missing(connection):
    connection.send([name for name in LOADED if name not in sys.modules])

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rlexp.sweep.workers.preload"])
    parent_end, child_end = context.Pipe(duplex=False)
    job = context.Process(target=send_missing, args=(child_end,))
    job.start()
    missing = parent_end.recv()
    job.join()
    server = Path("/proc") / str(forkserver._forkserver._forkserver_pid)
    maps = (server / "maps").read_text()
    print(len(list((server / "task").iterdir())), "libcuda" in maps or "nvidia" in maps, missing)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_server_has_one_thread_no_gpu_and_all_libraries(tmp_path: Path) -> None:
    """A thread whose lock a fork copies for ever; a CUDA context that no child can use."""
    (tmp_path / "app.py").write_text(SERVER)
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.stdout.strip() == "1 False []", done.stdout + done.stderr


@pytest.mark.parametrize(
    ("gpus", "hardware", "expected"),
    [
        ("", {"device": "auto"}, [None, None, None]),
        ("0", {"device": "auto"}, [None, None, None]),
        ("0,1", {"device": "auto"}, ["0", "1", "0"]),
        ("4,5,6,7", {"device": "cuda"}, ["4", "5", "6"]),
        ("0,1,2,3", {"device": "auto", "processes": 2}, ["0,1", "2,3", "0,1"]),
        ("0,1", {"device": "cpu"}, [None, None, None]),
    ],
)
def test_each_slot_has_its_own_gpu(
    gpus: str,
    hardware: dict[str, object],
    expected: list[str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All trials on the first GPU; a GPU twice in one trial; one that the user had hidden."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    config = OmegaConf.create({"hardware": hardware})
    environments = slot_environments(3, config)
    gpus_of_slots = [variables.get("CUDA_VISIBLE_DEVICES") for variables in environments]
    assert gpus_of_slots == expected
