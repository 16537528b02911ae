"""A stand-in for an OpenAI-compatible endpoint, on loopback: it judges by counting words."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

from rlexp.rewards.constitution import Constitution
from rlexp.rewards.judge import Judge
from rlexp.runtime.paths import CONF

SCORE = "Score by {low} to {high} <{completion}>"
PAIR = "Compare <{first}> <{second}>"
RULE = "Compare by {principles}: <{first}> <{second}>"

Script = int | str | threading.Event | Callable[[str], str]
"""An answer out of turn: a status, a text, an event to wait for, or what makes a text of a
question."""


def good(text: str) -> int:
    return text.count("good")


def by_count(question: str) -> str:
    """One more than the times that "good" stands in a text; the text of two that has more."""
    texts = re.findall(r"<(.*?)>", question, re.DOTALL)
    if len(texts) == 1:
        return f"Score: {1 + good(texts[0])}"
    first, second = map(good, texts)
    return "Verdict: tie" if first == second else f"Verdict: {'A' if first > second else 'B'}"


class JudgeServer:
    """A stand-in for an endpoint that judges: the requests it gets, and its answers.

    Attributes:
        url: its base address.
        rule: makes an answer of a question.
        script: answers that come first, one a request.
        asked: bodies of the requests, and their headers with `headers`.
        meet: requests wait for as many others.
    """

    def __init__(self) -> None:
        self.rule: Callable[[str], str] = by_count
        self.script: list[Script] = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.finish_reason = "stop"
        self.meet: threading.Barrier | None = None
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        self.url = ""

    @property
    def questions(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.asked]

    def reply(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
        with self.lock:
            self.asked.append(body)
            self.headers.append(headers)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            step = self.script.pop(0) if self.script else self.rule
        try:
            if self.meet:
                self.meet.wait(timeout=20)
            if isinstance(step, threading.Event):
                step.wait(timeout=60)
                step = self.rule
            if isinstance(step, int):
                return step, json.dumps(
                    {"error": {"message": f"no {headers.get('Authorization')}"}}
                )
            if path != "/v1/chat/completions":
                return 404, "nothing here"
            question = body["messages"][-1]["content"]
            text = step if isinstance(step, str) else step(question)
            usage = {"prompt_tokens": 10, "completion_tokens": 2}
            choice = {"message": {"content": text}, "finish_reason": self.finish_reason}
            return 200, json.dumps({"choices": [choice], "usage": usage})
        finally:
            with self.lock:
                self.under_way -= 1


@contextmanager
def served() -> Iterator[JudgeServer]:
    """Serve a stand-in inside the block."""
    stand_in = JudgeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            status, text = stand_in.reply(self.path, dict(self.headers), body)
            content = text.encode()
            with suppress(ConnectionError):  # the client no longer waits
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        stand_in.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield stand_in
        finally:
            server.shutdown()


def knobs(choice: str, url: str, **changes: Any) -> dict[str, Any]:
    config = yaml.safe_load((CONF / "reward" / f"{choice}.yaml").read_text(encoding="utf-8"))
    del config["_target_"]
    return {**config, "base_url": url, "model": "stand-in", "backoff": 0.01, **changes}


def judge_at(url: str, **changes: Any) -> Judge:
    return Judge(**{**knobs("judge", url), "rubric": SCORE, "pair_rubric": PAIR, **changes})


def constitution_at(url: str, **changes: Any) -> Constitution:
    return Constitution(**{**knobs("constitution", url), "rubric": RULE, **changes})
