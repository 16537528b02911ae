"""How long a person waits for an answer that needs no training: python benchmarks/startup.py

Medians of whole commands, against `trl dpo --help` of the TRL that is installed, in one run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "rlexp --help": [sys.executable, "-m", "rlexp", "--help"],
    "rlexp --cfg job": [sys.executable, "-m", "rlexp", "--cfg", "job"],
    "rlexp with three mistakes": [
        *[sys.executable, "-m", "rlexp"],
        *["algo=dp0", "model.dtyp=x", "seed=-1"],
    ],
    "trl dpo --help": [str(Path(sys.executable).parent / "trl"), "dpo", "--help"],
}


def seconds(command: list[str]) -> float:
    """Wall-clock time of one run of a command."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    # Rounds, not blocks: what slows the machine for a while slows all of them.
    rounds = [{name: seconds(each) for name, each in COMMANDS.items()} for _ in range(repeats)]
    peer = statistics.median(each["trl dpo --help"] for each in rounds)
    for name in COMMANDS:
        times = [each[name] for each in rounds]
        middle = statistics.median(times)
        print(
            f"{name:28} {middle:6.2f} s  [{min(times):.2f}, {max(times):.2f}]"
            f"  {peer / middle:5.1f} times as fast as trl dpo --help"
        )


if __name__ == "__main__":
    main()
