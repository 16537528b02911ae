"""One zygote from outside: it is started, given programs one after the other, and ended."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from typing import Any

from rlexp.sandbox.limits import Limits
from rlexp.sandbox.means import Means, command
from rlexp.sandbox.wire import Channel, TooLong

_START_SECONDS = 20.0
_GRACE = 5.0
"""Seconds beyond the limits before a zygote that says nothing is taken for dead."""


class CannotStart(Exception):
    """The means does not work here; the text says why."""


class Worker:
    """A zygote; ends with `close`, with its thread, or with this process, whatever comes first."""

    def __init__(self, means: Means, limits: Limits) -> None:
        self.limits = limits
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as complaints, theirs:
            self._process = subprocess.Popen(
                command(means, limits),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                env={"PYTHONHASHSEED": "0", "PATH": "/usr/local/bin:/usr/bin:/bin"},
                cwd="/",
                start_new_session=True,
            )
            theirs.close()  # so that its death is seen here
            ours.settimeout(_START_SECONDS)
            with contextlib.suppress(OSError):
                if ours.recv(1):
                    self._connection = ours
                    return
            ours.close()
            self._process.kill()
            self._process.wait()
            complaints.seek(0)
            told = complaints.read().decode(errors="replace").strip().splitlines()
        raise CannotStart(told[-1] if told else "it does not start, and does not say why")

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Run one program; None when it took its judge along, which is a failure of all tests.

        Raises:
            ConnectionError: the zygote is gone, or does not answer: this worker is at its end.
        """
        channel = Channel(self._connection, 4 * 1024 * self.limits.output_kib + (1 << 20))
        channel.deadline = time.monotonic() + seconds + _GRACE
        answer = None
        try:
            self._connection.sendall(b"j")
            channel.send({**request, "seconds": seconds})
            while "end" not in (message := channel.receive()):
                answer = message
        except (OSError, EOFError, TooLong, ValueError) as error:
            self.close()
            raise ConnectionError(f"the sandbox has ended: {error!r}") from error
        return answer

    def close(self) -> None:
        """End the zygote and all that it has started."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
