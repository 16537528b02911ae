"""Runs tests against a candidate that lives in another process.

A test is Python source, most often one `assert`. Names that it uses and does not define are asked
of the candidate; what a call gives comes back as plain data (numbers, texts, containers), which is
compared here, by this process's own types. As in Python, a program may change the containers that
it is given. An object of the candidate's own classes stays there
and is a `Remote` here. Tests may read it, call it and compare it with another one, but it is never
asked what it thinks of plain data: an object that claims to equal everything equals nothing.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rlexp.sandbox.candidate import TOLD
from rlexp.sandbox.wire import Channel, TooLong, decoded, to_wire

TIME = "the time was over"


class Gone(Exception):
    """The candidate answers no more."""


class Candidate:
    """The program's names, functions and objects, from outside."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.ended: str | None = None
        self.functions: list[Callable[..., Any]] = []

    def loaded(self) -> None:
        """Wait until the program has run; raises what it has raised."""
        self._value(self._received())

    def names(self, names: Iterable[str]) -> dict[str, Any]:
        """Those of the names that the program has defined."""
        found = self._asked({"names": sorted(names)})
        if not isinstance(found, dict) or not set(found) <= set(names):
            raise self._end("it answered nonsense")
        return {name: decoded(data, self._behind) for name, data in found.items()}

    def do(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call a function of `operator` or `builtins` there."""
        there = [to_wire(argument, self._keep) for argument in arguments]
        by_name = {key: to_wire(value, self._keep) for key, value in named.items()}
        return self._asked({"do": name, "arguments": there, "named": by_name}, arguments)

    def _asked(self, question: dict[str, Any], arguments: tuple[Any, ...] = ()) -> Any:
        if self.ended:
            raise Gone(self.ended)
        self._send(question)
        answer = self._received()
        while "callback" in answer:
            self._send({"returned": self._called_back(answer)})
            answer = self._received()
        data = self._value(answer)
        for index, change in (answer.get("changed") or {}).items():
            _become(arguments[int(index)], decoded(change, self._behind))
        return data if "names" in question else decoded(data, self._behind)

    def _called_back(self, message: dict[str, Any]) -> Any:
        arguments = [decoded(argument, self._behind) for argument in message["arguments"]]
        return to_wire(self.functions[message["callback"]](*arguments), self._keep)

    def _value(self, answer: dict[str, Any]) -> Any:
        if "raised" in answer:
            kind = getattr(builtins, str(answer["raised"]), None)
            text = str(answer.get("text", ""))[:TOLD]
            raise _exception(kind, text)
        return answer.get("value")

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.channel.send(message)
        except TimeoutError:
            raise self._end(TIME) from None
        except OSError:
            raise self._end("it ended") from None

    def _received(self) -> dict[str, Any]:
        try:
            answer = self.channel.receive()
        except TimeoutError:
            raise self._end(TIME) from None
        except (EOFError, OSError):
            raise self._end("it ended") from None
        except TooLong as error:
            raise self._end(f"it gave back too much: {error}") from None
        except (ValueError, RecursionError):
            raise self._end("it answered nonsense") from None
        if not isinstance(answer, dict):
            raise self._end("it answered nonsense")
        return answer

    def _end(self, why: str) -> Gone:
        self.ended = why
        return Gone(why)

    def _keep(self, value: Any) -> dict[str, Any]:
        if isinstance(value, Remote):
            return {"object": object.__getattribute__(value, "number")}
        if callable(value):
            self.functions.append(value)
            return {"function": len(self.functions) - 1}
        raise TypeError(f"a {type(value).__name__} cannot go to the program: plain data can")

    def _behind(self, name: str, number: Any) -> Any:
        if name != "object" or not isinstance(number, int):
            raise ValueError(f"{name!r} is no value")
        return Remote(self, number)


def _exception(kind: Any, text: str) -> Exception:
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # it wants more than a text
            return RuntimeError(f"{kind.__name__}: {text}")
    return RuntimeError(text)


def _become(argument: Any, change: Any) -> None:
    """What the program did to a container that it was given."""
    if type(argument) is not type(change):
        return
    if isinstance(argument, list | bytearray):
        argument[:] = change
    elif isinstance(argument, dict | set):
        argument.clear()
        argument.update(change)


def _with_another(name: str) -> Callable[[Remote, Any], Any]:
    def operation(self: Remote, other: Any) -> Any:
        if not isinstance(other, Remote):
            return NotImplemented
        return object.__getattribute__(self, "candidate").do(name, self, other)

    return operation


def _alone(name: str) -> Callable[..., Any]:
    def operation(self: Remote, *arguments: Any, **named: Any) -> Any:
        return object.__getattribute__(self, "candidate").do(name, self, *arguments, **named)

    return operation


class Remote:
    """An object of the candidate's."""

    def __init__(self, candidate: Candidate, number: int) -> None:
        object.__setattr__(self, "candidate", candidate)
        object.__setattr__(self, "number", number)

    def __hash__(self) -> int:
        return object.__getattribute__(self, "number")

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own questions are about this object
            return object.__getattribute__(self, name)
        return object.__getattribute__(self, "candidate").do("getattr", self, name)

    __setattr__ = _alone("setattr")
    __call__ = _alone("call")
    __iter__ = _alone("iter")
    __next__ = _alone("next")
    __len__ = _alone("len")
    __bool__ = _alone("truth")
    __str__ = _alone("str")
    __repr__ = _alone("repr")
    __getitem__ = _alone("getitem")
    __setitem__ = _alone("setitem")
    __delitem__ = _alone("delitem")
    __eq__, __ne__ = _with_another("eq"), _with_another("ne")
    __lt__, __le__ = _with_another("lt"), _with_another("le")
    __gt__, __ge__ = _with_another("gt"), _with_another("ge")
    __add__, __sub__ = _with_another("add"), _with_another("sub")
    __mul__, __truediv__ = _with_another("mul"), _with_another("truediv")
    __contains__ = None  # membership is decided here, over what iterating gives


def run_tests(candidate: Candidate, setup: str, tests: list[str]) -> Iterator[tuple[bool, str]]:
    """Whether each test passes, and why not; ends early when the candidate does.

    Args:
        candidate: the program, running.
        setup: source that the data puts before program and tests; its imports are made here too.
        tests: sources.
    """
    try:
        candidate.loaded()
    except Exception as error:
        candidate.ended = candidate.ended or "it cannot be loaded"
        yield from ((False, f"{candidate.ended}: {_told(error)}") for _ in tests)
        return
    for test in tests:
        try:
            _run(candidate, setup, test)
            passed, why = True, ""
        except BaseException as error:  # a test may call sys.exit
            passed, why = False, _told(error)
        if candidate.ended:  # whatever the test has made of that
            yield False, candidate.ended
            return
        yield passed, why


def _run(candidate: Candidate, setup: str, test: str) -> None:
    tree = ast.parse(test)
    names: dict[str, Any] = {"__name__": "tests"}
    for statement in ast.parse(setup).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            exec(ast.unparse(statement), names)  # noqa: S102
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used -= {*names, *vars(builtins)}
    modules = {name for name in _with_attributes(tree) & used if name in sys.stdlib_module_names}
    names |= {name: importlib.import_module(name) for name in modules}
    names |= candidate.names(used - modules)
    exec(compile(tree, "test", "exec"), names)  # noqa: S102


def _with_attributes(tree: ast.AST) -> set[str]:
    """Names of which an attribute is read, as `math` in `math.isclose`."""
    owners = (node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {owner.id for owner in owners if isinstance(owner, ast.Name)}


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:TOLD]
