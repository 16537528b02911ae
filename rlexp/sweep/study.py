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
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from rlexp.runtime.waiting import announced_wait
from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.keys import with_current_names
from rlexp.spec.sweep import SweepSpec
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
    """Return the data base at an address, with its tables.

    Args:
        storage: as `sweep.storage`.
        heartbeat: seconds between a trial's signs of life; after three that do not come it is dead.
        checked: whether its tables are known to be there, as they are for a trial.

    Raises:
        UserError: the package that talks to it is missing.
        OUTAGE: it does not answer.
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
    """Return a study to read; nothing is made.

    Args:
        storage: its data base's address, or the folder of a sweep with the default storage.
        name: of the study; None where the data base holds one only.

    Raises:
        UserError: there is no such study.
    """
    if Path(storage).is_dir():
        storage = f"sqlite:///{Path(storage) / 'study.db'}"
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
    """Return the study of a sweep, created or resumed.

    Args:
        spec: the sweep.
        attributes: of the study; those that say what its trials are must be as they were.

    Raises:
        UserError: the data base does not answer, or holds another study of this name.
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
            study_name=spec.name,
            storage=storage,
            directions=spec.directions,
            load_if_exists=True,
        )
        _set_metric_names(study, spec.objectives)
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


def _set_metric_names(study: optuna.Study, names: list[str]) -> None:
    """Let Optuna's plots, and other programs that read the data base, know them by name."""
    if study.metric_names != names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(names)


def _changed_settings(
    stored: optuna.Study, now: Mapping[str, Any], spec: SweepSpec
) -> list[Problem]:
    """Return what the stored study is about and the sweep is not, or the other way round."""
    before = dict(stored.user_attrs)
    before[CONFIG] = with_current_names(before.get(CONFIG, now[CONFIG]))
    pairs = [
        (
            "sweep.direction",
            [direction.name.lower() for direction in stored.directions],
            spec.directions,
        ),
        ("sweep.objective", before.get(OBJECTIVES, now[OBJECTIVES]), now[OBJECTIVES]),
    ]
    problems = [
        _changed_problem(key, ", ".join(new), ", ".join(old), spec)
        for key, old, new in pairs
        if list(old) != list(new)
    ]
    for attribute in (SPACE, CONFIG):
        old, new = before.get(attribute, now[attribute]), now[attribute]
        problems += [
            _changed_problem(key, str(new.get(key, "nothing")), str(old.get(key, "nothing")), spec)
            for key in dict.fromkeys([*old, *new])
            if old.get(key) != new.get(key)
        ]
    return problems


def _changed_problem(key: str, got: str, was: str, spec: SweepSpec) -> Problem:
    want = f"{was}, as the study {spec.name} has it"
    remedy = f"Begin another study with sweep.name={spec.name}_2, or go on with the old values."
    return Problem(key, got, want, remedy)


def patiently(ask: Callable[[], T], patience: float = PATIENCE) -> T:
    """Return what `ask` returns, once the study's data base answers.

    `ask` is called again after an outage: it must be safe to call twice.

    Raises:
        RunFailed: the data base has not answered for `patience` seconds.
    """
    try:
        return ask()
    except OUTAGE as error:
        cause = redacted(str(error)).splitlines()[0]
        log.warning("The study's data base does not answer; waiting for it: %s", cause)
    with announced_wait("the study's data base"):
        return _asked_again(ask, patience)


def _asked_again(ask: Callable[[], T], patience: float) -> T:
    since = time.monotonic()
    while True:
        time.sleep(1.0)
        try:
            return ask()
        except OUTAGE as error:
            if time.monotonic() - since > patience:
                raise RunFailed(
                    f"the study's data base has not answered for {patience:.0f} s",
                    redacted(str(error)).splitlines()[0],
                    "the same command goes on with all that was told; start the data base first",
                ) from error
