"""A function of the user's own as reward, with TRL's signature.

    # my_reward.py, in the folder where the command is typed
    def shouts(prompts, completions, **columns):
        return [float(text.isupper()) for text in completions]

    python -m rlexp reward=python reward.function=my_reward:shouts

`completions` are strings, or lists of messages for a chat model; `columns` are the data's, and two
that it does not have: `completion_ids`, the tokens of each completion with its end token, and
`completion_ended`, False where one was cut at the length limit.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import field_validator

from rlexp.rewards.common.user_function import load_function, required_parameters, source_of
from rlexp.scoring.term_call import error_text
from rlexp.spec.errors import RunFailed
from rlexp.spec.reward import ENDED, TOKENS, DataColumn, Place, RewardSpec, Text, Value


class Python(RewardSpec):
    """What the user's function returns: any finite number a completion; None is missing, not 0.

    Its parameters without a default, beside `prompts` and `completions`, are columns of the data.
    What an empty completion scores is the function's to say.

    >>> Python(name="mine", function="statistics:mean", parallel=False).columns()
    {'data'}
    """

    killable: ClassVar[bool] = True

    function: str
    """`module:function`; the module is looked for in the current folder first."""
    parallel: bool
    """Whether slow calls may be shared out over worker processes, each with some completions of a
    batch: for a function that judges each completion by itself and remembers nothing. Without it
    the function runs in the run's own process, or, where `scoring.timeout` limits its calls, in
    one process of its own."""

    @field_validator("function")
    @classmethod
    def _can_be_called(cls, function: str) -> str:
        required_parameters(function)
        return function

    def code_files(self) -> list[Path]:
        path = source_of(self.function.partition(":")[0])
        return [*super().code_files(), *([path] if path else [])]

    def runs_in(self) -> Place:
        return "workers" if self.parallel else "here"

    def columns(self) -> set[str]:
        return set(required_parameters(self.function)) - {"prompts", "completions", TOKENS, ENDED}

    def reads_tokens(self) -> bool:
        return not {TOKENS, ENDED}.isdisjoint(required_parameters(self.function))

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[Value]:
        """Score n completions.

        Raises:
            RunFailed: the function raises, or returns anything but n values.
        """
        function = self._load()
        batch = {"prompts": prompts, "completions": completions, **columns}
        batch = {name: batch[name] for name in _accepted(function, batch)}
        try:
            values = function(**batch)
        except Exception as error:
            raise self._failed(
                error_text(error),
                "a completion that the function does not expect, such as an empty one",
                "Make it return a number, or None, for every completion, however odd; or set "
                "scoring.on_error=missing, which leaves such completions out.",
            ) from error
        return self._checked(values, completions)

    def _load(self) -> Callable[..., object]:
        try:
            function = load_function(self.function)
        except Exception as error:
            raise self._failed(
                f"cannot be loaded: {type(error).__name__}: {error}",
                "code at the top level of its module",
                f"Try: python -c 'import {self.function.partition(':')[0]}'",
            ) from error
        if not callable(function):
            got = f"is a {type(function).__name__}"
            raise self._failed(got, "the name of a variable", "Name a function.")
        return function

    def _checked(self, values: object, completions: list[Text]) -> list[Value]:
        remedy = "Return a list with one finite number (or None) for each completion."
        if to_list := getattr(values, "tolist", None):  # of a tensor or an array
            values = to_list()
        if not isinstance(values, list | tuple):
            got = f"returned a {type(values).__name__}"
            raise self._failed(got, "the score of one completion, or a generator", remedy)
        if len(values) != len(completions):
            got = f"returned {len(values)} values for {len(completions)} completions"
            raise self._failed(got, "it leaves some out, or scores each prompt once", remedy)
        return list(values)

    def _failed(self, what: str, cause: str, remedy: str) -> RunFailed:
        return RunFailed(f"reward.function={self.function} {what}", cause, remedy)


def _accepted(function: Callable[..., object], batch: Mapping[str, object]) -> list[str]:
    """Return what the function takes of a batch: all with `**columns`, else what it names."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return list(batch)
    return [name for name in batch if name in parameters]
