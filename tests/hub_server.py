"""A stand-in for the Hugging Face Hub's HTTP API of uploads, on loopback: it keeps what it gets."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_" + "w" * 34


class HubServer:
    """What was sent to a hub that knows one login.

    Attributes:
        url: its base address.
        files: content of each committed file, by repository and path.
        private: whether a repository was made private, by its name.
    """

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self._objects: dict[str, bytes] = {}

    def reply(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        if method == "PUT":  # the signed address that the batch's answer names
            self._objects[path.rpartition("/")[2]] = body
            return 200, {}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/validate-yaml":  # of the model card's first block
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.private.setdefault(name, asked.get("visibility") == "private")
            return 200, {"url": f"{self.url}/{name}", "id": name}
        name, action = _parts(path)
        if action == "preupload":
            asked = json.loads(body)["files"]
            return 200, {"files": [_mode(file["path"]) for file in asked]}
        if action == "info":
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.url}/objects/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        assert action == "commit"
        self._commit(name, [json.loads(line) for line in body.splitlines()])
        return 200, {"commitUrl": f"{self.url}/{name}/commit/0", "commitOid": "0" * 40}

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        files = self.files.setdefault(name, {})
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self._objects[value["oid"]]


def _mode(path: str) -> dict[str, Any]:
    large = path.endswith(".safetensors")
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}


def _parts(path: str) -> tuple[str, str]:
    """Return the repository and what is done to it."""
    for pattern in (r"/api/models/([^/]+/[^/]+)/(\w+)/", r"/([^/]+/[^/]+)\.git/(info)/"):
        if match := re.match(pattern, path):
            return match[1], match[2]
    raise AssertionError(path)


@contextmanager
def served() -> Iterator[HubServer]:
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = self.headers.get("Authorization", "")
            path = self.path.partition("?")[0]
            status, content = hub.reply(self.command, path, token, body)
            answer = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_PUT(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
