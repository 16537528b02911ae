"""What all judges behind an endpoint share: its knobs, asking again, and both orders.

Two completions are always shown in both orders, since language models prefer a place (Zheng et al.
2023, arXiv:2306.05685): what the place alone decides comes out as a tie, exactly.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import combinations
from statistics import fmean
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import Field

from rlexp.rewards.judging.answer_cache import Answer, Question
from rlexp.rewards.judging.answer_parsing import (
    conversation_text,
    fill_placeholders,
    parse_verdict,
    placeholders,
)
from rlexp.rewards.judging.client import Endpoint, stop_requests
from rlexp.rewards.judging.usage import record_usage
from rlexp.spec.errors import Problem, RunFailed
from rlexp.spec.judge import JudgeSpec, Preference
from rlexp.spec.part import Part
from rlexp.spec.reward import DataColumns, Text

T = TypeVar("T")

HIDDEN_VARIABLE = re.compile(r"\w*(TOKEN|KEY|PASSWORD|PASSWD|SECRET|CREDENTIALS?)", re.IGNORECASE)
"""Variables whose values are taken out of all that rlexp writes."""
RESERVED_FIELDS = ("messages", "model", "stream", "n", "_")
"""Fields of a request that rlexp sets, or whose other values it could not read."""
ASK_FOR_VERDICT = "Answer with A, B or tie alone."


class Prices(Part):
    """What the endpoint takes, in the currency of its bill."""

    input: float = Field(ge=0)
    """Of a million tokens that it reads."""
    output: float = Field(ge=0)
    """Of a million tokens that it writes."""


class EndpointJudge(JudgeSpec):
    """A judge behind an OpenAI-compatible endpoint."""

    base_url: str = Field(min_length=1)
    """Address of the endpoint, up to its version: http://127.0.0.1:8000/v1. Prompts and completions
    are sent there, and nowhere else."""
    model: str = Field(min_length=1)
    """The judge's name at the endpoint."""
    api_key_env: str | None
    """Environment variable that holds the endpoint's key; null sends none."""
    request: dict[str, Any]
    """Further fields of each request: temperature, max_tokens, seed, reasoning_effort. One that is
    null is not sent."""
    requests_at_once: int = Field(gt=0)
    """Requests that are under way at the same time."""
    requests_a_minute: int | None = Field(gt=0)
    """Requests that begin in a minute, by all of the user's processes on this machine together;
    null sets no limit."""
    timeout: float = Field(gt=0)
    """Seconds until an answer; later ones are asked for again."""
    tries: int = Field(gt=0)
    """Times that a request is sent while the endpoint is busy, broken or silent."""
    backoff: float = Field(gt=0)
    """Seconds before the second try; twice as many before each further one."""
    asks: int = Field(gt=0)
    """Times that a question is put until its answer can be read. After the last one the value is
    missing."""
    opponents: int | None = Field(gt=0)
    """Other completions to the same prompt that each one is compared with; null takes all."""
    prices: Prices
    """For the bill in the card."""

    @property
    def who(self) -> str:
        return f"{self.name} ({self.model})"

    def problems(self) -> list[Problem]:
        """Return what is wrong with address, key and request; the endpoint is not asked yet."""
        return [*self._address_problems(), *self._key_problems(), *self._request_problems()]

    def give_up(self) -> None:
        stop_requests()

    def prefer(
        self,
        prompts: list[Text],
        firsts: list[Text],
        seconds: list[Text],
        columns: DataColumns,
    ) -> list[Preference | None]:
        """Ask about each pair in both orders.

        Returns:
            For each of n pairs; None where an answer in either order could not be read. Equal texts
            are a tie that nobody is asked about.

        Raises:
            UserError, RunFailed: the endpoint refuses, or does not answer.
        """
        texts = [
            (conversation_text(first), conversation_text(second))
            for first, second in zip(firsts, seconds, strict=True)
        ]
        questions: list[str] = []
        for index, (first, second) in enumerate(texts):
            if first != second:
                values = {name: str(column[index]) for name, column in columns.items()}
                values["prompt"] = conversation_text(prompts[index])
                questions += self._both_orders(first, second, values)
        verdicts = iter(self.read(questions, parse_verdict, ASK_FOR_VERDICT))
        return [
            Preference(0.5, 0.5) if first == second else _preference(next(verdicts), next(verdicts))
            for first, second in texts
        ]

    def _both_orders(self, first: str, second: str, values: dict[str, str]) -> list[str]:
        """Return the question with `first` as A, and with `first` as B."""
        template, own_values = self.about_pair(values["prompt"], {first, second})
        orders = ((first, second), (second, first))
        return [
            fill_placeholders(template, {**values, **own_values, "first": a, "second": b})
            for a, b in orders
        ]

    @abstractmethod
    def about_pair(self, prompt: str, pair: set[str]) -> tuple[str, dict[str, str]]:
        """Return the question about two texts, whichever is first.

        It is a template, and values for it beside {prompt}, {first}, {second} and columns of the
        data.
        """

    def win_shares(
        self, prompts: list[Text], completions: list[Text], columns: DataColumns
    ) -> list[float | None]:
        """Return the share of comparisons within its prompt that each completion wins, in [0, 1].

        The mean over the completions to a prompt is 1/2 whatever the policy writes.

        Raises:
            RunFailed: no prompt has two completions.
        """
        groups: dict[str, list[int]] = defaultdict(list)
        for index, prompt in enumerate(prompts):
            groups[conversation_text(prompt)].append(index)
        pairs = [pair for members in groups.values() for pair in self._matchups(members)]
        if len(completions) > 1 and not pairs:
            raise RunFailed(
                f"the reward {self.name} has nothing to compare: each prompt has one completion",
                "an algorithm or an evaluation that samples one completion a prompt",
                "Set eval.completions=2 and algo.num_generations=4, or algo=grpo",
            )
        left, right = [a for a, _ in pairs], [b for _, b in pairs]
        preferences = self.prefer(
            [prompts[a] for a in left],
            [completions[a] for a in left],
            [completions[b] for b in right],
            {name: [values[a] for a in left] for name, values in columns.items()},
        )
        wins: dict[int, list[float]] = defaultdict(list)
        for (a, b), preference in zip(pairs, preferences, strict=True):
            if preference is not None:
                wins[a].append(preference.value)
                wins[b].append(1 - preference.value)
        return [fmean(wins[index]) if index in wins else None for index in range(len(completions))]

    def _matchups(self, members: list[int]) -> Iterator[tuple[int, int]]:
        """Yield the pairs to compare: all with all, or each with its neighbours on a ring."""
        n = len(members)
        if self.opponents is None or self.opponents >= n - 1:
            yield from combinations(members, 2)
            return
        for distance in range(1, self.opponents // 2 + 1):
            yield from ((members[i], members[(i + distance) % n]) for i in range(n))
        if self.opponents % 2:  # those opposite, of whom an odd one meets somebody twice
            yield from ((members[i], members[i + n // 2]) for i in range((n + 1) // 2))

    def read(
        self, questions: list[str], parse: Callable[[Answer], T | None], reminder: str
    ) -> list[T | None]:
        """Return what `parse` reads in the answers to n questions; None where none is readable.

        Args:
            questions: equal ones are asked once.
            parse: reads an answer; None where it cannot.
            reminder: stands below a question that is put again.
        """
        results: dict[str, T | None] = dict.fromkeys(questions)
        for attempt in range(self.asks):
            unread = [question for question, result in results.items() if result is None]
            texts = [f"{question}\n\n{reminder}" if attempt else question for question in unread]
            answers = self._endpoint().ask([self._body(text, attempt) for text in texts])
            for question, answer in zip(unread, answers, strict=True):
                results[question] = parse(answer)
                record_usage(unreadable=results[question] is None)
        record_usage(unanswered=sum(result is None for result in results.values()))
        return [results[question] for question in questions]

    def _body(self, text: str, attempt: int) -> Question:
        messages = [{"role": "user", "content": text}]
        fields = {name: value for name, value in self.request.items() if value is not None}
        return {**fields, "model": self.model, "messages": messages, "_": {"ask": attempt}}

    def _endpoint(self) -> Endpoint:
        return Endpoint(
            base_url=self.base_url.rstrip("/"),
            api_key_env=self.api_key_env,
            at_once=self.requests_at_once,
            a_minute=self.requests_a_minute,
            timeout=self.timeout,
            tries=self.tries,
            backoff=self.backoff,
            prices=(self.prices.input, self.prices.output),
        )

    def _address_problems(self) -> Iterator[Problem]:
        key, want = "reward.base_url", "an address such as http://127.0.0.1:8000/v1"
        try:
            url = urlsplit(self.base_url)
            valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:
            url, valid = None, False
        if url is not None and (url.username or url.password or url.query):
            remedy = "Put the key into an environment variable, and name it: reward.api_key_env=…"
            yield Problem(key, "an address with a password or a query in it", want, remedy)
        elif not valid:
            yield Problem(key, self.base_url, want)
        elif self.base_url.rstrip("/").endswith("/completions"):
            address = self.base_url.rstrip("/").removesuffix("/completions").removesuffix("/chat")
            remedy = f"The rest is added to the address: reward.base_url={address}"
            yield Problem(key, self.base_url, want, remedy)

    def _key_problems(self) -> Iterator[Problem]:
        key, name = "reward.api_key_env", self.api_key_env
        if name is None:
            return
        if not HIDDEN_VARIABLE.fullmatch(name):  # not repeated: it may be the key itself
            want = "the name of an environment variable that ends with KEY or TOKEN"
            remedy = "export JUDGE_API_KEY=…, and set reward.api_key_env=JUDGE_API_KEY."
            yield Problem(key, "something else", want, remedy)
        elif not (value := os.environ.get(name, "").strip()) or not value.isascii():
            got = f"{name}, which {'holds letters that no key has' if value else 'is not set'}"
            want = "a variable that holds the endpoint's key"
            yield Problem(key, got, want, f"Set it: export {name}=VALUE")

    def _request_problems(self) -> Iterator[Problem]:
        for name in RESERVED_FIELDS:
            if name in self.request:
                want = "a field of the request that rlexp does not set"
                yield Problem(f"reward.request.{name}", str(self.request[name]), want)


def _preference(in_order: float | None, swapped: float | None) -> Preference | None:
    if in_order is None or swapped is None:
        return None
    return Preference(in_order, 1 - swapped)


def missing_placeholders(template: str, key: str, needed: tuple[str, ...]) -> list[Problem]:
    """Return a problem for each `{name}` that a template must have and has not."""
    want = "a text that shows the judge what it judges"
    return [
        Problem(key, f"a text without {{{name}}}", want)
        for name in needed
        if name not in placeholders(template)
    ]
