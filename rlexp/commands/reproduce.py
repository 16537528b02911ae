"""Run a recorded run again, and say metric by metric whether it came out the same

`python -m rlexp reproduce RUN` needs the tracking store alone; the run's folder may be gone. What
is other here (code, packages, machine, weights) is told first, with what to type to have it back.
Other data is refused, unless `--changed-data` is given.

With `--ancestors` the runs that it was made from (`python -m rlexp tree RUN`) are run again first.

Words `key=value` say where files lie now (data.path=…, model.path=…), give a secret that the store
does not hold, or change the hardware. The exit status is 0 when every value came out the same, bit
for bit, and 1 when not.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlexp.cli.arguments import Parser, store_of
from rlexp.cli.exit_status import import_from_here, reported
from rlexp.spec.errors import Problem, UserError


def run(argv: list[str]) -> int:
    """Reproduce a run; return 0 when it came out exactly the same, else as for a failed run."""
    verdicts: list[str | None] = []
    status = reported(lambda: verdicts.append(_reproduce(argv)))
    return status or (0 if verdicts[0] in (None, "exactly") else 1)


def _reproduce(argv: Sequence[str]) -> str | None:
    parser = Parser("reproduce", __doc__)
    parser.add_argument("run", metavar="RUN", help="a run's id, name or folder")
    parser.add_argument("words", metavar="key=value", nargs="*", help="what moves no number")
    other_data = "go on although the data is not the run's"
    parser.add_argument("--changed-data", action="store_true", help=other_data)
    family = "run all again that the run was made from, before it"
    parser.add_argument("--ancestors", action="store_true", help=family)
    parser.add_argument("--dry-run", action="store_true", help="only tell what is other here")
    uri, experiment, rest = store_of(argv)
    options = parser.parse_intermixed_args(rest)

    from rlexp.runtime.environment import share_cores, silence_libraries

    silence_libraries()
    share_cores()
    import_from_here()

    flags = {"changed_data": options.changed_data, "dry_run": options.dry_run}
    if options.ancestors:
        from rlexp.commands.tree import folder_of_run
        from rlexp.reproduction.ancestors import reproduce_family

        if options.words:
            want = "no words: each run is as it was"
            remedy = "Leave them away, or reproduce the runs one by one."
            raise UserError(Problem("--ancestors", " ".join(options.words), want, remedy))
        return reproduce_family(
            folder_of_run(options.run, uri, experiment), (uri, experiment), **flags
        )
    from rlexp.reproduction.reproduce import reproduce

    done = reproduce(options.run, (uri, experiment), options.words, **flags)
    return done[0] if done else None
