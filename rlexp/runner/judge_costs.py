"""What a run spends on judges, over all its processes and attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rlexp.rewards.judging.usage import usage

History = Iterable[tuple[int, Mapping[str, float]]]
Amounts = dict[str, float]


class JudgeUsage:
    """The run's part of its process's bill, and what is known of the other parts.

    Args:
        history: metrics by step of earlier attempts at the run, which the first process knows.
    """

    def __init__(self, history: History = ()) -> None:
        self._begun = usage().metrics()
        self._elsewhere: Amounts = dict.fromkeys(self._begun, 0.0)
        for _, metrics in history:
            for name in self._elsewhere:
                self._elsewhere[name] = max(self._elsewhere[name], metrics.get(name, 0.0))
        self._earlier = dict(self._elsewhere)

    def so_far(self) -> Amounts:
        """The run's bill by metric; what other processes ask is as of the last `gather`."""
        return {name: value + self._elsewhere[name] for name, value in self._here().items()}

    def gather(self) -> Amounts:
        """The same, of all processes, which all call this."""
        from accelerate import PartialState
        from accelerate.utils import gather_object

        here = self._here()
        if PartialState().num_processes > 1:
            mine = {name: value + self._earlier[name] for name, value in here.items()}
            bills: list[Any] = gather_object([mine])
            total = {name: sum(bill[name] for bill in bills) for name in here}
            self._elsewhere = {name: total[name] - here[name] for name in here}
        return self.so_far()

    def notes(self) -> list[str]:
        """The bill in words; none where nobody was asked."""
        names = {name.removeprefix("perf/judge_"): value for name, value in self.so_far().items()}
        if not names["requests"] and not names["cached"]:
            return []
        told = (
            f"judges: {names['requests']:,.0f} requests, {names['cached']:,.0f} answers from the "
            f"cache, {names['input_tokens']:,.0f} tokens in, {names['output_tokens']:,.0f} out"
        )
        if names["cost"]:
            told += f", cost {names['cost']:,.4f}"
        if names["retries"]:
            told += f"; {names['retries']:,.0f} requests were sent again"
        if names["unanswered"]:
            told += f"; {names['unanswered']:,.0f} questions had no readable answer"
        return [told]

    def _here(self) -> Amounts:
        return {name: value - self._begun[name] for name, value in usage().metrics().items()}
