"""Connection to the MLflow tracking store: its address, how it is opened and looked at.

Opening happens in a background thread and imports MLflow; checking the address does not.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.secrets import redacted
from rlexp.tracking.store.schema import ensure_tables, sqlite_path, sqlite_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "tracking.uri"
WANTED = "sqlite:///FILE, http(s)://HOST:PORT, a data base that MLflow knows, or null"
REMEDY = "Set tracking.uri=sqlite:///mlflow.db for a file here, or tracking.uri=null."

_DATABASES = ("postgresql", "mysql", "mssql")
_EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")
"""What the experiment holds: trained models, rather than agents."""

_MODE = "?workflowType=machine_learning"
"""MLflow's page begins in the mode for agents; the address, not the tag, decides the first time."""
_VIEW_NAME = "rlexp"
_VIEW = f"{_MODE}&viewStateShareKey={_VIEW_NAME}"
SAVED_VIEW = f"mlflow.sharedViewState.{_VIEW_NAME}"
"""Tag of the experiment: a view of its runs with these columns."""
_VIEW_METRICS = (
    "eval/reward",
    "eval/kl",
    "eval/perplexity",
    "eval/length",
    "perf/tokens_per_second",
)
_VIEW_PARAMS = (
    "algo.name",
    "algo.learning_rate",
    "algo.beta",
    "reward.name",
    "model.name",
    "data.name",
    "seed",
)

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_SLOWEST_UPLOAD = 1_000_000  # bytes a second, the server's own way to its disk included

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # The defaults block a single call for four to twenty minutes when a server is gone, with a
    # warning for each retry; the uploader tries again by itself.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    _TIMEOUT: "5",
    "PGCONNECT_TIMEOUT": "5",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class Store:
    """An open tracking store and the experiment that runs go to."""

    client: MlflowClient
    experiment_id: str


def resolve(uri: str, base: Path | None = None) -> str:
    """Return the address with an absolute path, seen from `base`, or from the current folder.

    Raises `UserError` for one that can never work. One that does not answer may work later.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        path = _database_path(uri, base or Path.cwd())
        return sqlite_uri(path) + (f"?{parts.query}" if parts.query else "")
    try:
        is_complete = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        has_sockets = "host" in parse_qs(parts.query)  # a folder of them
        is_complete |= scheme in _DATABASES and has_sockets
    except ValueError:
        is_complete = False  # a port that is no number
    if scheme in _DATABASES and is_complete:
        _check_driver(uri)
        return uri
    if scheme == "databricks" or (scheme in ("http", "https") and is_complete):
        return uri
    no_folder = "MLflow no longer keeps runs in plain folders. " * (scheme in ("", "file"))
    raise UserError(Problem(KEY, redacted(uri), WANTED, no_folder + REMEDY))


def _database_path(uri: str, base: Path) -> Path:
    parts = urlsplit(uri)
    if parts.netloc or not parts.path.strip("/"):
        wanted = "sqlite:///FILE, with three slashes before the path"
        raise UserError(Problem(KEY, redacted(uri), wanted, REMEDY))
    path = base.absolute() / sqlite_path(uri).expanduser()
    if not path.parent.is_dir():
        remedy = f"Make the folder (mkdir -p {shlex.quote(str(path.parent))}) or mend the path."
        raise UserError(Problem(KEY, uri, f"a folder that exists, not {path.parent}", remedy))
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(Problem(KEY, uri, f"a place where you may write, unlike {path}", REMEDY))
    return path


def _check_driver(uri: str) -> None:
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError

    try:
        sqlalchemy.make_url(uri).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        wanted = f"the Python package {error.name}, which talks to this data base"
        remedy = f"Install it (python -m pip install {error.name}), or go through an MLflow server."
        raise UserError(Problem(KEY, redacted(uri), wanted, remedy)) from error
    except ArgumentError as error:
        raise UserError(Problem(KEY, redacted(uri), WANTED, redacted(str(error)))) from error


def ui_command(uri: str, experiment_id: str | None = None) -> str:
    """Return what to type, or where to go, to look at the runs of a resolved address.

    A command ends with the page that it serves, as a shell's comment, once the experiment is known.
    """
    page = f"#/experiments{_MODE}"
    if experiment_id:
        page = f"#/experiments/{experiment_id}/runs{_VIEW}"
    if urlsplit(uri).scheme in ("http", "https"):
        return f"{redacted(uri).rstrip('/')}/{page}"
    command = f"mlflow ui --backend-store-uri {shlex.quote(redacted(uri))} --host 127.0.0.1"
    return f"{command}  # http://127.0.0.1:5000/{page}" if experiment_id else command


def prepare_environment() -> None:
    """Keep MLflow from sending telemetry, from retrying for minutes and from filling the terminal.

    It reads these variables when it is imported; what the user has set stays.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def upload_timeout(size: int) -> Iterator[None]:
    """Let requests in the block take as long as a file of so many bytes may need.

    The usual timeout is for a server that hangs; one that passes gigabytes on to its own storage
    does not, and would never get them.
    """
    before = os.environ.get(_TIMEOUT, "0")
    needed = size // _SLOWEST_UPLOAD
    if needed <= int(before):
        yield
        return
    os.environ[_TIMEOUT] = str(needed)
    try:
        yield
    finally:
        os.environ[_TIMEOUT] = before


def connect(uri: str, experiment: str) -> Store:
    """Open a resolved address, and the experiment, making what is missing."""
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    with ensure_tables(uri):
        client = MlflowClient(tracking_uri=uri)
        location = _artifact_location(uri, experiment)
        return Store(client, _find_or_create_experiment(client, experiment, location))


def _artifact_location(uri: str, experiment: str) -> str | None:
    """Return where files go: beside the data base, or here; None for a server, which knows."""
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme not in ("sqlite", *_DATABASES):
        return None
    home = sqlite_path(uri).parent if scheme == "sqlite" else Path.cwd()
    return (home / "mlartifacts" / quote(experiment, safe=" ")).as_uri()


def _find_or_create_experiment(client: MlflowClient, name: str, location: str | None) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            experiment_id = client.create_experiment(name, artifact_location=location)
            experiment = client.get_experiment(experiment_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # another run was faster
    assert experiment is not None  # it has just been made, by whomever
    if experiment.lifecycle_stage != "active":
        raise RuntimeError(f"the experiment {experiment.experiment_id} was deleted")
    for key, value in (_EXPERIMENT_KIND, (SAVED_VIEW, saved_view_as_json())):
        if key not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return experiment.experiment_id


def saved_view_as_json() -> str:
    """Return a saved view of MLflow's table of runs, as people compare them.

    Left to itself the table shows neither a metric nor a parameter. The format is that of MLflow
    3.17's page; one that does not know it says so and shows its own columns.
    """
    columns = [
        *(f"metrics.`{name}`" for name in _VIEW_METRICS),
        *(f"params.`{name}`" for name in _VIEW_PARAMS),
    ]
    state = json.dumps({"selectedColumns": columns, "columnOrder": columns})
    return json.dumps(
        {"name": _VIEW_NAME, "createdAt": time.time_ns() // 1_000_000, "state": state}
    )
