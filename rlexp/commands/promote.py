"""A run's best checkpoint: into MLflow's model registry, to the hub, or as a GGUF file

`python -m rlexp promote RUN` with one or more of:

    --name my-model [--alias champion]       a version in MLflow's model registry
    --push OWNER/NAME [--private] [--yes]    the Hugging Face Hub; asks first
    --gguf q8_0 FILE                         a file for llama.cpp; f32, f16, bf16, q5_1 … q4_0 too

RUN is the run's id or the beginning of it, its name, or its folder. Without --checkpoint it is the
best one where the run kept it (train.best_metric), else the final model. An adapter stays one in
the registry, and on the hub without --merged; in GGUF it is merged. The model card goes along. The
same weights twice are one version. A run from it: python -m rlexp model=registry:my-model@champion
"""

from __future__ import annotations

import json
import shlex
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
    """Take the weights where they are wanted, and say what they are called there; return 0.

    Raises `UserError` for names that MLflow or the hub refuses, a run without a model, a model that
    GGUF has no place for, and a store that does not answer.
    """
    silence_libraries()
    import_from_here()  # the card quotes what a data set of the user's own says of itself
    uri, experiment, words = store_of(argv)
    options = _options(words)
    with Records.open(uri, experiment) as records:
        record = records.one(options.run)
        if options.name:
            _register(records, record, options)
        if options.gguf:
            _write_gguf(record, options)
        if options.push:
            _push(record, options)
    return 0


def _options(words: list[str]) -> Namespace:
    """Return what was typed.

    Raises:
        UserError: all that is wrong with it.
    """
    from rlexp.registry.gguf_export import export_problems
    from rlexp.registry.hub_push import push_problems

    parser = Parser("promote", __doc__)
    parser.add_argument("run", metavar="RUN", help="run id, its beginning, name, or folder")
    parser.add_argument("--name", help="of the registered model")
    parser.add_argument("--alias", help="that shall mean this version from now on")
    parser.add_argument("--checkpoint", help="step-000030, or model for the final one")
    parser.add_argument("--gguf", nargs=2, metavar=("PRECISION", "FILE"), help="a GGUF file")
    parser.add_argument("--push", metavar="OWNER/NAME", help="a repository of the hub")
    parser.add_argument("--merged", action="store_true", help="push an adapter merged")
    parser.add_argument("--private", action="store_true", help="a new repository is private")
    parser.add_argument("--yes", action="store_true", help="push without asking")
    options = parser.parse_args(words)
    problems: list[Problem] = []
    if not (options.name or options.gguf or options.push):
        remedy = "Add --name my-model, --push OWNER/NAME, or --gguf q8_0 FILE."
        problems.append(Problem("promote", "no place to bring it to", "one or more", remedy))
    if options.alias and not options.name:
        problems.append(Problem("--alias", options.alias, "--name, whose version it means"))
    for flag in ("merged", "private", "yes"):
        if getattr(options, flag) and not options.push:
            problems.append(Problem(f"--{flag}", "given", "--push OWNER/NAME, which it is about"))
    if options.name:
        problems += registry.name_problems(options.name, options.alias)
    if options.gguf:
        problems += export_problems(options.gguf[0], Path(options.gguf[1]))
    if options.push:
        problems += push_problems(options.push, options.yes)
    if problems:
        raise UserError(problems)
    return options


def _register(records: Records, record: Record, options: Namespace) -> None:
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


def _write_gguf(record: Record, options: Namespace) -> None:
    from rlexp.registry.gguf_export import export_gguf
    from rlexp.registry.promote import choose_weights

    folder, (precision, file) = _folder_here(record), options.gguf
    weights = choose_weights(folder, record.status, options.checkpoint)
    print(f"{'written':10} {export_gguf(folder, weights, precision, Path(file))}")
    print(f"{'use it':10} python -m rlexp model=local model.path={shlex.quote(file)}")


def _push(record: Record, options: Namespace) -> None:
    from rlexp.registry.hub_push import push
    from rlexp.registry.promote import choose_weights, stage

    folder = _folder_here(record)
    weights = choose_weights(folder, record.status, options.checkpoint)
    with tempfile.TemporaryDirectory(prefix="rlexp-") as place:
        staged = Path(place)
        stage(folder, weights, record.tags, staged, for_hub=True, merged=options.merged)
        message = f"{record.name}, {weights.folder.name}"
        address = push(
            staged,
            options.push,
            private=options.private,
            message=message,
            agree=lambda what: options.yes or _agrees(what),
        )
    print(f"{'pushed':10} {address}" if address else f"{'left':10} nothing was uploaded")


def _agrees(what: str) -> bool:
    return input(f"{what}? [y/N] ").strip().lower() in ("y", "yes")


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
