"""The scorer's state in checkpoints: a training goes on with the moments that it had, bit for bit.

`reward.json` holds the moments of each term that is normalised by them; Python writes a float so
that it reads the same float back. Without such a term there is no file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.scoring.scorer import Scorer

if TYPE_CHECKING:
    from transformers import TrainerCallback

STATE = "reward.json"


def save_moments(scorer: Scorer) -> TrainerCallback:
    """Return a callback that adds the scorer's state to each checkpoint that a trainer writes."""
    from transformers import TrainerCallback

    class SaveMoments(TrainerCallback):
        def on_save(self, args, state, control, **kwargs) -> None:
            if scorer.moments and state.is_world_process_zero:  # all processes have the same
                folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
                (folder / STATE).write_text(json.dumps(scorer.state()) + "\n", encoding="utf-8")

    return SaveMoments()


def load_moments(scorer: Scorer, checkpoint: Path) -> None:
    """Give the scorer the moments that `save_moments` has put into a checkpoint.

    Raises:
        FileNotFoundError: the checkpoint has no moments, which the reward needs.
    """
    if scorer.moments:
        scorer.load_state(json.loads((checkpoint / STATE).read_text(encoding="utf-8")))
