"""`python -m rlexp`: a verb of `rlexp/commands/` where one is named, otherwise a run."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

COMMANDS = Path(__file__).parent / "commands"


def verbs() -> list[str]:
    """The verbs: names of the files in `rlexp/commands/`."""
    return sorted(file.stem for file in COMMANDS.glob("*.py") if file.stem != "__init__")


def main(argv: list[str] | None = None) -> int:
    """Do what the command line (without the program's name) asks; the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a run must not end for a dash that is not in ASCII
            stream.reconfigure(errors="replace")
    first = arguments[0] if arguments else ""
    if first in verbs():
        return _run(first, arguments[1:])
    if {"-h", "--help"} & set(arguments):
        return _run("help", [])
    if first and not first.startswith(("-", "+", "~")) and "=" not in first:
        near = get_close_matches(first, verbs(), n=1)
        remedy = f"Did you mean {near[0]}?" if near else "`python -m rlexp --help` shows them."
        wants = f"key=value, or one of {', '.join(verbs())}"
        print(f"rlexp: got {first}\n    wants {wants}\n    {remedy}", file=sys.stderr)
        return 2
    from rlexp.cli.pipeline import is_pipeline

    if is_pipeline(arguments):
        from rlexp.cli.pipeline import main as run
    else:
        from rlexp.cli.main import main as run

    return run(arguments)


def _run(verb: str, arguments: list[str]) -> int:
    from rlexp.spec.errors import RunFailed, UserError

    try:
        return import_module(f"rlexp.commands.{verb}").run(arguments)
    except (UserError, RunFailed) as error:
        print(f"rlexp {verb}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
