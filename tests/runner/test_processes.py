"""Runs in two processes: both compute, the first one records, and the card is that of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from runs import SHORT, composed

from rlexp.builtin import tiny
from rlexp.launch.evaluation_plan import plan_evaluations
from rlexp.runtime.paths import CONF

COUNTS_FORWARDS = """
import os
if "RANK" in os.environ:
    import torch
    def count(module, args, kwargs):
        if type(module).__name__.endswith("ForCausalLM") and not torch.is_grad_enabled():
            ids = kwargs.get("input_ids", args[0] if args else None)
            with open(os.environ["FORWARDS"] + os.environ["RANK"], "a") as file:
                file.write(str(None if ids is None else tuple(ids.shape)) + "\\n")
    from torch.nn.modules import module
    torch.nn.Module.__call__ = (
        lambda call: lambda self, *a, **k: (count(self, a, k), call(self, *a, **k))[1]
    )(torch.nn.Module.__call__)
"""
"""A sitecustomize: each worker writes down its forward passes without gradient."""
DEVIATES = {"run_id", "name", "folder", "open", "train_seconds", "total_seconds"}
DEVIATES |= {"tokens_per_second", "peak_memory_mib", "cost"}


def launched(folder: Path, config: dict[str, Any], **environment: str) -> dict[str, Any]:
    """The card of a run in processes of its own."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from rlexp.launch.launcher import launch; "
        "from rlexp.spec.run import RunSpec; import yaml; folder = Path(sys.argv[1]); "
        "launch(RunSpec.parse(yaml.safe_load((folder / 'config.yaml').read_text())), folder, None)"
    )
    paths = [environment.pop("PYTHONPATH", ""), str(CONF.parent)]
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


@pytest.mark.long
def test_two_processes_write_the_card_of_one(tmp_path: Path) -> None:
    """An evaluation whose processes draw other samples, or ask the reward twice, or write twice."""
    model = str(tiny.ensure_tiny_model())
    small = [word for word in SHORT if word.startswith(("eval.", "hardware."))]
    plans = plan_evaluations(
        [model],
        [*small, "eval.best_of=2", "tracking.uri=null"],
        None,
        ("sqlite:///none", None),
        None,
    )
    cards = []
    for processes in (1, 2):
        config, _ = plans[0]
        config = {**config, "hardware": {**config["hardware"], "processes": processes}}
        cards.append(launched(tmp_path / str(processes), config))
    one, two = ({k: v for k, v in card.items() if k not in DEVIATES} for card in cards)
    assert one == two
    assert one["after"]["reward"] is not None
    spool = (tmp_path / "2" / "spool.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["kind"] for line in spool].count("start") == 1


@pytest.mark.long
def test_every_process_takes_part_in_every_forward_pass(tmp_path: Path) -> None:
    """A forward pass of the first process alone: a model that is spread over both would hang.

    The run samples its own pairs, evaluates before, during and after, takes best-of-n and probes.
    """
    config = composed(
        "algo=dpo",
        *SHORT,
        "train.max_steps=2",
        "train.micro_batch_size=4",
        "hardware.processes=2",
        "eval.every=1",
        "eval.best_of=2",
        "guards.every=1",
        "guards.prompts=8",
        "data.size=80",
    )
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(COUNTS_FORWARDS)
    forwards = str(tmp_path / "forwards")
    card = launched(tmp_path / "run", config, PYTHONPATH=str(site), FORWARDS=forwards)
    first, second = (Path(forwards + rank).read_text().splitlines() for rank in "01")
    assert len(first) == len(second) > 100
    assert card["status"] == "FINISHED"
    assert card["frontier"] is not None
    spool = (tmp_path / "run" / "spool.jsonl").read_text()
    assert '"guard/length"' in spool, "no probe was taken"
