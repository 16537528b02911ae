"""What can be done about an error that a tracking store answers with."""

from __future__ import annotations

import re

_EXPLANATIONS = (
    (
        re.compile(r"The run (?P<id>\w+) must be in the 'active' state"),
        "the run was deleted there; with MLFLOW_TRACKING_URI set to that address "
        "`mlflow runs restore --run-id {id}` brings it back",
    ),
    (
        re.compile(r"[Ee]xperiment (?P<id>\d+) was deleted|experiment with ID (?P<other>\d+) must"),
        "the experiment was deleted there; with MLFLOW_TRACKING_URI set to that address "
        "`mlflow experiments restore --experiment-id {id}` brings it back, or set "
        "tracking.experiment to another name",
    ),
    (
        re.compile(r"error code 401"),
        "it wants a login: export MLFLOW_TRACKING_USERNAME=NAME "
        "MLFLOW_TRACKING_PASSWORD=PASSWORD, or MLFLOW_TRACKING_TOKEN=TOKEN",
    ),
    (
        re.compile(r"error code 403"),
        "the login that it was given may not do this: see MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_TOKEN, and what they may do there",
    ),
    (
        re.compile(r"out-of-date database schema \(found version (?P<id>\w+)"),
        "its tables are of another MLflow (schema {id}): copy the data base, then "
        "`mlflow db upgrade` with its address; one of a newer MLflow needs that MLflow here",
    ),
)


def explained(text: str) -> str | None:
    """Return what an error's text means, and what to do; None where it has to speak for itself.

    >>> explained("API request failed with error code 401 != 200").partition(":")[0]
    'it wants a login'
    """
    for pattern, words in _EXPLANATIONS:
        if match := pattern.search(text):
            groups = match.groupdict()
            return words.format(id=groups.get("id") or groups.get("other"))
    return None
