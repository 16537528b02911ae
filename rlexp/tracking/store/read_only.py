"""Read-only access to a tracking store: nothing is made, and one that is silent is an error."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from rlexp.runtime.waiting import announced_wait
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.secrets import redacted
from rlexp.tracking.store.connection import KEY, prepare_environment
from rlexp.tracking.store.explanations import explained
from rlexp.tracking.store.schema import sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.entities import PagedList

T = TypeVar("T")

FIRST_RUN = "Begin with a first run: python -m rlexp"
_SERVERS = ("http", "https", "databricks")
_TABLE = "experiments"
_TIMEOUT = 5.0  # seconds that a SQLite file may be locked
_PATIENCE = "5"  # seconds, as a variable of the environment
_REQUEST_ERRORS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
"""Codes of errors in what was asked: whoever answers with them is there."""


def open_read_only(uri: str) -> MlflowClient:
    """Return a client of the store at a resolved address.

    Raises `UserError` where nothing is there, or it does not answer within seconds, or is no store.
    """
    prepare_environment()
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme == "sqlite":
        sqlite_file(uri)
    elif scheme not in _SERVERS:
        _check_database(uri)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def all_pages(search: Callable[..., PagedList[T]], *where: Any, **how: Any) -> Iterator[T]:
    """Yield all that a search of MLflow's client finds, which it answers in pages."""
    token = None
    while True:
        page = search(*where, **how, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn a store's silence, or its answer with an error, into a `UserError` inside the block."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import DBAPIError

    try:
        with announced_wait(f"MLflow at {redacted(uri)}"):
            yield
    except (MlflowException, RequestException, DBAPIError) as error:
        if getattr(error, "error_code", None) in _REQUEST_ERRORS:
            raise
        raise unreachable_error(uri, error) from error


def query_sqlite(uri: str, path: Path, query: str, *values: Any) -> list[Any]:
    """Return the rows that a store's SQLite file answers, opened for reading only.

    Raises `UserError` where it does not answer.
    """
    read_only = f"{path.as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(read_only, uri=True, timeout=_TIMEOUT)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise unreachable_error(uri, error) from error


def unreachable_error(uri: str, error: Exception) -> UserError:
    """Return the error for a store that does not answer, or not as a store."""
    text = redacted(str(error)).strip()
    cause = explained(text) or text.partition("\n")[0][:300]
    got = f"{redacted(uri)}, which does not answer: {cause}"
    remedy = "Start the server, mend the address, or name another one with tracking.uri=…"
    return UserError(Problem(KEY, got, "a tracking store that answers", remedy))


def sqlite_file(uri: str) -> Path:
    """Return the SQLite file of an address. Raises `UserError` if it is none of MLflow's."""
    path = sqlite_path(uri)
    if not path.exists():
        wanted = f"a store that is there: no run has been tracked in {path} yet"
        raise UserError(Problem(KEY, uri, wanted, f"{FIRST_RUN}, or name one: tracking.uri=…"))
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            query = "SELECT count(*) FROM sqlite_master WHERE name = ?"
            (is_store,) = connection.execute(query, [_TABLE]).fetchone()
    except sqlite3.DatabaseError as error:
        raise _no_store(uri, str(error)) from error
    if not is_store:
        raise _no_store(uri, "it has no table of experiments")
    return path


def _check_database(uri: str) -> None:
    """MLflow itself would try for minutes, and make its tables in whatever data base it finds."""
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    os.environ.setdefault("PGCONNECT_TIMEOUT", _PATIENCE)
    try:
        engine = create_engine(uri)
        is_store = inspect(engine).has_table(_TABLE)
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:  # ImportError: its driver is not installed
        raise unreachable_error(uri, error) from error
    if not is_store:
        raise _no_store(uri, "it has no table of experiments")


def _no_store(uri: str, why: str) -> UserError:
    return UserError(
        Problem(KEY, f"{redacted(uri)} ({why})", "a store that MLflow made", FIRST_RUN)
    )
