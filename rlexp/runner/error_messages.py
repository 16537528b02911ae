"""Error messages of a training: what went wrong, the likely cause, and the knob to turn."""

from __future__ import annotations

import errno
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlexp.runtime.checkpoints import complete_checkpoints, remove_cut_off, step_of
from rlexp.runtime.run_folder import CHECKPOINTS
from rlexp.spec.errors import RunFailed, UserError
from rlexp.spec.run import RunSpec

REFUSING_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSING_DISK_SAYS = re.compile(
    rf"os error ({'|'.join(map(str, REFUSING_DISK))})\b"  # safetensors
    r"|no space left|quota exceeded|file too large"
    r"|file write failed|unexpected pos \d+ vs",  # torch's zip writer, which knows no more
    re.IGNORECASE,
)
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@contextmanager
def explain_failures(spec: RunSpec) -> Iterator[None]:
    """Turn an out-of-memory error inside the block into a `RunFailed` that names the knob."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        message = str(error).lower()
        named = any(words in message for words in OUT_OF_MEMORY)
        if not isinstance(error, MemoryError) and not named:
            raise
        micro = spec.train.micro_batch_size or spec.train.batch_size // spec.hardware.processes
        knobs = [f"train.micro_batch_size={max(1, micro // 2)}"] if micro > 1 else []
        if not spec.train.gradient_checkpointing:
            knobs.append("train.gradient_checkpointing=true")
        if spec.peft.kind == "none":
            knobs.append("peft=lora")
        raise RunFailed(
            f"out of memory: {_first_line(error)}",
            f"model={spec.model.name} with {micro} sequences at once does not fit this device",
            f"try {' or '.join(knobs) or 'a smaller model'}; the last complete checkpoint stays",
        ) from error


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn a disk that takes no more, inside the block, into a `RunFailed` that says what to do.

    A checkpoint that was cut off by it is removed; those before it stay.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (RunFailed, UserError)) or not _disk_refuses(error):
            raise
        free = shutil.disk_usage(folder).free
        cut_off = remove_cut_off(folder / CHECKPOINTS)
        kept = complete_checkpoints(folder / CHECKPOINTS)
        what = f"the checkpoint of step {step_of(cut_off[-1])}" if cut_off else "the run's files"
        after = f"it goes on from step {step_of(kept[-1])}" if kept else "it begins again"
        raise RunFailed(
            f"{what} could not be written to {folder}: {_first_line(error)}",
            f"the disk is full, or a quota is used up ({free:,} bytes were free)",
            "free some space, or keep fewer checkpoints (train.keep_checkpoints=1); then "
            f"`python -m rlexp resume {shlex.quote(str(folder))}`: {after}",
        ) from error


def _disk_refuses(error: BaseException | None) -> bool:
    while error is not None:
        refused = isinstance(error, OSError) and error.errno in REFUSING_DISK
        if refused or REFUSING_DISK_SAYS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
