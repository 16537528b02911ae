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
from typing import Any, NoReturn, TextIO, cast

from rlexp.sandbox.wire import Channel, Frame, from_wire, to_wire

ERROR_LENGTH = 200
"""Characters of an error message that are passed on."""


def serve_program(channel: Channel) -> NoReturn:
    """Run the program that comes first, then answer until nobody asks any more."""
    status = 1
    # What ends the channel (the verifier is gone, the program has closed it) ends this process.
    with contextlib.suppress(OSError, EOFError):
        program = channel.receive()
        _open_streams(program["stdin"])
        if program["stdin"] is None:
            ProgramServer(channel).serve(program["code"])
        else:
            status = _run_as_main(program["code"])
    os._exit(status)


def _open_streams(stdin: str | None) -> None:
    """Make Python's streams anew, with a text as standard input: the zygote's are other files.

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
    sys.stdin = _text_stream(0, "r")
    sys.stdout, sys.stderr = _text_stream(1, "w"), _text_stream(2, "w")


def _text_stream(file: int, mode: str) -> TextIO:
    options: Any = {"encoding": "utf-8", "errors": "surrogateescape", "closefd": False}
    return cast("TextIO", open(file, mode, **options))  # open until the process ends


def _new_module(name: str) -> dict[str, Any]:
    """Return the names of a new module; dataclasses and pickle look for it in sys.modules."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    return vars(module)


def _run_as_main(code: str) -> int:
    """Run a program with what Python does at its end; return its exit status."""
    try:
        exec(compile(code, "program.py", "exec"), _new_module("__main__"))  # noqa: S102
        threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
        atexit._run_exitfuncs()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        status = 1
    sys.stdout.flush()
    return status & 0xFF


class ProgramServer:
    """Answers messages that ask for the program's functions and objects."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.names = _new_module("program")
        self.kept: list[object] = []
        self.numbers: dict[int, int] = {}  # of kept objects, by id()

    def serve(self, code: str) -> NoReturn:
        """Run the program, say how that went, and answer."""
        self.channel.send(self._reporting_errors(lambda: self._load(code)))
        while True:
            self.channel.send(self._answer(self.channel.receive()))

    def _load(self, code: str) -> Frame:
        exec(compile(code, "program.py", "exec"), self.names)  # noqa: S102
        return {"value": None}

    def _reporting_errors(self, work: Callable[[], Frame]) -> Frame:
        try:
            return work()
        except BaseException as error:
            # Of an exception of the program's own, the verifier knows a built-in base at most.
            kinds = (kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
            return {"raised": next(kinds).__name__, "text": _error_text(error)}

    def _answer(self, question: Frame) -> Frame:
        work = self._look_up if "names" in question else self._call
        return self._reporting_errors(lambda: work(question))

    def _look_up(self, question: Frame) -> Frame:
        defined = [name for name in question["names"] if name in self.names]
        return {"value": {name: self._encoded(self.names[name]) for name in defined}}

    def _call(self, question: Frame) -> Frame:
        name = question["do"]
        function = getattr(operator, name, None) or getattr(builtins, name)
        arguments = [from_wire(data, self._resolve) for data in question["arguments"]]
        keywords = {key: from_wire(data, self._resolve) for key, data in question["named"].items()}
        value = function(*arguments, **keywords)
        # Containers went over as copies: what the function did to them goes back.
        changed = {}
        for index, argument in enumerate(arguments):
            if isinstance(argument, list | dict | set | bytearray):
                after = self._encoded(argument)
                if after != question["arguments"][index]:
                    changed[index] = after
        return {"value": self._encoded(value), "changed": changed}

    def _encoded(self, value: object) -> object:
        return to_wire(value, self._keep)

    def _keep(self, value: object) -> Frame:
        number = self.numbers.setdefault(id(value), len(self.kept))
        if number == len(self.kept):
            self.kept.append(value)  # also so that no other object gets its id()
        return {"object": number}

    def _resolve(self, kind: str, number: int) -> object:
        return self.kept[number] if kind == "object" else self._callback(number)

    def _callback(self, number: int) -> Callable[..., object]:
        """Return a function that, called here, runs one of the test's in the verifier."""

        def call(*arguments: object) -> object:
            encoded = [self._encoded(argument) for argument in arguments]
            self.channel.send({"callback": number, "arguments": encoded})
            # The test's function may ask for the program's in turn, before it returns.
            while "returned" not in (message := self.channel.receive()):
                self.channel.send(self._answer(message))
            return from_wire(message["returned"], self._resolve)

        return call


def _error_text(error: BaseException) -> str:
    try:
        return str(error)[:ERROR_LENGTH]
    except Exception:  # an exception of the program's own, whose text raises again
        return ""
