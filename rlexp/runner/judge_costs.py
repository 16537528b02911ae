"""What a run's judges cost, over all its processes and attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rlexp.rewards.judging.usage import usage

History = Iterable[tuple[int, Mapping[str, float]]]
Amounts = dict[str, float]


class JudgeUsage:
    """The run's part of what its process, and so far as is known the others, have used.

    The first process knows the metrics by step of earlier attempts at the run.
    """

    def __init__(self, history: History = ()) -> None:
        self._before = usage().metrics()
        self._others: Amounts = dict.fromkeys(self._before, 0.0)
        for _, metrics in history:
            for name in self._others:
                self._others[name] = max(self._others[name], metrics.get(name, 0.0))
        self._earlier = dict(self._others)

    def so_far(self) -> Amounts:
        """Return what the run has used, by metric; of other processes as of the last `gather`."""
        return {name: value + self._others[name] for name, value in self._this_process().items()}

    def gather(self) -> Amounts:
        """Return the same of all processes, which all call this."""
        from accelerate import PartialState
        from accelerate.utils import gather_object

        own = self._this_process()
        if PartialState().num_processes > 1:
            with_earlier = {name: value + self._earlier[name] for name, value in own.items()}
            amounts: list[Amounts] = gather_object([with_earlier])
            total = {name: sum(amount[name] for amount in amounts) for name in own}
            self._others = {name: total[name] - own[name] for name in own}
        return self.so_far()

    def notes(self) -> list[str]:
        """Return the usage in words; none where no judge was asked."""
        names = {name.removeprefix("perf/judge_"): value for name, value in self.so_far().items()}
        if not names["requests"] and not names["cached"]:
            return []
        text = (
            f"judges: {names['requests']:,.0f} requests, {names['cached']:,.0f} answers from the "
            f"cache, {names['input_tokens']:,.0f} tokens in, {names['output_tokens']:,.0f} out"
        )
        more = {
            "cost": ", cost {:,.4f}",
            "retries": "; {:,.0f} requests were sent again",
            "unanswered": "; {:,.0f} questions had no readable answer",
        }
        return [
            text + "".join(words.format(names[name]) for name, words in more.items() if names[name])
        ]

    def _this_process(self) -> Amounts:
        return {name: value - self._before[name] for name, value in usage().metrics().items()}
