"""Programs that try to get out, to use the machine up, or to pass without being right.

Each defines `attack()`; a test asks what it has achieved. `refused(work)` is there for them: the
name of the exception that `work` ends with, or what it returns.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

PRELUDE = """
import ctypes, errno, gc, os, signal, socket, subprocess, sys, threading, time
def refused(work, *arguments):
    try:
        return work(*arguments)
    except BaseException as error:
        return type(error).__name__
def syscall(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return errno.errorcode[ctypes.get_errno()] if done < 0 else done
"""


@dataclass(frozen=True)
class Attack:
    """A program and the test that asks it; `holds` is whether the test passes.

    A test that holds states what the attack could not do; one that does not is one that the attack
    would like to pass. `confined` is for what only namespaces keep from it, `endless` for what only
    the clock stops.
    """

    code: str
    test: str
    holds: bool
    confined: bool = False
    endless: bool = False

    @property
    def program(self) -> str:
        return PRELUDE + textwrap.dedent(self.code)


def harmless(code: str, test: str, confined: bool = False) -> Attack:
    return Attack(code, test, True, confined)


def fails(code: str, test: str = "assert attack() == 'the right answer'") -> Attack:
    return Attack(code, test, False)


def endless(code: str, test: str = "attack()") -> Attack:
    return Attack(code, test, False, endless=True)
