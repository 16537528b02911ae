"""The MLflow tracking store: is its address right, how is it opened, how does one look at it.

Opening happens in a background thread and imports MLflow; checking the address does not.
"""

from __future__ import annotations

import logging
import os
import shlex
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from rlexp.spec.errors import Problem, UserError
from rlexp.tracking import view
from rlexp.tracking.redaction import redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "tracking.uri"
WANTED = "sqlite:///FILE, http(s)://HOST:PORT, a data base that MLflow knows, or null"
REMEDY = "Set tracking.uri=sqlite:///mlflow.db for a file here, or tracking=none."

_DATABASES = ("postgresql", "mysql", "mssql")
_EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")
"""What the experiment holds: trained models, rather than agents."""

_MODE = "?workflowType=machine_learning"
"""MLflow's page begins in the mode for agents; the address, not the tag, decides the first time."""
_VIEW = f"{_MODE}&viewStateShareKey={view.NAME}"

_NETWORK_DISKS = ("nfs", "cifs", "smb", "lustre", "beegfs", "fuse.sshfs", "9p", "gpfs")

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # The defaults block a single call for four to twenty minutes when a server is gone, with a
    # warning for each retry; the courier tries again by itself.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

_CREATE = (
    "import sys; from mlflow import MlflowClient; "
    "MlflowClient(tracking_uri=sys.argv[1]).search_experiments(max_results=1)"
)


@dataclass(frozen=True)
class Store:
    """An open tracking store and the experiment that runs go to."""

    client: MlflowClient
    experiment_id: str


def resolve(uri: str) -> str:
    """The address with an absolute path, seen from the current folder.

    Raises:
        UserError: for an address that can never work. One that does not answer may work later.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        return f"sqlite:///{_database(uri)}" + (f"?{parts.query}" if parts.query else "")
    try:
        whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False  # a port that is no number
    if scheme in ("http", "https", *_DATABASES) and whole:
        return uri
    if scheme == "databricks":
        return uri
    remedy = REMEDY
    if scheme in ("", "file"):
        remedy = f"MLflow no longer keeps runs in plain folders. {REMEDY}"
    raise UserError(Problem(KEY, redacted(uri), WANTED, remedy))


def _database(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc or not parts.path.strip("/"):
        raise UserError(
            Problem(
                KEY, redacted(uri), "sqlite:///FILE, with three slashes before the path", REMEDY
            )
        )
    path = Path(parts.path[1:]).expanduser().absolute()
    if not path.parent.is_dir():
        remedy = f"Make the folder (mkdir -p {shlex.quote(str(path.parent))}) or mend the path."
        raise UserError(Problem(KEY, uri, f"a folder that exists, not {path.parent}", remedy))
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(Problem(KEY, uri, f"a place where you may write, unlike {path}", REMEDY))
    return path


def ui_command(uri: str, experiment_id: str | None = None) -> str:
    """What to type, or where to go, to look at the runs of a resolved address.

    A command ends with the page that it serves, as a shell's comment, once the experiment is known.
    """
    page = (
        f"#/experiments/{experiment_id}/runs{_VIEW}" if experiment_id else f"#/experiments{_MODE}"
    )
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


def connect(uri: str, experiment: str) -> Store:
    """Open a resolved address, and the experiment, making what is missing."""
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    if not uri.startswith("sqlite:"):
        client = MlflowClient(tracking_uri=uri)
        return Store(client, _experiment(client, experiment, None))

    from filelock import FileLock

    database = _database(uri)
    # Processes that make the same data base at once crash: one does it, the others wait.
    with FileLock(database.with_name(f".{database.name}.lock")):
        if not database.exists():
            _create_database(database)
        client = MlflowClient(tracking_uri=uri)
        artifacts = database.parent / "mlartifacts" / quote(experiment, safe=" ")
        return Store(client, _experiment(client, experiment, artifacts.as_uri()))


def _create_database(database: Path) -> None:
    """Make the tables elsewhere and move the file into place: a kill half-way leaves no ruin.

    It takes seconds of pure Python: in a process of its own it does not slow down the training.
    """
    draft = database.with_name(f".{database.name}.new")
    draft.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CREATE, f"sqlite:///{draft}"],
        capture_output=True,
        text=True,
        cwd=database.parent,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(f"making {database} failed:\n{redacted(done.stderr)}")
    draft.replace(database)
    if not _on_network_disk(database):
        # Halves the cost of a write, and the UI can read meanwhile; unsafe over a network.
        connection = sqlite3.connect(database)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()


def _on_network_disk(path: Path) -> bool:
    import psutil

    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    for folder in path.resolve().parents:
        if str(folder) in mounts:
            return mounts[str(folder)].startswith(_NETWORK_DISKS)
    return False


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            made = client.create_experiment(name, artifact_location=artifacts)
            found = client.get_experiment(made)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another run was faster
    if found is None or found.lifecycle_stage != "active":
        raise RuntimeError(
            f"the experiment {name!r} was deleted: restore it, or set tracking.experiment to "
            "another name"
        )
    for key, value in (_EXPERIMENT_KIND, (view.TAG, view.saved())):
        if key not in found.tags:
            client.set_experiment_tag(found.experiment_id, key, value)
    return found.experiment_id
