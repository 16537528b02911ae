"""Runs tests against a candidate that lives in another process.

A test is Python source, most often one `assert`. Names that it uses and does not define are asked
of the candidate; what a call gives comes back as plain data (numbers, texts, containers), which is
compared here, by this process's own types. As in Python, a program may change the containers that
it is given. An object of the candidate's own classes stays there
and is a `RemoteObject` here. Tests may read it, call it and compare it with another one, but it is
never asked what it thinks of plain data: an object that claims to equal everything equals nothing.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rlexp.sandbox.candidate import ERROR_LENGTH
from rlexp.sandbox.wire import Channel, Frame, FrameTooLong, from_wire, to_wire

TIMED_OUT = "the time was over"
_ENDED = "it ended"
_NONSENSE = "it answered nonsense"


class CandidateGone(Exception):
    """The candidate answers no more."""


class CandidateProxy:
    """The program's names, functions and objects, from outside."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.ended: str | None = None
        self.functions: list[Callable[..., object]] = []

    def wait_until_loaded(self) -> None:
        """Wait until the program has run; raise what it has raised."""
        self._value(self._receive())

    def lookup(self, names: Iterable[str]) -> dict[str, object]:
        """Return those of the names that the program has defined."""
        defined = self._ask({"names": sorted(names)})
        if not isinstance(defined, dict) or not set(defined) <= set(names):
            raise self._end(_NONSENSE)
        return {name: from_wire(data, self._resolve) for name, data in defined.items()}

    def call(self, name: str, *arguments: object, **named: object) -> object:
        """Call a function of `operator` or `builtins` in the candidate."""
        question = {
            "do": name,
            "arguments": [to_wire(argument, self._keep) for argument in arguments],
            "named": {key: to_wire(value, self._keep) for key, value in named.items()},
        }
        return self._ask(question, arguments)

    def _ask(self, question: Frame, arguments: tuple[object, ...] = ()) -> object:
        if self.ended:
            raise CandidateGone(self.ended)
        self._send(question)
        answer = self._receive()
        # The program may call functions of the test's before it is done.
        while "callback" in answer:
            self._send({"returned": self._run_callback(answer)})
            answer = self._receive()
        data = self._value(answer)
        for index, change in (answer.get("changed") or {}).items():
            _mutate(arguments[int(index)], from_wire(change, self._resolve))
        return data if "names" in question else from_wire(data, self._resolve)

    def _run_callback(self, message: Frame) -> object:
        arguments = [from_wire(data, self._resolve) for data in message["arguments"]]
        return to_wire(self.functions[message["callback"]](*arguments), self._keep)

    def _value(self, answer: Frame) -> object:
        if "raised" in answer:
            kind = getattr(builtins, str(answer["raised"]), None)
            raise _exception(kind, str(answer.get("text", ""))[:ERROR_LENGTH])
        return answer.get("value")

    def _send(self, message: Frame) -> None:
        try:
            self.channel.send(message)
        except TimeoutError:
            raise self._end(TIMED_OUT) from None
        except OSError:
            raise self._end(_ENDED) from None

    def _receive(self) -> Frame:
        try:
            answer = self.channel.receive()
        except TimeoutError:
            raise self._end(TIMED_OUT) from None
        except (EOFError, OSError):
            raise self._end(_ENDED) from None
        except FrameTooLong as error:
            raise self._end(f"it gave back too much: {error}") from None
        except (ValueError, RecursionError):
            raise self._end(_NONSENSE) from None
        if not isinstance(answer, dict):
            raise self._end(_NONSENSE)
        return answer

    def _end(self, why: str) -> CandidateGone:
        self.ended = why
        return CandidateGone(why)

    def _keep(self, value: object) -> Frame:
        if isinstance(value, RemoteObject):
            return {"object": object.__getattribute__(value, "number")}
        if callable(value):
            self.functions.append(value)
            return {"function": len(self.functions) - 1}
        raise TypeError(f"a {type(value).__name__} cannot go to the program: plain data can")

    def _resolve(self, kind: str, number: object) -> RemoteObject:
        if kind != "object" or not isinstance(number, int):
            raise ValueError(f"{kind!r} is no value")
        return RemoteObject(self, number)


