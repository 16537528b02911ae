"""What `python -m rlexp evaluate` means by its words: for each model a config, as of a run.

A run is evaluated with its own data, rewards and evaluation, against the model that it began with.
A model that nobody trained here gets those of the default run. `key=value` and `group=choice`
change either.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rlexp.config.hydra import composed_config
from rlexp.config.overrides import overridden
from rlexp.config.registry_choices import parse_pinned
from rlexp.config.stored import Config, missing_secrets, read_config
from rlexp.launch.evaluation_config import evaluation_config
from rlexp.runtime.checkpoints import step_of
from rlexp.runtime.run_folder import CHECKPOINTS, CONFIG, MODEL
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.components import component_class
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import is_adapter, saved_config
from rlexp.spec.files.registry_reference import is_registered
from rlexp.spec.gguf import gguf_file, names_gguf
from rlexp.spec.keys import value_at
from rlexp.spec.model_kind import kind_of_config
from rlexp.spec.run import PARTS, RunSpec
from rlexp.tracking.query.folder_source import run_folders
from rlexp.tracking.query.record import Record
from rlexp.tracking.query.records import Records

GROUPS = ("data", "eval", "guards", "hardware", "model", "reward", "tracking")
"""Those that may be chosen anew; `model` says how one that was not trained here is read."""
OF_RUNS = tuple(group for group in GROUPS if group != "model")
FILLED_IN = ("train", "scoring", "model", "hardware", "eval", "guards", "tracking")
"""Parts of a run's config whose newer keys are filled in for runs that are older."""
EVALUATES = "evaluates"
"""Tag of the MLflow run: what was evaluated."""


@dataclass(frozen=True)
class NamedModel:
    """A model that a word names."""

    word: str
    name: str
    """For people."""
    path: str
    """A folder, a hub id, a registered model or an embedded one."""
    run: Path | None = None
    """The run that it comes from."""
    step: int = 1
    """Optimizer steps that made it."""


def plan_evaluations(
    words: Sequence[str],
    overrides: Sequence[str],
    against: str | None,
    store: tuple[str, str | None],
    checkpoint: str | None,
) -> list[tuple[Config, RunSpec]]:
    """Return an evaluation, its config and spec, for each model that the words name.

    Args:
        words: runs and models.
        overrides: `key=value`, or `group=choice` for one of `GROUPS`.
        against: another one, with which all are compared.
        store: address and experiment in which ids and names are looked up.
        checkpoint: of the runs; None takes their final models.

    Raises `UserError` with all that is wrong with any of them.
    """
    problems: list[Problem] = []
    plans: list[tuple[Config, RunSpec]] = []
    with ExitStack() as open_things:
        finder = Finder(store, checkpoint, open_things)
        models = [model for word in words for model in finder.collect(word, problems)]
        other = next(iter(finder.collect(against, problems)), None) if against else None
    for model in models:
        try:
            plans.append(_plan(model, other, overrides))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return plans


class Finder:
    """Finds what words name; a tracking store is opened once one of them needs it."""

    def __init__(
        self, store: tuple[str, str | None], checkpoint: str | None, open_things: ExitStack
    ) -> None:
        self._store, self._checkpoint, self._open_things = store, checkpoint, open_things
        self._records: Records | None = None

    def collect(self, word: str, problems: list[Problem]) -> list[NamedModel]:
        """Return the models of a word; none, and what is wrong with it among the problems."""
        try:
            return list(self._models(word))
        except UserError as error:
            problems += error.problems
            return []

    def _models(self, word: str) -> Iterator[NamedModel]:
        folder = Path(word).expanduser()
        if is_registered(word) or word.startswith("builtin:"):
            yield NamedModel(word, word.rpartition(":")[2], word)
        elif names_gguf(word):
            yield NamedModel(word, gguf_file(word, word).stem, word)
        elif folder.is_dir() and (runs := run_folders(folder)):
            yield from (self._model_of_run(run, word) for run in runs)
        elif folder.is_dir():
            yield self._model_of_folder(folder.resolve(), word)
        elif word.startswith(("/", ".", "~")) or word.count(os.sep) > 1:  # it looks like a path
            want = "a run's folder, id or name, a model's folder, a hub id, or registry:NAME"
            raise UserError(Problem(word, "no such folder", want, _LISTS))
        elif word.count("/") == 1:
            yield NamedModel(word, word.rpartition("/")[2], word)
        else:
            if self._records is None:
                self._records = self._open_things.enter_context(Records.open(*self._store))
            named = self._records.find([word])
            yield from (self._model_of_record(record, word) for record in named)

    def _model_of_record(self, record: Record, word: str) -> NamedModel:
        if record.folder is None or not (record.folder / CONFIG).is_file():
            place = record.folder or "an unknown place"
            got = f"{record.name}, whose folder is not here ({place})"
            remedy = "Type the command on that machine, or evaluate its registered model."
            raise UserError(Problem(word, got, "a run whose folder is here", remedy))
        return self._model_of_run(record.folder, word)

    def _model_of_run(self, run: Path, word: str) -> NamedModel:
        from rlexp.registry.promote import choose_weights

        config = read_config(run / CONFIG)
        if not component_class(config["algo"], AlgoSpec, "algo").trains:
            got = f"a run of algo={value_at(config, 'algo.name')}, which trains nothing"
            remedy = f"Once more: python -m rlexp rerun {shlex.quote(str(run))}"
            raise UserError(Problem(word, got, "a run that trained a model", remedy))
        weights = choose_weights(run, "unfinished", self._checkpoint or MODEL)
        name = str(config["name"])
        if self._checkpoint:
            name += f"-{weights.folder.name}"
        return NamedModel(word, name, str(weights.folder.resolve()), run.resolve(), weights.step)

    def _model_of_folder(self, folder: Path, word: str) -> NamedModel:
        if not (folder / "config.json").is_file() and not is_adapter(folder):
            want = "a run's folder, or a model's with config.json and safetensors"
            raise UserError(Problem(word, "a folder without either", want, _LISTS))
        if folder.parent.name == CHECKPOINTS and (folder.parent.parent / CONFIG).is_file():
            run = folder.parent.parent
            name = f"{read_config(run / CONFIG)['name']}-{folder.name}"
            return NamedModel(word, name, str(folder), run, step_of(folder))
        if folder.name == MODEL and (folder.parent / CONFIG).is_file():
            return self._model_of_run(folder.parent, word)
        return NamedModel(word, folder.name, str(folder))


