"""The words of a run, composed and checked as the run itself does, for verbs that look at it."""

from __future__ import annotations

from collections.abc import Sequence

from rlexp.cli.exit_status import import_from_here
from rlexp.config.registry_choices import parse_pinned
from rlexp.config.stored import Config
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.run import RunSpec


def compose_run(words: Sequence[str]) -> tuple[Config, RunSpec]:
    """Return the resolved config that the words make, and its spec.

    Args:
        words: `group=choice`, `key=value`, and Hydra's `--config-dir` and `--config-name`.

    Raises:
        UserError: with every mistake that they show; or they are those of several runs.
    """
    from hydra._internal.utils import get_args_parser

    from rlexp.cli.command_line import checked_command

    arguments = get_args_parser().parse_args(list(words))
    if arguments.multirun:
        remedy = "Leave -m away, and name one value for each key."
        raise UserError(Problem("-m", "a multirun", "the words of one run", remedy))
    import_from_here()
    command, _ = checked_command(arguments)
    config = command.configs[-1]
    return parse_pinned({key: value for key, value in config.items() if key != "sweep"})
