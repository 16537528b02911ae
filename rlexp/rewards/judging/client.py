"""Questions to an OpenAI-compatible endpoint: `POST {base_url}/chat/completions`.

Any server that speaks this will do: vLLM, llama.cpp, Ollama, or a company's. Requests run at the
same time, no more than allowed at once and a minute; those that a busy or broken server turns away
are sent again, each time after twice as long, or after what its `Retry-After` says.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import TimeoutError as NotYet
from multiprocessing.pool import IMapIterator, ThreadPool
from typing import TYPE_CHECKING

from rlexp.rewards.judging.answer_cache import (
    Answer,
    Question,
    cache_key,
    cached_answer,
    open_cache,
    store_answer,
    take_turn,
)
from rlexp.rewards.judging.usage import record_usage
from rlexp.runtime.waiting import announced_wait
from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.text import content_of

if TYPE_CHECKING:
    import httpx2

RETRIED_STATUSES = {408, 409, 425, 429}
"""Statuses beside 5xx that another try may change."""
MAX_WAIT_SECONDS = 120.0
"""Seconds between two tries, whatever a server asks for."""
TEXT_STATUSES = {400, 413, 422}
"""Statuses that another text may not meet."""
CONTENT_FILTER = "content_filter"
"""Code of an error that is about the text, not about the request."""
SHOWN_CHARACTERS = 300
POLL_SECONDS = 0.2
_CLIENT_LOCK = threading.Lock()
_STOP_EVENTS: set[threading.Event] = set()


@dataclass(frozen=True)
class Endpoint:
    """An endpoint's address and the limits of asking it.

    Attributes:
        base_url: address, with the version and without `/chat/completions`.
        api_key_env: variable that holds the key; None sends none.
        at_once: requests under way at the same time.
        a_minute: requests that begin in a minute; None sets no limit.
        timeout: seconds until an answer.
        tries: times that a request is sent at most.
        backoff: seconds before the second try.
        prices: of a million tokens of input and of output.
    """

    base_url: str
    api_key_env: str | None
    at_once: int
    a_minute: int | None
    timeout: float
    tries: int
    backoff: float
    prices: tuple[float, float]

    def ask(self, questions: list[Question]) -> list[Answer]:
        """Return the answers to n questions; those of the cache first, equal ones asked once.

        Args:
            questions: bodies of requests, with fields that only the cache's key has below `_`.

        Raises:
            UserError: the endpoint refuses all requests, or did not answer in all tries.
            RunFailed: it refused one. What was answered by then is kept.
        """
        keys = [cache_key({"base_url": self.base_url, **question}) for question in questions]
        by_key = dict(zip(keys, questions, strict=True))
        with open_cache() as cache:
            answers = {key: answer for key in by_key if (answer := cached_answer(cache, key))}
            record_usage(cached=len(answers))
            missing = [key for key in by_key if key not in answers]
            if missing:
                stop, client = threading.Event(), self._client()

                def answer_one(key: str) -> tuple[str, Answer]:
                    return key, self._request(client, by_key[key], stop.wait)

                # Its threads are daemons: an interrupted run does not wait for a server that hangs.
                waits = announced_wait(f"{len(missing)} answers of {self.base_url}")
                with ThreadPool(min(self.at_once, len(missing))) as pool, _stoppable(stop), waits:
                    for key, answer in _results(stop, pool.imap_unordered(answer_one, missing)):
                        answers[key] = store_answer(cache, key, answer)
        return [answers[key] for key in keys]

    def _client(self) -> httpx2.Client:
        with _CLIENT_LOCK:
            return _client(self.timeout, self.at_once)

    def _request(
        self, client: httpx2.Client, question: Question, wait: Callable[[float], bool]
    ) -> Answer:
        """Return an answer from the network; `wait(seconds)` is True once asking is given up."""
        import httpx2

        body = {name: value for name, value in question.items() if name != "_"}
        failure = ""
        for attempt in range(self.tries):
            if attempt:
                record_usage(retries=1)
            turn = take_turn(self.base_url, self.a_minute) if self.a_minute else 0.0
            if turn and wait(turn):
                break
            # Jitter keeps requests that failed together from meeting again.
            pause = self.backoff * 2**attempt * random.SystemRandom().uniform(0.75, 1.25)
            try:
                response = client.post(
                    f"{self.base_url.rstrip('/')}/chat/completions",
                    json=body,
                    headers=self._headers(),
                )
            except httpx2.RequestError as error:
                failure = f"{type(error).__name__}: {self._without_key(str(error))}"
            else:
                if response.is_success and (answer := self._read_answer(response)):
                    return answer
                failure = self._failure(response)
                if not response.is_success and not _is_retried(response.status_code):
                    return self._refused(response, failure)
                pause = max(pause, _retry_after(response))
            if attempt + 1 < self.tries and wait(min(pause, MAX_WAIT_SECONDS)):
                break
        got = f"{self.base_url}, which did not answer in {self.tries} tries: {failure}"
        remedy = (
            "See that it runs; lower reward.requests_at_once or reward.requests_a_minute, or raise "
            "reward.timeout. What it has answered is kept: a run that had begun goes on by "
            "`python -m rlexp resume FOLDER`."
        )
        raise UserError(Problem("reward.base_url", got, "an endpoint that answers", remedy))

    def _headers(self) -> dict[str, str]:
        key = self._key()
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _key(self) -> str:
        return os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""

    def _without_key(self, text: str) -> str:
        """Return an endpoint's text without the key: some repeat it in their errors."""
        key = self._key()
        return text.replace(key, "***") if key else text

    def _read_answer(self, response: httpx2.Response) -> Answer | None:
        """Read an answer; None where a success holds none: a proxy's page, a broken line."""
        try:
            content = response.json()
            choice = content["choices"][0]
            text = content_of(choice["message"])
            usage = content.get("usage") or {}
            tokens = [int(usage.get(f"{kind}_tokens") or 0) for kind in ("prompt", "completion")]
            answer = Answer(
                self._without_key(text),
                choice.get("finish_reason") == "length",
                tokens[0],
                tokens[1],
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return None
        cost = sum(n * price for n, price in zip(tokens, self.prices, strict=True)) / 1e6
        record_usage(requests=1, input_tokens=tokens[0], output_tokens=tokens[1], cost=cost)
        return answer

    def _failure(self, response: httpx2.Response) -> str:
        text = self._without_key(" ".join(response.text.split()))
        short = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
        return f"status {response.status_code}, {short or 'nothing'}"

    def _refused(self, response: httpx2.Response, failure: str) -> Answer:
        """Return an empty answer where the endpoint filters a text; raise for other refusals.

        Raises:
            UserError: a refusal that every request would meet.
            RunFailed: one that may be due to this request's text, as where it is too long.
        """
        if CONTENT_FILTER in response.text:
            return Answer("", cut=False, input_tokens=0, output_tokens=0)
        got, status = f"{self.base_url}, which says: {failure}", response.status_code
        if status in (401, 403):
            with_key = f"the key in ${self.api_key_env}" if self.api_key_env else "no key"
            remedy = "Name the variable that holds a valid one: reward.api_key_env=…"
            key, want = "reward.api_key_env", f"a key that the endpoint takes; it had {with_key}"
            raise UserError(Problem(key, got, want, remedy))
        if status in TEXT_STATUSES:
            raise RunFailed(
                f"a request was refused by {got}",
                "a text that is too long for the judge, or a field of the request that it does "
                "not know",
                "set reward.request.FIELD=null for a field that it does not know",
            )
        want = "the address of an endpoint up to its version, and a model that it has"
        remedy = "Look at reward.base_url and reward.model."
        raise UserError(Problem("reward.base_url", got, want, remedy))


def stop_requests() -> None:
    """End all requests that are under way in this process."""
    for stop in tuple(_STOP_EVENTS):
        stop.set()


@contextmanager
def _stoppable(stop: threading.Event) -> Iterator[None]:
    """Let `stop_requests` set the event while the block runs; the end of the block sets it, too."""
    _STOP_EVENTS.add(stop)
    try:
        yield
    finally:
        _STOP_EVENTS.discard(stop)
        stop.set()


def _results(
    stop: threading.Event, results: IMapIterator[tuple[str, Answer]]
) -> Iterator[tuple[str, Answer]]:
    """Yield what comes of a pool, as it comes.

    Raises:
        KeyboardInterrupt: the event was set. Nothing that forgives failures may forgive this.
    """
    while True:
        try:
            yield results.next(timeout=POLL_SECONDS)
        except StopIteration:
            return
        except NotYet:
            if stop.is_set():
                raise KeyboardInterrupt from None


def _is_retried(status: int) -> bool:
    return status in RETRIED_STATUSES or status >= 500


def _retry_after(response: httpx2.Response) -> float:
    try:
        return float(response.headers.get("retry-after", 0))
    except ValueError:  # a date: the usual wait will do
        return 0.0


@lru_cache(maxsize=8)
def _client(timeout: float, at_once: int) -> httpx2.Client:
    """Return the client whose connections stay open between batches."""
    import httpx2

    return httpx2.Client(timeout=timeout, limits=httpx2.Limits(max_keepalive_connections=at_once))
