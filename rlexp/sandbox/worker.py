"""One zygote from outside: it is started, given programs one after the other, and ended."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time

from rlexp.sandbox.limits import Limits
from rlexp.sandbox.means import Means, command
from rlexp.sandbox.wire import Channel, Frame, FrameTooLong

_START_SECONDS = 20.0
_PACKAGES_SECONDS = 100.0
"""For importing packages, beside."""
_ENV = {"PYTHONHASHSEED": "0", "PATH": "/usr/local/bin:/usr/bin:/bin"}
_ENV |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""What packages see: threads that they start when they are imported would be lost in a fork."""
_GRACE = 5.0
"""Seconds beyond the limits before a zygote that says nothing is taken for dead."""


class CannotStart(Exception):
    """The means does not work here; the text says why."""


class Worker:
    """A zygote; ends with `close`, with its thread, or with this process, whatever comes first."""

    def __init__(self, means: Means, limits: Limits, packages: tuple[str, ...] = ()) -> None:
        self.limits = limits
        our_end, zygotes_end = socket.socketpair()
        with tempfile.TemporaryFile() as stderr, zygotes_end:
            files = {"stdin": zygotes_end.fileno(), "stdout": subprocess.DEVNULL, "stderr": stderr}
            self._process = subprocess.Popen(
                command(means, limits, packages), **files, env=_ENV, cwd="/", start_new_session=True
            )
            zygotes_end.close()  # so that its death is seen here
            our_end.settimeout(_START_SECONDS + (_PACKAGES_SECONDS if packages else 0))
            with contextlib.suppress(OSError):
                if our_end.recv(1):
                    self._connection = our_end
                    return
            our_end.close()
            self._process.kill()
            self._process.wait()
            stderr.seek(0)
            lines = stderr.read().decode(errors="replace").strip().splitlines()
        raise CannotStart(lines[-1] if lines else "it does not start, and does not say why")

    def ask(self, request: Frame, seconds: float) -> Frame | None:
        """Run one program; None when it took its verifier along, which is a failure of all tests.

        Raises:
            ConnectionError: the zygote is gone, or does not answer: this worker is at its end.
        """
        channel = Channel(self._connection, 4 * 1024 * self.limits.output_kib + (1 << 20))
        channel.deadline = time.monotonic() + seconds + _GRACE
        answer = None
        try:
            self._connection.sendall(b"v")
            channel.send({**request, "seconds": seconds})
            while "end" not in (message := channel.receive()):
                answer = message
        except (OSError, EOFError, FrameTooLong, ValueError) as error:
            self.close()
            raise ConnectionError(f"the sandbox has ended: {error!r}") from error
        return answer

    def close(self) -> None:
        """End the zygote and all that it has started."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