def _exception(kind: object, text: str) -> Exception:
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # it wants more than a text
            return RuntimeError(f"{kind.__name__}: {text}")
    return RuntimeError(text)


def _mutate(argument: object, change: object) -> None:
    """Do to a container what the program did to its copy."""
    if type(argument) is not type(change):  # the program says what it likes
        return
    if isinstance(argument, list | bytearray):
        argument[:] = change  # pyright: ignore[reportArgumentType, reportCallIssue]
    elif isinstance(argument, dict | set):
        argument.clear()
        argument.update(change)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _binary(name: str) -> Callable[[RemoteObject, object], Any]:
    def operation(self: RemoteObject, other: object) -> object:
        if not isinstance(other, RemoteObject):
            return NotImplemented
        return object.__getattribute__(self, "candidate").call(name, self, other)

    return operation


def _unary(name: str) -> Callable[..., Any]:
    def operation(self: RemoteObject, *arguments: object, **named: object) -> object:
        return object.__getattribute__(self, "candidate").call(name, self, *arguments, **named)

    return operation


class RemoteObject:
    """An object of the candidate's."""

    def __init__(self, candidate: CandidateProxy, number: int) -> None:
        object.__setattr__(self, "candidate", candidate)
        object.__setattr__(self, "number", number)

    def __hash__(self) -> int:
        return object.__getattribute__(self, "number")

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own questions are about this object
            return object.__getattribute__(self, name)
        return object.__getattribute__(self, "candidate").call("getattr", self, name)

    __setattr__, __call__ = _unary("setattr"), _unary("call")
    __iter__, __next__ = _unary("iter"), _unary("next")
    __len__, __bool__ = _unary("len"), _unary("truth")
    __str__, __repr__ = _unary("str"), _unary("repr")
    __getitem__, __setitem__, __delitem__ = map(_unary, ("getitem", "setitem", "delitem"))
    __eq__, __ne__ = _binary("eq"), _binary("ne")
    __lt__, __le__ = _binary("lt"), _binary("le")
    __gt__, __ge__ = _binary("gt"), _binary("ge")
    __add__, __sub__ = _binary("add"), _binary("sub")
    __mul__, __truediv__ = _binary("mul"), _binary("truediv")
    __contains__ = None  # membership is decided here, over what iterating gives


def run_tests(
    candidate: CandidateProxy, setup: str, tests: list[str]
) -> Iterator[tuple[bool, str]]:
    """Yield whether each test passes, and why not; end early when the candidate does.

    The setup stands before program and tests; what it imports is imported here too.
    """
    try:
        candidate.wait_until_loaded()
    except Exception as error:
        candidate.ended = candidate.ended or "it cannot be loaded"
        yield from ((False, f"{candidate.ended}: {_error_text(error)}") for _ in tests)
        return
    for test in tests:
        try:
            _run_test(candidate, setup, test)
            passed, why = True, ""
        except BaseException as error:  # a test may call sys.exit
            passed, why = False, _error_text(error)
        # A test may have caught `CandidateGone`: a candidate that is gone has passed nothing.
        if candidate.ended:
            yield False, candidate.ended
            return
        yield passed, why


def _run_test(candidate: CandidateProxy, setup: str, test: str) -> None:
    tree = ast.parse(test)
    # what the setup imports
    names: dict[str, object] = {"__name__": "tests"}
    for statement in ast.parse(setup).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            exec(ast.unparse(statement), names)  # noqa: S102
    # what the test uses: built-in names stay this process's own, whatever the program calls so
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used -= {*names, *vars(builtins)}
    # modules that the test uses without importing them
    modules = {name for name in _with_attributes(tree) & used if name in sys.stdlib_module_names}
    names |= {name: importlib.import_module(name) for name in modules}
    # all else is the program's
    names |= candidate.lookup(used - modules)
    exec(compile(tree, "test", "exec"), names)  # noqa: S102


def _with_attributes(tree: ast.AST) -> set[str]:
    """Return the names of which an attribute is read, as `math` in `math.isclose`."""
    owners = (node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {owner.id for owner in owners if isinstance(owner, ast.Name)}


def _error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:ERROR_LENGTH]
