"""A saved view of MLflow's table of runs, as people compare them: a tag of the experiment.

Left to itself the table shows neither a metric nor a parameter. The format is that of MLflow 3.17's
page; one that does not know it says so and shows its own columns.
"""

from __future__ import annotations

import json
import time

NAME = "rlexp"
TAG = f"mlflow.sharedViewState.{NAME}"

_METRICS = (
    "eval/reward",
    "eval/kl",
    "eval/perplexity",
    "eval/length",
    "perf/tokens_per_second",
)
_PARAMS = (
    "algo.name",
    "algo.learning_rate",
    "algo.beta",
    "reward.name",
    "model.name",
    "data.name",
    "seed",
)


def view_as_json() -> str:
    """Return the value of the tag."""
    columns = [
        *(f"metrics.`{name}`" for name in _METRICS),
        *(f"params.`{name}`" for name in _PARAMS),
    ]
    state = json.dumps({"selectedColumns": columns, "columnOrder": columns})
    return json.dumps({"name": NAME, "createdAt": time.time_ns() // 1_000_000, "state": state})
