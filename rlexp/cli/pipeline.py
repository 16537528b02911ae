"""From the words of a pipeline's command to its stages' runs: `python -m rlexp pipeline=NAME …`."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from rlexp.cli.arguments import Parser, console_of_width
from rlexp.cli.exit_status import import_from_here, reported
from rlexp.runtime.environment import share_cores, silence_libraries
from rlexp.spec.errors import Problem, UserError

_DOC = """A pipeline: stages that are runs, each of which may use what earlier ones made.

Words `key=value` and `group=choice` are for all stages, `stage.NAME.key=value` for one. Stages that
have finished with the same config, rows, code and parents are used as they are."""


def is_pipeline(argv: Sequence[str]) -> bool:
    """Return whether a command line names a pipeline to run once."""
    several = {"-m", "--multirun"} & set(argv)
    return not several and any(word.lstrip("+").startswith("pipeline=") for word in argv)


def main(argv: list[str]) -> int:
    """Run the pipeline that the command line asks for; return the exit status, as of a run."""
    return reported(lambda: run_words(argv))


def run_words(argv: list[str]) -> None:
    """Do what the words of a pipeline ask for. Raises what the pipeline does."""
    options = _options(argv)
    silence_libraries()
    share_cores()
    import_from_here()

    from rlexp.pipelines.orders import Orders, check_parents, descendants
    from rlexp.pipelines.overview import look_ahead, print_overview
    from rlexp.pipelines.planning.plan import plan_pipeline
    from rlexp.pipelines.planning.shown_config import shown_config
    from rlexp.pipelines.stage_key import stage_keys

    place = Path(options.config_dir).resolve() if options.config_dir else None
    with tempfile.TemporaryDirectory(prefix="rlexp-") as scratch:
        plan = plan_pipeline(options.words, Path(scratch), place)
        names = [stage.name for stage in plan.stages]
        _check_names(options, names)
        if options.cfg:
            sys.stdout.write(shown_config(plan.stages))
            return
        keys = stage_keys(plan)
    forced = descendants(plan, frozenset(options.force))
    if options.first:
        check_parents(plan, keys, options.first)
    if options.dry_run:
        outlooks = look_ahead(plan, keys, Orders(forced, options.first, options.until))
        print_overview(plan, outlooks, console_of_width(markup=False))
        return
    from rlexp.pipelines.session import run_plan

    print(run_plan(plan, keys, Orders(forced, options.first, options.until)))


def _options(argv: Sequence[str]) -> Namespace:
    parser = Parser("pipeline=NAME", _DOC)
    parser.add_argument("words", metavar="key=value", nargs="*", help="for all stages, or for one")
    parser.add_argument("--dry-run", action="store_true", help="show what would run, and why")
    told = "run a stage again though it has finished, and all that use it"
    parser.add_argument("--force", metavar="STAGE", action="append", default=[], help=told)
    told = "begin with this stage: those that it uses must have finished"
    parser.add_argument("--from", metavar="STAGE", dest="first", help=told)
    parser.add_argument("--until", metavar="STAGE", help="end with this stage")
    parser.add_argument("--config-dir", metavar="FOLDER", help="further choices, in yaml")
    parser.add_argument("--cfg", choices=["job"], help="show the stages' configs, and run nothing")
    options = parser.parse_intermixed_args(list(argv))
    if options.config_dir and not Path(options.config_dir).is_dir():
        got = f"{options.config_dir}, which is not there"
        remedy = f"Make it: mkdir -p '{options.config_dir}'"
        raise UserError(Problem("--config-dir", got, "a folder", remedy))
    return options


def _check_names(options: Namespace, names: Sequence[str]) -> None:
    """Raise `UserError` for stages of the flags that the pipeline does not have."""
    flags: Mapping[str, list[str]] = {
        "--force": options.force,
        "--from": [options.first] if options.first else [],
        "--until": [options.until] if options.until else [],
    }
    problems = []
    for flag, given in flags.items():
        for name in given:
            if name not in names:
                near = get_close_matches(name, names, n=1, cutoff=0)
                remedy = f"Type {flag} {near[0]}"
                problems.append(Problem(flag, name, f"one of {', '.join(names)}", remedy))
    if problems:
        raise UserError(problems)
