"""One of two processes that score a batch together; it prints totals and metrics as JSON."""

from __future__ import annotations

import json
import os
from typing import Any

from scored_rewards import columns_of, mix_of

from rlexp.scoring import Scorer
from rlexp.spec.errors import RunFailed
from rlexp.spec.scoring import ScoringSpec

SPEC = ScoringSpec(on_error="missing", max_missing=0.8, workers=0, probe="off", timeout=None)
MIX = mix_of(
    "zscore",
    a=columns_of([[0, 1], [2, 0.3]]),
    b=columns_of(column="y", normalize="rank", needs={"a": 0.0}),
)
STEPS = 3
COLUMNS: dict[str, list[list[Any]]] = {
    "x": [[0.1 * step + 0.37 * index**2 for index in range(8)] for step in range(STEPS)],
    "y": [
        [None if index in (1, 2 * step) else 0.7 * index for index in range(8)]
        for step in range(STEPS)
    ],
}
COLUMNS["source"] = [["a", "b", "b", "a", "b", "b", "b", "b"]] * STEPS
MOSTLY_MISSING = {"x": [None] * 6 + [1.0, None], "y": [1.0] * 8, "source": ["a"] * 8}
SOURCES = ["a", "b"]


def _main() -> None:
    from accelerate import PartialState

    from rlexp.scoring.all_gather import AllGather

    state = PartialState(cpu=True)
    first = 4 * state.process_index
    mine = slice(first, first + 4)
    report: dict[str, Any] = {"totals": [], "metrics": []}
    with Scorer(MIX, SPEC, 2, AllGather(), SOURCES) as scorer:
        for step in range(STEPS):
            columns = {name: values[step][mine] for name, values in COLUMNS.items()}
            scored = scorer.train(["p"] * 4, ["c"] * 4, columns, step)
            report["totals"].append(scored.totals)
            report["metrics"].append(scored.metrics)
        report["state"] = scorer.state()
        try:
            columns = {name: values[mine] for name, values in MOSTLY_MISSING.items()}
            scorer.train(["p"] * 4, [f"c{first}"] * 4, columns, STEPS)
        except RunFailed as error:
            report["error"] = str(error)
    print(json.dumps(report), flush=True)
    state.wait_for_everyone()
    os._exit(0)  # gloo can abort in its destructors


if __name__ == "__main__":
    _main()
