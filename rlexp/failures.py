"""What went wrong in a training, in words with a cause and a knob."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rlexp.spec.errors import RunFailed
from rlexp.spec.run import RunSpec

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@contextmanager
def explained(spec: RunSpec) -> Iterator[None]:
    """Turn an out-of-memory error inside the block into a `RunFailed` that names the knob."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        said = str(error).lower()
        if not isinstance(error, MemoryError) and not any(words in said for words in OUT_OF_MEMORY):
            raise
        now = spec.train.micro_batch_size or spec.train.batch_size // spec.hardware.processes
        knobs = [f"train.micro_batch_size={max(1, now // 2)}"] if now > 1 else []
        if not spec.train.gradient_checkpointing:
            knobs.append("train.gradient_checkpointing=true")
        if spec.peft.kind == "none":
            knobs.append("peft=lora")
        raise RunFailed(
            f"out of memory: {str(error).splitlines()[0] if str(error) else 'allocation refused'}",
            f"model={spec.model.name} with {now} sequences at once does not fit this device",
            f"try {' or '.join(knobs) or 'a smaller model'}; the last complete checkpoint stays",
        ) from error
