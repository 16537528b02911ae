"""What a run says of a reward that fails, or that cannot tell too often."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rlexp.scoring.all_gather import SingleProcess
from rlexp.scoring.term_call import Batch, TermResult
from rlexp.spec.errors import RunFailed
from rlexp.spec.reward import RewardSpec, Text, Value
from rlexp.spec.scoring import ScoringSpec

SHOWN = 300
"""Characters of a prompt and of a completion that a message shows."""


class Checks:
    """Refuses the scores of a batch, in words that name term, sample and step."""

    def __init__(self, reward: RewardSpec, batch: Batch, when: str, spec: ScoringSpec) -> None:
        self.reward, self.batch, self.when, self.spec = reward, batch, when, spec

    @contextmanager
    def naming(self, name: str) -> Iterator[None]:
        """Add the term and the step to a `RunFailed` that the term's call raises."""
        try:
            yield
        except RunFailed as error:
            what = f"{self._term(name)} {error.what}, {self.when}"
            raise RunFailed(what, error.cause, error.remedy) from error

    def no_failure(self, results: Mapping[str, TermResult]) -> None:
        """Refuse completions that a term failed on, unless they are forgiven.

        Raises:
            RunFailed: about the first of them.
        """
        if self.spec.on_error == "missing":
            return
        for name, result in results.items():
            if result.failures:
                first = result.failures[0]
                what = f"{self._term(name)} {first.what}, for {self._sample(first.index)}"
                raise RunFailed(f"{what}, {self.when}", first.cause, first.remedy)

    def enough_present(
        self,
        values: Mapping[str, list[Value]],
        results: Mapping[str, TermResult],
        gathering: SingleProcess,
    ) -> None:
        """Refuse a batch of which too much is missing.

        Raises:
            RunFailed: with the count and an example.
        """
        for name, column in values.items():
            missing = column.count(None)
            if missing <= self.spec.max_missing * len(column):
                continue
            example = gathering.first_given(self._example(results[name]))
            enough = math.ceil(100 * missing / len(column)) / 100
            raise RunFailed(
                f"{missing} of {len(column)} values of {self._term(name)} are missing {self.when}, "
                f"such as that of {example}",
                "a term that fails, or data without what it needs, such as a right answer",
                f"mend that; or let more be missing: scoring.max_missing={enough:g} lets this pass",
            )

    def all_finite(self, totals: Sequence[Value]) -> None:
        """Refuse a total that is no finite number: training on it would end in NaN.

        Raises:
            RunFailed: about the first of them.
        """
        for index, value in enumerate(totals):
            if value is not None and not math.isfinite(value):
                raise RunFailed(
                    f"the reward {self.reward.name} is {value}, for {self._sample(index)}, "
                    f"{self.when}",
                    "weights or values near the largest number there is",
                    "lower the weights, or bound the values (clip)",
                )

    def _term(self, name: str) -> str:
        return f"the reward's term {name}" if name else f"the reward {self.reward.name}"

    def _sample(self, index: int) -> str:
        texts = self.batch.completions[index], self.batch.prompts[index]
        completion, prompt = map(_shortened, texts)
        return f"sample {index}, the completion {completion} of the prompt {prompt}"

    def _example(self, result: TermResult) -> str | None:
        """Describe a missing value of this process, if possible one that the term failed on."""
        if result.failures:
            first = result.failures[0]
            return f"{self._sample(first.index)}: it {first.what}"
        if None not in result.values:
            return None
        return f"{self._sample(result.values.index(None))}: it gave None: it cannot tell"


def _shortened(text: Text) -> str:
    representation = repr(text)
    return representation if len(representation) <= SHOWN else f"{representation[: SHOWN - 1]}…"
