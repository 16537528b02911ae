"""Study of a sweep: opened here for the sweep, for a trial, or to be read only.

A study lives in a data base. What a person has to know beside Optuna's own columns stands in its
attributes (`SPACE` and so on below) and in each trial's (`rlexp.sweep.ownership`).
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import optuna
from omegaconf import OmegaConf
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from rlexp.runtime.run_folder import STUDY
from rlexp.runtime.waiting import announced_wait
from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.keys import came_later, later_values, with_current_names
from rlexp.spec.sweep import NO_PRUNER, SweepSpec
from rlexp.spec.validation import validate
from rlexp.sweep.optuna_internals import storage_of
from rlexp.tracking.secrets import redacted

OUTAGE = (StorageInternalError, SQLAlchemyError)
"""What Optuna raises when its data base does not answer."""
CONNECT_TIMEOUT = 5
"""Seconds that a data base server may take to answer a connection."""
LOCK_TIMEOUT = 60
"""Seconds that a process waits for another one to finish writing to a SQLite file."""
TABLE_ATTEMPTS = 6
"""Times that a fresh data base is tried, half a second apart, while another machine fills it."""
PATIENCE = 600.0
"""Seconds without the data base before a sweep gives up; nothing that was told is lost."""

CONFIRM = "-confirm"
"""Suffix of the study whose trials confirm a study's best (`rlexp.sweep.confirmation`)."""
SPACE, OBJECTIVES, CONFIG = "space", "objectives", "config"
PARENT, COMMAND, FOLDER, SAMPLER, PRUNER = "parent", "command", "folder", "sampler", "pruner"
"""Attributes of a study: what is searched, by key, as it was written; the metrics, in the order of
the directions; what all trials have in common; the MLflow run; how to go on; where its trials are;
the classes that sampled and pruned last."""

T = TypeVar("T")
log = logging.getLogger(__name__)


def storage_url(storage: str) -> str:
    """Return a data base's address, of a SQLite file with its absolute path."""
    head, slashes, path = storage.partition(":///")
    if urlsplit(storage).scheme.startswith("sqlite") and slashes:
        return f"{head}:///{Path(path).expanduser().absolute()}"
    return storage


def open_storage(
    storage: str, heartbeat: int | None = None, *, checked: bool = False
) -> RDBStorage:
    """Return the data base at an address, with its tables, `checked` if they are known to be there.

    A trial of which no sign of life has come for three times `heartbeat` seconds is dead. Raises
    `UserError` where the package that talks to it is missing, `OUTAGE` where it does not answer.
    """
    url = storage_url(storage)
    scheme = urlsplit(url).scheme
    waits = {"timeout": LOCK_TIMEOUT} if scheme.startswith("sqlite") else {}
    if scheme.startswith(("postgresql", "mysql")):
        waits = {"connect_timeout": CONNECT_TIMEOUT}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            with announced_wait(f"the study's data base {redacted(url)}"):
                return RDBStorage(
                    url,
                    engine_kwargs={"connect_args": waits, "pool_pre_ping": True},
                    heartbeat_interval=heartbeat,
                    grace_period=3 * heartbeat if heartbeat else None,
                    skip_compatibility_check=checked,
                    skip_table_creation=checked,
                )
        except ImportError as error:
            want = f"the Python package that talks to {scheme}"
            remedy = "Install it: python -m pip install 'psycopg[binary]' for postgresql+psycopg://"
            if scheme.startswith("mysql"):
                remedy = "Install it: python -m pip install pymysql for mysql+pymysql://"
            raise UserError(Problem("sweep.storage", redacted(url), want, remedy)) from error


@contextmanager
def _storage_errors_as_problems(storage: str) -> Iterator[None]:
    """Turn an error of the data base inside the block into what the user can do."""
    try:
        yield
    except (*OUTAGE, RuntimeError, OSError) as error:
        innermost: BaseException = error
        while innermost.__cause__ is not None:
            innermost = innermost.__cause__
        cause = redacted(str(innermost)).strip().splitlines()[0]
        want = "a data base that answers and that Optuna can use"
        raise UserError(Problem("sweep.storage", redacted(storage), want, f"{cause}")) from error


def read_study(storage: str, name: str | None = None) -> optuna.Study:
    """Return a study to read; nothing is made. Raises `UserError` where there is no such study.

    `storage` is its data base's address, or the folder of a sweep with the default storage. Without
    a name the data base must hold one study only.
    """
    if Path(storage).is_dir():
        storage = f"sqlite:///{Path(storage) / STUDY}"
    file = Path(storage_url(storage).partition(":///")[2])
    if urlsplit(storage).scheme.startswith("sqlite") and not file.is_file():
        want = "the folder of a sweep, or the address of its data base"
        raise UserError(Problem("study", f"no file {file}", want))
    with _storage_errors_as_problems(storage):
        opened = open_storage(storage)
        names = optuna.get_all_study_names(opened)
    if name is None and len(names) > 1:
        # Without the studies that confirm another one of them.
        names = [word for word in names if word.removesuffix(CONFIRM) not in set(names) - {word}]
    if (name is None and len(names) != 1) or (name is not None and name not in names):
        got = name or f"{len(names)} studies"
        want = f"one of {', '.join(sorted(names)) or 'none: it holds no study yet'}"
        raise UserError(Problem("study", got, want))
    return optuna.load_study(study_name=name or names[0], storage=opened)


