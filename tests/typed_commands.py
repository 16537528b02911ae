"""Commands in a process that fails when anything heavy is imported."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from rlexp.runtime.paths import CONF

WITHOUT_TORCH = """
import json, os, sys, traceback

import rlexp.cli.command_line, rlexp.cli.main
from rlexp.__main__ import main

def command(asked):
    sys.stdout, sys.stderr = (open(name, "w", 1) for name in asked["outputs"])
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stderr.fileno(), 2)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["rlexp", *asked["arguments"]]
    status = main(asked["arguments"])
    heavy = {"torch", "transformers", "trl", "mlflow", "datasets", "optuna"} & set(sys.modules)
    assert not heavy, heavy
    return status

for line in sys.stdin:
    if not (child := os.fork()):
        status = 1
        try:
            status = command(json.loads(line))
        except SystemExit as left:
            status = left.code
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@cache
def _started() -> subprocess.Popen[str]:
    """A Python that has imported what every command line needs, and forks for each one."""
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_TORCH],
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.kill)
    return process


def typed(
    *arguments: str, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command, in a process that fails when anything heavy was imported."""
    process = _started()
    assert process.stdin and process.stdout
    with tempfile.TemporaryDirectory() as place:
        outputs = [Path(place, name) for name in ("out", "err")]
        asked = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": {**os.environ, "PYTHONPATH": str(CONF.parent), **(environment or {})},
            "outputs": [str(file) for file in outputs],
        }
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        out, err = (file.read_text(encoding="utf-8") for file in outputs)
    return subprocess.CompletedProcess([*arguments], status, out, err)
