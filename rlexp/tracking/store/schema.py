"""MLflow's tables in a fresh data base, made by one process while the others wait.

MLflow makes them without a lock of its own: processes that do it at once crash each other, and can
leave a data base that none of them takes any more.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from rlexp.tracking.secrets import redacted

# The address comes by MLflow's own variable: other users of a machine can read a command line.
_CREATE = "from mlflow import MlflowClient; MlflowClient().search_experiments(max_results=1)"

_MAKING_TABLES = 0x726C657870  # key of PostgreSQL's advisory lock

_NETWORK_DISKS = ("nfs", "cifs", "smb", "lustre", "beegfs", "fuse.sshfs", "9p", "gpfs")


def sqlite_uri(path: Path) -> str:
    """Return the address of a SQLite file; what would mean something in it is quoted.

    >>> sqlite_uri(Path("/runs/50% #1?/my store.db"))
    'sqlite:////runs/50%25 %231%3F/my store.db'
    """
    return f"sqlite:///{re.sub('[%?#]', lambda match: quote(match[0]), str(path))}"


def sqlite_path(uri: str) -> Path:
    """Return the file of a `sqlite:///` address.

    >>> sqlite_path("sqlite:////runs/50%25 %231%3F/my store.db?timeout=9")
    PosixPath('/runs/50% #1?/my store.db')
    """
    return Path(unquote(urlsplit(uri).path[1:]))


@contextmanager
def ensure_tables(uri: str) -> Iterator[None]:
    """Make MLflow's tables at a resolved address where they are missing; others wait meanwhile.

    A server, and a data base of another kind than SQLite and PostgreSQL, makes its own.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        from filelock import FileLock

        database = sqlite_path(uri)
        with FileLock(database.with_name(f".{database.name}.lock")):
            if not database.exists():
                _make_database(database)
            yield
    elif scheme == "postgresql":
        import sqlalchemy

        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
        with engine.begin() as connection:
            # The lock is the transaction's: a connection that dies lets go of it.
            lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(lock, {"key": _MAKING_TABLES})
            if not sqlalchemy.inspect(connection).has_table("alembic_version"):
                _make_tables(uri, Path.cwd())
            yield
    else:
        yield


def _make_database(database: Path) -> None:
    """Make the tables elsewhere and move the file into place: a kill half-way leaves no ruin."""
    draft = database.with_name(f".{database.name}.new")
    draft.unlink(missing_ok=True)
    _make_tables(sqlite_uri(draft), database.parent)
    draft.replace(database)
    if not _on_network_disk(database):
        # Halves the cost of a write, and the UI can read meanwhile; unsafe over a network.
        connection = sqlite3.connect(database)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()


def _make_tables(uri: str, folder: Path) -> None:
    """Make the tables in a process of its own: seconds of pure Python would slow down training."""
    process = subprocess.run(
        [sys.executable, "-P", "-c", _CREATE],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        stdin=subprocess.DEVNULL,
    )
    if process.returncode:
        raise RuntimeError(f"making {redacted(uri)} failed:\n{redacted(process.stderr)}")


def _on_network_disk(path: Path) -> bool:
    import psutil

    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    for folder in path.resolve().parents:
        if str(folder) in mounts:
            return mounts[str(folder)].startswith(_NETWORK_DISKS)
    return False
