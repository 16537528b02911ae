"""MLflow's page on the runs that are tracked here, in the view for model training

`python -m rlexp ui [--port 5000] [tracking.uri=URI] [tracking.experiment=NAME]`

A server on this machine, for this machine only; Ctrl-C ends it. Where the runs are on a tracking
server already, its page is named and nothing is started.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from rlexp.cli.arguments import Parser, store_of
from rlexp.runtime.signals import sigterm_raises
from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.tracking.query.records import Records
from rlexp.tracking.secrets import redacted
from rlexp.tracking.store.connection import prepare_environment, ui_command

HOST = "127.0.0.1"
PORTS = range(1, 65536)
START_SECONDS = 120.0
"""MLflow is up in five on an idle machine."""
STOP_SECONDS = 5.0
LOG_LINES = 15  # of the server's log, when it does not come up


def run(argv: list[str]) -> int:
    """Serve until Ctrl-C, which is no failure.

    Raises `UserError` for a port that is taken and no store to look at, `RunFailed` where MLflow's
    server does not come up, or ends by itself.
    """
    parser = Parser("ui", __doc__)
    parser.add_argument("--port", type=int, default=5000, help="5000 unless you say otherwise")
    uri, experiment, rest = store_of(argv)
    port = parser.parse_args(rest).port
    served = urlsplit(uri).scheme in ("http", "https")
    if not served:
        _check_port(port)
    with Records.open(uri, experiment) as records:
        newest = records.all(1)
        known = records.experiment_ids if experiment else [run.experiment_id for run in newest]
    page = ui_command(uri if served else f"http://{HOST}:{port}", known[0] if known else None)
    if served:
        print(page)
        return 0
    # KeyboardInterrupt comes at any moment from here on, and means what it says.
    with suppress(KeyboardInterrupt), sigterm_raises(), _server(uri, port) as server:
        print(f"The runs of {redacted(uri)}:\n\n  {page}\n\nCtrl-C ends it.", flush=True)
        server.wait()
        raise RunFailed(
            f"MLflow's server ended with exit code {server.returncode}",
            "it was killed, or the store is gone",
            "start it again",
        )
    return 0


def _check_port(port: int) -> None:
    if port not in PORTS:
        raise UserError(Problem("--port", str(port), "a number from 1 to 65535"))
    if _is_free(port):
        return
    free = next((other for other in range(port + 1, PORTS.stop) if _is_free(other)), None)
    remedy = f"Type --port {free}" if free else "Type --port and a lower number."
    raise UserError(Problem("--port", f"{port}, where something answers already", "a free", remedy))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextmanager
def _server(uri: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start MLflow's server; at the end of the block it is gone with all that it started."""
    prepare_environment()
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,  # as an argument everybody on the machine could read it
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # of no use to looking at runs
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [*command, "--workers", "1"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for this process, which ends the others in order
        )
        try:
            if not _comes_up(server, port):
                log.seek(0)
                lines = log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
                raise RunFailed(
                    "MLflow's server did not come up",
                    redacted("\n".join(lines)) or f"no answer within {START_SECONDS:.0f} s",
                    "python -m rlexp doctor tells what is installed",
                )
            yield server
        finally:
            _stop(server)


def _comes_up(server: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with (
            suppress(URLError, TimeoutError, ConnectionError),
            urlopen(f"http://{HOST}:{port}/health", timeout=1),
        ):
            return True
        time.sleep(0.1)
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, politely at first."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
