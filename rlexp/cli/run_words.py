"""The words of a run, composed and checked as the run itself does, for verbs that look at it."""

from __future__ import annotations

from collections.abc import Sequence

from rlexp.cli.exit_status import import_from_here
from rlexp.config.hydra import config_loader
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
    from hydra import compose
    from hydra._internal.utils import get_args_parser
    from omegaconf import OmegaConf

    from rlexp.cli.command_line import Command, check_command

    arguments = get_args_parser().parse_args(list(words))
    if arguments.multirun:
        remedy = "Leave -m away, and name one value for each key."
        raise UserError(Problem("-m", "a multirun", "the words of one run", remedy))
    import_from_here()
    overrides = check_command(arguments)
    command = Command(arguments)
    hydra_words = {str(o.input_line) for o in command.parsed if o.is_hydra_override()}
    with config_loader(command.config_dir, command.search_path):
        composed = compose(
            command.config_name, [word for word in overrides if word not in hydra_words]
        )
    config = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(config, dict)
    return parse_pinned({str(key): value for key, value in config.items() if key != "sweep"})
