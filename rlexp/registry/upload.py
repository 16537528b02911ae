"""Upload of a model into MLflow's registry: artifacts of a logged model, and a version made of it.

The files go where the store keeps its artifacts, so that a version loads from another machine too.
The logged model is the checkpoint's own entry in the Models table where the run made one: its
metrics and the version's page are then one click apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.spec.errors import Problem
from rlexp.tracking.query.records import Record, Records
from rlexp.tracking.store.connection import upload_timeout
from rlexp.tracking.store.read_only import store_errors

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

DIGEST = "rlexp.digest"
"""Tag of a version: SHA-256 of its files."""

_EXTERNAL = "mlflow.model.isExternal"
_VERSIONS = "mlflow.modelVersions"
_LONGEST_DESCRIPTION = 5000
"""Characters, in the data bases of MLflow's servers."""
_CUT = "\n\n… (the whole card is the file README.md)"


@dataclass(frozen=True)
class Upload:
    """Files and texts that become a version."""

    folder: Path
    """Holds exactly the files that are uploaded."""
    place: Path
    """Where in the run's folder they come from; the checkpoint's entry in MLflow names it."""
    step: int
    digest: str
    description: str
    """Markdown."""
    tags: Mapping[str, str]


def name_problems(name: str, alias: str | None) -> list[Problem]:
    """Return what MLflow would not take as the name of a model or as an alias."""
    problems = []
    if not name.strip() or re.search(r"[/:@]", name) or name.strip(". ") != name:
        problems.append(Problem("--name", repr(name), "a name without / : @, such as my-model"))
    if alias is not None:
        want = "letters, digits, _ and -, such as champion"
        if not re.fullmatch(r"[\w-]+", alias):
            problems.append(Problem("--alias", repr(alias), want))
        elif alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
            got = f"{alias!r}, which MLflow keeps for itself"
            problems.append(Problem("--alias", got, want))
    return problems


def registered_version(records: Records, record: Record, name: str, digest: str) -> str | None:
    """Return the version that has these files of this run already; None if there is none."""
    quoted = name.replace("'", "''")
    with store_errors(records.uri):
        for version in records.client.search_model_versions(f"name = '{quoted}'"):
            is_same = version.run_id == record.run_id and version.tags.get(DIGEST) == digest
            if is_same and version.status == "READY":
                return str(version.version)
    return None


def register_version(records: Records, record: Record, name: str, upload: Upload) -> str:
    """Upload the files and make a version of them; return its number.

    A process that is killed on the way leaves files that the next attempt overwrites, no version.
    """
    from mlflow.exceptions import MlflowException

    client = records.client
    largest = max(path.stat().st_size for path in upload.folder.rglob("*"))
    with store_errors(records.uri):
        model = _find_or_create_model(records, record, upload)
        with upload_timeout(largest):
            client.log_model_artifacts(model.model_id, str(upload.folder))
        client.set_logged_model_tags(model.model_id, {_EXTERNAL: "false"})
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = client.create_model_version(
            name,
            model.artifact_location,
            run_id=record.run_id,
            tags={**upload.tags, DIGEST: upload.digest},
            description=_shortened(upload.description),
            model_id=model.model_id,
        )
        client.update_registered_model(name, _shortened(upload.description))
        # A server notes it by itself; a data base that is opened directly has nobody to do it.
        listed = json.loads(client.get_logged_model(model.model_id).tags.get(_VERSIONS, "[]"))
        entry = {"name": name, "version": str(version.version)}
        listed = [{**other, "version": str(other["version"])} for other in listed]
        if entry not in listed:
            tag = json.dumps([*listed, entry])
            client.set_logged_model_tags(model.model_id, {_VERSIONS: tag})
    return str(version.version)


def set_alias(records: Records, name: str, alias: str, version: str) -> str | None:
    """Let an alias mean this version; return the version that it meant until now."""
    with store_errors(records.uri):
        before = records.client.get_registered_model(name).aliases.get(alias)
        records.client.set_registered_model_alias(name, alias, version)
    return None if before is None else str(before)


def _find_or_create_model(records: Records, record: Record, upload: Upload) -> LoggedModel:
    client = records.client
    of_run = f"source_run_id = '{record.run_id}'"
    models = client.search_logged_models([record.experiment_id], filter_string=of_run)
    wanted = {"path": str(upload.place.absolute()), "step": str(upload.step)}
    for key in wanted:  # of the last step it is the final model that has an entry
        for model in models:
            if model.params.get(key) == wanted[key]:
                return model
    model = client.create_logged_model(
        record.experiment_id,
        name=f"{upload.place.name}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', record.name)}",
        source_run_id=record.run_id,
        params=wanted,
        model_type="checkpoint",
    )
    return client.finalize_logged_model(model.model_id, "READY")


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_DESCRIPTION:
        return text
    return text[: _LONGEST_DESCRIPTION - len(_CUT)] + _CUT
