"""What a reproduction leaves: `reproduction.json` in the new run's folder, and a tag in MLflow."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlexp.reproduction.differences import EnvironmentDifference
from rlexp.reproduction.matching import Match, overall_verdict
from rlexp.reproduction.plan import REPRODUCES, Stage
from rlexp.reproduction.recorded import RecordedRun
from rlexp.runtime import lock
from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking.secrets import redacted, redacted_values
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool

RESULT = "reproduction.json"
VERDICT_TAG = "reproduced"
"""Tag of the new MLflow run: exactly, closely or differs."""

log = logging.getLogger(__name__)


def write_result(
    folder: Path,
    recorded: RecordedRun,
    stage: Stage,
    found: Sequence[EnvironmentDifference],
    matches: Sequence[Match],
) -> None:
    """Write the result, and send it to MLflow behind the rest of the new run's spool.

    Args:
        folder: the new run's.
        recorded: what was to be had again.
        stage: the last that was run.
        found: what was other here.
        matches: of every metric.
    """
    reached = overall_verdict(matches)
    result = {
        REPRODUCES: recorded.record.run_id,
        "name": recorded.record.name,
        VERDICT_TAG: reached,
        "metrics": {each.name: _as_json(each) for each in matches},
        "differences": [asdict(each) for each in found],
        "held_to": stage.held_to,
    }
    text = json.dumps(redacted_values(result), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / RESULT).write_text(text + "\n", encoding="utf-8")
    with lock.exclusive(folder):
        with Spool(folder / SPOOL) as spool:
            spool.record("tags", tags={VERDICT_TAG: reached})
            spool.record("artifact", path=RESULT, folder=None)
        tracking = stage.spec.tracking
        try:
            Shipper(folder, str(tracking.uri), tracking.experiment).ship()
        except Exception as error:  # the result is in the folder, whatever the store says
            cause = redacted(f"{type(error).__name__}: {error}".splitlines()[0])
            log.warning("The verdict is not in MLflow (%s). python -m rlexp sync %s", cause, folder)


def _as_json(match: Match) -> dict[str, Any]:
    """JSON has no word for infinity: null."""
    values = asdict(match) | {"verdict": match.verdict}
    return {
        key: None if isinstance(value, float) and math.isinf(value) else value
        for key, value in values.items()
        if key != "name"
    }
