"""What is lost when things go wrong: python benchmarks/faults.py [--only kill server] [--count 20]

Real trainings, real servers, real signals; every number of a line but the times should be 0.

- `kill`: SIGKILL at random moments, then `rlexp resume`, against a run that was left in peace.
- `server`: the tracking server is killed, frozen and answers 500, half a minute each.
- `disk`: the disk is full in the middle of a checkpoint. Mounts a small tmpfs: needs root.
- `power`: a power cut, imitated by cutting the spool and the newest checkpoint at random bytes.
- `eight`: eight runs at once on a fresh data base, SQLite and PostgreSQL.

The random moments come from `--seed`; what the machine makes of them is its own.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the servers that tests start

from fault_kinds import disk, eight, kills, power, server
from fault_kinds.losses import Losses

PARTS: dict[str, Callable[[Path, random.Random, int], Losses]] = {
    "kill": kills.run,
    "server": server.run,
    "disk": disk.run,
    "power": power.run,
    "eight": eight.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--count", type=int, default=20, help="kills; a quarter as many power cuts")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    total = 0
    for name in arguments.only:
        with tempfile.TemporaryDirectory(prefix=f"rlexp-{name}-") as scratch:
            rng = random.Random(arguments.seed)
            losses = PARTS[name](Path(scratch), rng, arguments.count)
        print(f"{name}: {losses}", flush=True)
        total += losses.total
    print("nothing was lost" if total == 0 else f"{total} losses")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
