"""The process from which each program is forked: a start of Python costs more than most programs.

It is started with one argument, JSON of `means`, `limits` (fields of `Limits`), `shown` (what of
the machine is to be seen) and `linter` (pycodestyle's file, or null); standard input is a socket.
For each byte that arrives there it forks a judge, which does the rest with whoever is at the other
end. It reads nothing else itself: what it held, every later program could search its memory for.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import random
import resource
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from rlexp.sandbox import candidate, confinement, filter, linux
from rlexp.sandbox.judge import TIME, Candidate, run_tests
from rlexp.sandbox.limits import Limits
from rlexp.sandbox.style import linter_at, parses, style
from rlexp.sandbox.wire import Channel

READY = b"r"
_MIB = 2**20
_COMPANIONS = 3
"""Processes beside the program's that the kernel counts with them: launcher, zygote, judge."""
_GRACE = 0.5
"""Seconds that a judge may need beside its candidate."""
_USUAL = (
    *("abc", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum"),
    *("fractions", "functools", "heapq", "itertools", "math", "operator", "re", "statistics"),
    *("string", "textwrap", "typing"),
)
"""Modules that programs often import: here they are read once."""


def main() -> None:
    """Go where `means` says, then fork judges until the other end is closed."""
    options = json.loads(sys.argv.pop())
    limits = Limits(**options["limits"])
    linter = linter_at(options["linter"])
    for name in _USUAL:
        importlib.import_module(name)
    sys.path.remove(options["path"])
    isolated = options["means"] != "rlimits"
    if sys.platform == "linux":
        linux.die_with_parent()
    if options["means"] == "namespaces":
        confinement.enter_namespaces(options["shown"])
    elif options["means"] == "bubblewrap":
        confinement.inside_bubblewrap()
    if sys.platform == "linux":
        linux.hide_memory()
    gc.collect()
    gc.freeze()
    boss = socket.socket(fileno=0)
    boss.sendall(READY)
    while boss.recv(1):
        judge = os.fork()
        if judge == 0:
            _judge(Channel(boss, sys.maxsize), limits, isolated, linter)
        _, status = os.waitpid(judge, 0)
        if isolated:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # everyone in this namespace but its first process
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, 0 if isolated else os.WNOHANG)[0]:
                pass
        Channel(boss, 0).send({"end": os.waitstatus_to_exitcode(status)})


def _judge(boss: Channel, limits: Limits, isolated: bool, linter: Any) -> NoReturn:
    """Fork the candidate first, so that it is born without a memory of what is read next."""
    signal.setitimer(signal.ITIMER_REAL, limits.wall_seconds + _GRACE)
    if sys.platform == "linux":
        linux.die_with_parent()
    if isolated:
        confinement.own_folder(limits.disk_mib)
    ours, theirs = socket.socketpair()
    printed, prints = os.pipe()
    program = os.fork()
    if program == 0:
        _become_candidate(theirs, prints, limits, isolated)
    theirs.close()
    os.close(prints)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds + 1)
    _limit(resource.RLIMIT_AS, (limits.memory_mib + 64) * _MIB)
    if sys.platform == "linux":
        linux.drop_privileges()
        rules = (*filter.KERNEL, *filter.PROCESSES, *filter.WRITING)
        linux.install_filter(filter.program(rules))
    channel = Channel(ours, limits.output_kib * 1024)
    request = boss.receive()
    channel.deadline = time.monotonic() + min(limits.wall_seconds, request["seconds"])
    answer: dict[str, Any] = {"parses": parses(request["code"])}
    if request["style"]:
        answer["style"] = style(request["code"], linter)
    answer |= _judged(request, channel, printed, program)
    with contextlib.suppress(ProcessLookupError):
        os.kill(program, signal.SIGKILL)
    boss.send(answer)
    os._exit(0)


def _judged(
    request: dict[str, Any], channel: Channel, printed: int, program: int
) -> dict[str, Any]:
    stdin = request["stdin"]
    code = f"{request['setup']}\n{request['code']}"
    with contextlib.suppress(OSError):  # a candidate that is gone is found out below
        channel.send({"code": code, "stdin": stdin})
    if stdin is not None:
        return _read(printed, channel, program)
    there = Candidate(channel)
    found = list(run_tests(there, request["setup"], request["tests"]))
    return {"verdicts": found, "ended": there.ended}


def _read(printed: int, channel: Channel, program: int) -> dict[str, Any]:
    """What a program prints until it ends, which closes its streams, and how it ended."""
    parts, size = [], 0
    poll = select.poll()
    poll.register(printed, select.POLLIN | select.POLLHUP)
    while True:
        left = (channel.deadline or 0) - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return {"ended": TIME}
        part = os.read(printed, 1 << 16)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > channel.limit:
            return {"ended": f"it printed more than {channel.limit} bytes"}
    _, status = os.waitpid(program, 0)  # one that has closed its output and goes on is timed out
    exit_status = os.waitstatus_to_exitcode(status)
    ended = f"it ended with the status {exit_status}" if exit_status else None
    return {"printed": b"".join(parts).decode(errors="replace"), "ended": ended}


def _become_candidate(
    channel: socket.socket, prints: int, limits: Limits, isolated: bool
) -> NoReturn:
    linux_here = sys.platform == "linux"
    if linux_here:
        linux.die_with_parent()
    os.setsid()  # a signal to its process group would reach beyond its namespace
    os.dup2(channel.fileno(), 9)
    os.dup2(prints, 1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 2)
    os.dup2(os.memfd_create("stdin") if linux_here else null, 3)
    os.closerange(4, 9)
    os.closerange(10, 4096)
    random.seed(0)  # the same program, the same verdict; forking has drawn another seed
    os.chdir("/tmp" if isolated else "/")  # noqa: S108
    os.environ.clear()
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds)
    _limit(resource.RLIMIT_AS, limits.memory_mib * _MIB)
    _limit(resource.RLIMIT_FSIZE, limits.disk_mib * _MIB)
    _limit(resource.RLIMIT_NOFILE, limits.open_files)
    _limit(resource.RLIMIT_CORE, 0)
    if isolated:
        _limit(resource.RLIMIT_NPROC, limits.processes + _COMPANIONS)
    if linux_here:
        linux.drop_privileges()
        alone = () if isolated else (*filter.PROCESSES, *filter.WRITING, *filter.OTHERS)
        linux.install_filter(filter.program((*filter.KERNEL, *alone)))
    candidate.live(Channel(socket.socket(fileno=9), sys.maxsize))


def _limit(which: int, most: int) -> None:
    resource.setrlimit(which, (most, most))
