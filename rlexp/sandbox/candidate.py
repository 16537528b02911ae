"""The process in which the program runs: it may do there what it likes, and knows nothing.

All that leaves it is data. A program that takes this very code over can say whatever it wants in
answer to a question, which is what returning a value is.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import operator
import os
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, NoReturn

from rlexp.sandbox.wire import Channel, decoded, to_wire

TOLD = 200
"""Characters of an error message that are passed on."""


def live(channel: Channel) -> NoReturn:
    """Run the program that comes first, then answer until nobody asks any more."""
    status = 1
    # What ends the channel (the judge is gone, the program has closed it) ends this process.
    with contextlib.suppress(OSError, EOFError):
        program = channel.receive()
        _open_streams(program["stdin"])
        if program["stdin"] is None:
            Answers(channel).serve(program["code"])
        else:
            status = _run_as_main(program["code"])
    os._exit(status)


def _open_streams(stdin: str | None) -> None:
    """Standard input from a text, as Python's own streams: the zygote's belong to other files.

    The file 3 is there to be written to. Without a text nobody reads what is printed, either.
    """
    if stdin is None:
        os.dup2(0, 1)
    else:
        with open(3, "wb", closefd=False) as file:
            file.write(stdin.encode("utf-8", "surrogatepass"))
        os.lseek(3, 0, os.SEEK_SET)
        os.dup2(3, 0)
    os.close(3)
    sys.stdin, sys.stdout, sys.stderr = _text(0, "r"), _text(1, "w"), _text(2, "w")


def _text(file: int, mode: str) -> Any:
    return open(file, mode, encoding="utf-8", errors="surrogateescape", closefd=False)


def _module(name: str) -> dict[str, Any]:
    """The names of a new module; dataclasses and pickle look for it in sys.modules."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    return vars(module)


def _run_as_main(code: str) -> int:
    """Exit status of a program, with what Python does at its end."""
    try:
        exec(compile(code, "program.py", "exec"), _module("__main__"))  # noqa: S102
        threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
        atexit._run_exitfuncs()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        status = 1
    sys.stdout.flush()
    return status & 0xFF


class Answers:
    """The program's functions and objects, asked for by messages."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.names = _module("program")
        self.kept: list[Any] = []
        self.numbers: dict[int, int] = {}  # of kept objects, by id()

    def serve(self, code: str) -> NoReturn:
        """Run the program, say how that went, and answer."""
        self.channel.send(self._tried(lambda: self._load(code)))
        while True:
            self.channel.send(self._answer(self.channel.receive()))

    def _load(self, code: str) -> dict[str, Any]:
        exec(compile(code, "program.py", "exec"), self.names)  # noqa: S102
        return {"value": None}

    def _tried(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return work()
        except BaseException as error:
            kinds = (kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
            return {"raised": next(kinds).__name__, "text": _message(error)}

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if "names" in question:
            there = [name for name in question["names"] if name in self.names]
            return self._tried(
                lambda: {"value": {name: self._encoded(self.names[name]) for name in there}}
            )
        return self._tried(lambda: self._done(question))

    def _done(self, question: dict[str, Any]) -> dict[str, Any]:
        name = question["do"]
        function = getattr(operator, name, None) or getattr(builtins, name)
        arguments = [decoded(argument, self._behind) for argument in question["arguments"]]
        keywords = {key: decoded(value, self._behind) for key, value in question["named"].items()}
        value = function(*arguments, **keywords)
        changed = {}
        for index, argument in enumerate(arguments):
            if isinstance(argument, list | dict | set | bytearray):
                after = self._encoded(argument)
                if after != question["arguments"][index]:
                    changed[index] = after
        return {"value": self._encoded(value), "changed": changed}

    def _encoded(self, value: Any) -> Any:
        return to_wire(value, self._keep)

    def _keep(self, value: Any) -> dict[str, Any]:
        number = self.numbers.setdefault(id(value), len(self.kept))
        if number == len(self.kept):
            self.kept.append(value)
        return {"object": number}

    def _behind(self, name: str, number: int) -> Any:
        return self.kept[number] if name == "object" else self._callback(number)

    def _callback(self, number: int) -> Callable[..., Any]:
        """A function of the test's: called here, it runs there."""

        def call(*arguments: Any) -> Any:
            there = [self._encoded(argument) for argument in arguments]
            self.channel.send({"callback": number, "arguments": there})
            while "returned" not in (message := self.channel.receive()):
                self.channel.send(self._answer(message))
            return decoded(message["returned"], self._behind)

        return call


def _message(error: BaseException) -> str:
    try:
        return str(error)[:TOLD]
    except Exception:  # an exception of the program's own, whose text raises again
        return ""
