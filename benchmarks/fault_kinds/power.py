"""A power cut: whatever had not reached the disk is gone, in the middle of a line or a file.

What MLflow has already may be gone too: the cut can lie before what was sent.
"""

from __future__ import annotations

import random
from pathlib import Path

from fault_kinds.kills import again_and_again
from fault_kinds.losses import Losses
from rlexp.runtime.checkpoints import complete_checkpoints, step_of
from rlexp.runtime.run_folder import SENT, SPOOL
from rlexp.tracking.spool.spool import read_events

CUTS_A_RUN = 3


def run(scratch: Path, rng: random.Random, count: int) -> Losses:
    """Cut a quarter of `count` times, a few times a run."""
    return again_and_again(
        scratch,
        max(1, count // 4),
        CUTS_A_RUN,
        lambda whole: rng.uniform(whole / 3, whole),
        "power cuts",
        then=lambda folder: cut(folder, rng),
    )


def cut(folder: Path, rng: random.Random) -> None:
    """Cut a file of the newest checkpoint, the spool, and sometimes the note of what was sent."""
    checkpoints = sorted((folder / "checkpoints").glob("*"), key=lambda path: path.stat().st_mtime)
    files = [path for path in checkpoints[-1].rglob("*") if path.is_file()] if checkpoints else []
    if files:
        _cut(rng.choice(files), 0, rng)
    if (folder / SPOOL).is_file():
        _cut(folder / SPOOL, _on_disk(folder), rng)
    if (folder / SENT).is_file() and rng.random() < 0.5:
        _cut(folder / SENT, 0, rng)


def _cut(path: Path, begin: int, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randint(begin, len(content))])


def _on_disk(folder: Path) -> int:
    """Bytes of the spool that no power cut takes: it is flushed before a checkpoint is complete."""
    spool, begin, safe = folder / SPOOL, 0, 0
    steps = {step_of(checkpoint) for checkpoint in complete_checkpoints(folder / "checkpoints")}
    for event, end in read_events(spool):
        if event["kind"] == "checkpoint" and event["step"] in steps:
            safe, steps = begin, steps - {event["step"]}
        begin = end
    return spool.stat().st_size if steps else safe  # one of which the spool has not heard yet
