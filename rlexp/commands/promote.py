"""A run's best checkpoint into MLflow's model registry, with its model card

`python -m rlexp promote RUN --name my-model [--alias champion] [--checkpoint step-000030]` uploads
the weights, safetensors only, and registers them as a version, with the card as its description.
RUN is the run's id or the beginning of it, its name, or its folder. Without --checkpoint it is the
best one where the run kept it (train.best_metric), else the final model. The same weights twice are
one version. To begin a run from it: python -m rlexp model=registry:my-model@champion
"""

from __future__ import annotations

import json
import tempfile
from argparse import Namespace
from pathlib import Path

from rlexp.cli.arguments import Parser, store_of
from rlexp.cli.exit_status import import_from_here
from rlexp.registry import upload as registry
from rlexp.registry.versions import DESCRIBED, DESCRIBING
from rlexp.runtime.environment import silence_libraries
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.query.record import INPUT_TAG
from rlexp.tracking.query.records import Record, Records

LINEAGE = (INPUT_TAG, "pipeline", "stage")
"""Beginnings of a run's tags that say what it was made from; the version has them too."""


def run(argv: list[str]) -> int:
    """Register the weights and say what they are called now; return 0.

    Raises `UserError` for names that MLflow refuses, a run without a model, and a store that does
    not answer.
    """
    silence_libraries()
    import_from_here()  # the card quotes what a data set of the user's own says of itself
    uri, experiment, words = store_of(argv)
    parser = Parser("promote", __doc__)
    parser.add_argument("run", metavar="RUN", help="run id, its beginning, name, or folder")
    parser.add_argument("--name", required=True, help="of the registered model")
    parser.add_argument("--alias", help="that shall mean this version from now on")
    parser.add_argument("--checkpoint", help="step-000030, or model for the final one")
    options = parser.parse_args(words)
    if problems := registry.name_problems(options.name, options.alias):
        raise UserError(problems)
    with Records.open(uri, experiment) as records:
        record = records.one(options.run)
        version, line = _promoted(records, record, options)
        print(line)
        ending = f"/{version}"
        if options.alias:
            before = registry.set_alias(records, options.name, options.alias, version)
            moved = f", until now version {before}" if before not in (None, version) else ""
            print(f"{'alias':10} {options.name}@{options.alias} is version {version}{moved}")
            ending = f"@{options.alias}"
    scores = record.params.get("algo.name") == "reward"
    key = "reward=model reward.path" if scores else "model"
    print(f"{'use it':10} python -m rlexp {key}=registry:{options.name}{ending}")
    return 0


def _promoted(records: Records, record: Record, options: Namespace) -> tuple[str, str]:
    """Register the weights unless they are there; return the version, and a line about it."""
    from rlexp.registry.promote import choose_weights, files_digest, run_config, stage

    folder = _folder_here(record)
    weights = choose_weights(folder, record.status, options.checkpoint)
    description = f"{weights.folder.relative_to(folder)} of {record.name}: {weights.reason}"
    with tempfile.TemporaryDirectory(prefix="rlexp-") as place:
        staged = Path(place)
        card = stage(folder, weights, record.tags, staged)
        fingerprint = files_digest(staged)
        if version := registry.registered_version(records, record, options.name, fingerprint):
            return version, f"{'there':10} {options.name} version {version} is {description}"
        model = run_config(folder)["model"]
        tags = {
            "run": record.name,
            "step": str(weights.step),
            "checkpoint": weights.folder.name,
            DESCRIBED: json.dumps({key: model[key] for key in DESCRIBING}),
            **{key: value for key, value in record.tags.items() if key.startswith(LINEAGE)},
            **card.metrics,
        }
        upload = registry.Upload(staged, weights.folder, weights.step, fingerprint, card.text, tags)
        version = registry.register_version(records, record, options.name, upload)
    return version, f"{'promoted':10} {options.name} version {version} is {description}"


def _folder_here(record: Record) -> Path:
    folder = record.folder
    if folder is not None and folder.is_dir():
        return folder
    place = f"{folder} on {record.tags.get('host', 'another machine')}"
    got = f"{record.name}, whose folder is {place if folder else 'not known'}"
    remedy = "Type the command on that machine, or bring the folder back to its place."
    raise UserError(Problem("run", got, "a run whose folder is here", remedy))