def sweep_spec(settings: Any, confirms: bool = False) -> SweepSpec:
    """Return the spec of a config node, or of the study that confirms its best trials.

    Raises `UserError` with all that is wrong with it.
    """
    if OmegaConf.is_config(settings):
        settings = OmegaConf.to_container(settings, resolve=True)
    problems: list[Problem] = []
    spec = validate(SweepSpec, settings, "sweep", [f"sweep.{key}" for key in settings], problems)
    problems += spec.problems() if spec else ()
    if problems or spec is None:
        raise UserError(problems)
    return confirmation_spec(spec) if confirms else spec


def confirmation_spec(spec: SweepSpec) -> SweepSpec:
    """Return the spec of the study that confirms a sweep's: in its folder, without a pruner."""
    sampler, pruner = {"_target_": "optuna.samplers.RandomSampler"}, {"_target_": NO_PRUNER}
    changes = {"name": f"{spec.name}{CONFIRM}", "sampler": sampler, "pruner": pruner}
    return spec.model_copy(update=changes)


def objective_names(study: optuna.Study) -> list[str]:
    """Return the metrics that a study looks for, in the order of its directions."""
    return study.user_attrs[OBJECTIVES]


def sibling_study(study: optuna.Study, suffix: str) -> optuna.Study | None:
    """Return the study in the same data base whose name has this suffix; None without one."""
    name = f"{study.study_name}{suffix}"
    if name not in optuna.get_all_study_names(storage_of(study)):
        return None
    return optuna.load_study(study_name=name, storage=storage_of(study))


def open_study(spec: SweepSpec, attributes: Mapping[str, Any]) -> optuna.Study:
    """Return the study of a sweep, created or resumed; its attributes say what its trials are.

    Raises `UserError` where the data base does not answer, or holds another study of this name.
    """
    with _storage_errors_as_problems(spec.storage):
        if urlsplit(spec.storage).scheme.startswith("sqlite"):
            file = Path(storage_url(spec.storage).partition(":///")[2])
            file.parent.mkdir(parents=True, exist_ok=True)
        storage = _storage_with_tables(spec)
        if spec.name in optuna.get_all_study_names(storage):
            stored = optuna.load_study(study_name=spec.name, storage=storage)
            if problems := _changed_settings(stored, attributes, spec):
                raise UserError(problems)
        study = optuna.create_study(
            storage=storage, study_name=spec.name, directions=spec.directions, load_if_exists=True
        )
        # Optuna's plots, and other programs that read the data base, know the objectives by name.
        if study.metric_names != spec.objectives:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.set_metric_names(spec.objectives)
        for key, value in attributes.items():
            if study.user_attrs.get(key) != value:
                study.set_user_attr(key, value)
    return study


def _storage_with_tables(spec: SweepSpec) -> RDBStorage:
    """Return the data base, in which several machines may be creating the tables right now."""
    for _ in range(TABLE_ATTEMPTS):
        try:
            return open_storage(spec.storage, spec.heartbeat)
        except SQLAlchemyError as error:
            created_elsewhere = isinstance(error, (IntegrityError, ProgrammingError))
            if not created_elsewhere and "already exists" not in str(error):
                raise
        time.sleep(0.5)
    return open_storage(spec.storage, spec.heartbeat)


def _changed_settings(
    stored: optuna.Study, now: Mapping[str, Any], spec: SweepSpec
) -> list[Problem]:
    """Return what the stored study is about and the sweep is not, or the other way round."""
    before = {**now, **stored.user_attrs}
    values = later_values(before[CONFIG]).items()
    later = {key: str(value) for key, value in values if key in now[CONFIG]}
    later |= {key: value for key, value in now[CONFIG].items() if came_later(key)}
    directions = ", ".join(direction.name.lower() for direction in stored.directions)
    old_goals = {"sweep.direction": directions, "sweep.objective": ", ".join(before[OBJECTIVES])}
    new_goals = {
        "sweep.direction": ", ".join(spec.directions),
        "sweep.objective": ", ".join(now[OBJECTIVES]),
    }
    pairs = [
        (old_goals, new_goals),
        (before[SPACE], now[SPACE]),
        (later | with_current_names(before[CONFIG]), now[CONFIG]),
    ]
    stands = f"as the study {spec.name} has it"
    remedy = f"Begin another study with sweep.name={spec.name}_2, or go on with the old values."
    return [
        Problem(key, new.get(key, "nothing"), f"{old.get(key, 'nothing')}, {stands}", remedy)
        for old, new in pairs
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def retry_outages(ask: Callable[[], T]) -> T:
    """Return what `ask` returns, called again after each outage of the study's data base.

    Raises `RunFailed` where that has not answered for `PATIENCE` seconds.
    """
    try:
        return ask()
    except OUTAGE as error:
        cause = redacted(str(error)).splitlines()[0]
        log.warning("The study's data base does not answer; waiting for it: %s", cause)
    with announced_wait("the study's data base"):
        return _asked_again(ask)


def _asked_again(ask: Callable[[], T]) -> T:
    since = time.monotonic()
    while True:
        time.sleep(1.0)
        try:
            return ask()
        except OUTAGE as error:
            if time.monotonic() - since > PATIENCE:
                raise RunFailed(
                    f"the study's data base has not answered for {PATIENCE:.0f} s",
                    redacted(str(error)).splitlines()[0],
                    "the same command goes on with all that was told; start the data base first",
                ) from error