_LISTS = "`python -m rlexp ls` lists the runs."


def _plan(
    model: NamedModel, other: NamedModel | None, overrides: Sequence[str]
) -> tuple[Config, RunSpec]:
    problems: list[Problem] = []
    before = _run_config(model) if model.run else _model_config(model)
    groups = OF_RUNS if model.run else GROUPS
    config = overridden(before, overrides, groups, lambda key: True, problems)
    of_run = model.run is not None and other is None and config["reward"] == before["reward"]
    config = _evaluation_config(config, model, other, of_run)
    problems += missing_secrets(config)
    try:
        config, spec = parse_pinned(config)
    except UserError as error:
        raise UserError([*problems, *error.problems]) from error
    if problems:
        raise UserError(problems)
    return config, spec


def _run_config(model: NamedModel) -> Config:
    """Return the run's config, with defaults for keys that it is too old to have."""
    assert model.run is not None
    from omegaconf import OmegaConf

    config = read_config(model.run / CONFIG)
    if all(set(PARTS[part].model_fields) <= set(config.get(part, {})) for part in FILLED_IN):
        return config
    defaults = _default_config()
    filled = OmegaConf.create(
        {part: {**defaults[part], **config.get(part, {})} for part in FILLED_IN}
        | {part: value for part, value in config.items() if part not in FILLED_IN}
    )
    return OmegaConf.to_container(filled, resolve=True)  # pyright: ignore[reportReturnType]


def _model_config(model: NamedModel) -> Config:
    """Return the default run's config; what follows from a choice still points to it."""
    config = _default_config("model=tiny" if model.path == "builtin:tiny" else "model=local")
    config["model"]["path"] = model.path
    if model.path != "builtin:tiny":
        config["model"]["name"] = model.name
    return {**config, "name": "evaluate", "peft": {"kind": "none"}}


def _default_config(*overrides: str) -> Config:
    from omegaconf import OmegaConf

    whole = OmegaConf.to_container(composed_config([*overrides, "~algo"]))
    assert isinstance(whole, dict)
    return {str(key): value for key, value in whole.items() if key != "sweep"}


def _evaluation_config(
    config: Config, model: NamedModel, other: NamedModel | None, of_run: bool
) -> Config:
    """Return the config with the evaluation in the place of the training."""
    folder = Path(model.path)  # of a reward model, as far as its files are here
    scores = folder.is_dir() and not kind_of_config(saved_config(folder)).writes
    evaluated: str | None = model.path
    reference = dict(config["model"])
    if other is not None and not scores:
        reference |= {"path": other.path, "name": other.name, "revision": None, "tokenizer": None}
    elif scores or not model.run:
        reference |= {"path": model.path}
        evaluated = None
    against = f"-against-{other.name}" if other and evaluated else ""
    tracking = config["tracking"]
    config = evaluation_config(config, reference, evaluated, of_run=of_run, scores=scores)
    return {
        **config,
        "name": f"evaluate-{model.name}{against}",
        "train": {**config["train"], "max_steps": max(1, model.step)},
        "tracking": {**tracking, "tags": {**tracking["tags"], EVALUATES: model.path}},
    }
