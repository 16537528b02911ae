"""The process from which each program is forked: a start of Python costs more than most programs.

It is started with one argument, JSON of `means`, `limits` (fields of `Limits`), `shown` (what of
the machine is to be seen), `linter` (pycodestyle's file, or null), `packages` (what else is
imported once, by name) and `package_folders` (where these are); standard input is a socket.
For each byte that arrives there it forks a verifier, which does the rest with whoever is at the
other end. It reads nothing else itself: every later program could search its memory for that.
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
from types import ModuleType
from typing import NoReturn

from rlexp.sandbox import candidate, confinement, filter, linux
from rlexp.sandbox.limits import Limits
from rlexp.sandbox.style import load_linter, parses, style_share
from rlexp.sandbox.verifier import TIMED_OUT, CandidateProxy, run_tests
from rlexp.sandbox.wire import Channel, Frame

READY = b"r"
_MIB = 2**20
_COMPANIONS = 3
"""Processes beside the program's that the kernel counts with them: launcher, zygote, verifier."""
_GRACE = 0.5
"""Seconds that a verifier may need beside its candidate."""
_PRELOADED = (
    *("abc", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum"),
    *("fractions", "functools", "heapq", "itertools", "math", "operator", "re", "statistics"),
    *("string", "textwrap", "typing"),
)
"""Modules that programs often import: here they are read once."""


def main() -> None:
    """Go where `means` says, then fork verifiers until the other end is closed."""
    options = json.loads(sys.argv.pop())
    limits = Limits(**options["limits"])
    # Whatever is imported later would have to be found where no file of the machine is seen.
    linter = load_linter(options["linter"])
    sys.path += options["package_folders"]
    for name in (*_PRELOADED, *options["packages"]):
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
    # A collection in a child would write to, and so copy, the memory that it shares with this one.
    gc.collect()
    gc.freeze()
    parent = socket.socket(fileno=0)
    parent.sendall(READY)
    while parent.recv(1):
        verifier = os.fork()
        if verifier == 0:
            packages = options["package_folders"]
            _verify(Channel(parent, sys.maxsize), limits, isolated, packages, linter)
        _, status = os.waitpid(verifier, 0)
        # what the program has left running
        if isolated:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # everyone in this namespace but its first process
        # its zombies, which this process inherits as the first of its namespace
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, 0 if isolated else os.WNOHANG)[0]:
                pass
        Channel(parent, 0).send({"end": os.waitstatus_to_exitcode(status)})


def _verify(
    parent: Channel,
    limits: Limits,
    isolated: bool,
    packages: list[str],
    linter: ModuleType | None,
) -> NoReturn:
    """Run one program and its tests, and send what came of them to the parent."""
    # the clock: ends this process, whatever the program and the tests do
    signal.setitimer(signal.ITIMER_REAL, limits.wall_seconds + _GRACE)
    if sys.platform == "linux":
        linux.die_with_parent()
    if isolated:
        confinement.mount_private_tmp(limits.disk_mib, packages)
    # the candidate: forked first, so that it begins without a memory of what is read next
    verifiers_end, candidates_end = socket.socketpair()
    output, output_end = os.pipe()
    program = os.fork()
    if program == 0:
        _become_candidate(candidates_end, output_end, limits, isolated)
    candidates_end.close()
    os.close(output_end)
    # confinement of the verifier itself: tests come from a data set, and nobody has read them
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds + 1)
    _limit(resource.RLIMIT_AS, (limits.memory_mib + 64) * _MIB)
    if sys.platform == "linux":
        linux.drop_privileges()
        rules = (*filter.KERNEL, *filter.PROCESSES, *filter.WRITING)
        linux.install_filter(filter.program(rules))
    # the program and its tests
    channel = Channel(verifiers_end, limits.output_kib * 1024)
    request = parent.receive()
    channel.deadline = time.monotonic() + min(limits.wall_seconds, request["seconds"])
    answer: Frame = {"parses": parses(request["code"])}
    if request["style"]:
        answer["style"] = style_share(request["code"], linter)
    answer |= _run_program(request, channel, output, program)
    with contextlib.suppress(ProcessLookupError):
        os.kill(program, signal.SIGKILL)
    parent.send(answer)
    os._exit(0)


def _run_program(request: Frame, channel: Channel, output: int, program: int) -> Frame:
    """Hand the program to the candidate; return the verdicts of its tests, or what it printed."""
    stdin = request["stdin"]
    code = f"{request['setup']}\n{request['code']}"
    with contextlib.suppress(OSError):  # a candidate that is gone is found out below
        channel.send({"code": code, "stdin": stdin})
    if stdin is not None:
        return _read_output(output, channel, program)
    candidate_proxy = CandidateProxy(channel)
    verdicts = list(run_tests(candidate_proxy, request["setup"], request["tests"]))
    return {"verdicts": verdicts, "ended": candidate_proxy.ended}


def _read_output(output: int, channel: Channel, program: int) -> Frame:
    """Return what a program prints until it ends, which closes its streams, and how it ended."""
    parts, size = [], 0
    poll = select.poll()
    poll.register(output, select.POLLIN | select.POLLHUP)
    while True:
        remaining = (channel.deadline or 0) - time.monotonic()
        if remaining <= 0 or not poll.poll(remaining * 1000):
            return {"ended": TIMED_OUT}
        part = os.read(output, 1 << 16)
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


def _become_candidate(end: socket.socket, output: int, limits: Limits, isolated: bool) -> NoReturn:
    on_linux = sys.platform == "linux"
    if on_linux:
        linux.die_with_parent()
    os.setsid()  # a signal to its process group would reach beyond its namespace
    # files: 0 to 2 are the streams, 3 becomes standard input, 9 is the channel; all others close,
    # above all the zygote's socket
    os.dup2(end.fileno(), 9)
    os.dup2(output, 1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 2)
    os.dup2(os.memfd_create("stdin") if on_linux else null, 3)
    os.closerange(4, 9)
    os.closerange(10, 4096)
    random.seed(0)  # the same program, the same verdict; forking has drawn another seed
    os.chdir("/tmp" if isolated else "/")  # noqa: S108
    os.environ.clear()
    # limits
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds)
    _limit(resource.RLIMIT_AS, limits.memory_mib * _MIB)
    _limit(resource.RLIMIT_FSIZE, limits.disk_mib * _MIB)
    _limit(resource.RLIMIT_NOFILE, limits.open_files)
    _limit(resource.RLIMIT_CORE, 0)
    if isolated:
        _limit(resource.RLIMIT_NPROC, limits.processes + _COMPANIONS)
    # privileges and system calls, last: what stands above needs some of them
    if on_linux:
        linux.drop_privileges()
        without_namespaces = (*filter.PROCESSES, *filter.WRITING, *filter.OTHERS)
        rules = filter.KERNEL if isolated else (*filter.KERNEL, *without_namespaces)
        linux.install_filter(filter.program(rules))
    candidate.serve_program(Channel(socket.socket(fileno=9), sys.maxsize))


def _limit(resource_kind: int, most: int) -> None:
    resource.setrlimit(resource_kind, (most, most))
