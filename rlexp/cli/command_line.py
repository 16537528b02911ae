"""The check of a command line before Hydra runs it: all that is wrong with it, at once."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.config.run_words import RunWords
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem
from rlexp.spec.keys import key_paths
from rlexp.spec.validation import unknown_key

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


class Command(RunWords):
    """The words of one command line; of a sweep as well."""

    def __init__(self, arguments: Namespace) -> None:
        super().__init__(
            arguments.overrides,
            Path(arguments.config_path).resolve() if arguments.config_path else CONF,
            arguments.config_name or "config",
            Path(arguments.config_dir).resolve() if arguments.config_dir else None,
            bool(arguments.multirun),
        )
        self.shows = arguments.cfg is not None

    def _one_value_each(self) -> Iterator[Problem]:
        if not self.shows:
            return super()._one_value_each()
        return (_one_to_show(o) for o in self.parsed if o.is_sweep_override())

    def _check_jobs(
        self, loader: ConfigLoader, groups: list[Override], values: list[Override]
    ) -> list[str]:
        sweeps = [o for o in groups if o.key_or_group == "sweep"]
        pipelines = [o for o in groups if o.key_or_group == "pipeline"]
        if pipelines and not sweeps:
            typed = str(pipelines[0].input_line)
            want = "a sweep with Optuna, whose trials are pipelines, or one pipeline"
            remedy = f"Add sweep=optuna: python -m rlexp -m {typed} sweep=optuna 'seed=choice(1,2)'"
            self.problems.append(Problem("pipeline", f"-m {typed}", want, remedy))
            return []
        if not sweeps:
            return super()._check_jobs(loader, groups, values)
        if self.multirun or self.shows:
            return self._check_sweep(loader, groups, values)
        want, typed = "a multirun", str(sweeps[0].input_line)
        self.problems.append(Problem("sweep", typed, want, f"Add -m: python -m rlexp -m {typed}"))
        return []

    def _check_sweep(
        self, loader: ConfigLoader, groups: list[Override], values: list[Override]
    ) -> list[str]:
        """Check a sweep with Optuna, and return the keys of all its configs."""
        from omegaconf import open_dict

        from rlexp.sweep.space.check import SweepCheck

        fixed_groups = [o for o in groups if not o.is_sweep_override()]
        fixed_values = [o for o in values if not o.is_sweep_override()]
        group_job = self._combinations(fixed_groups)[0]
        value_job = self._combinations(fixed_values, [])[0]

        def compose(chosen: list[str]) -> tuple[DictConfig, Mapping[str, str]]:
            config = self._composed([*group_job, *chosen, *value_job], hydra=True)
            choices = config.hydra.runtime.choices
            with open_dict(config):
                del config["hydra"]
            return config, choices

        # Behind a plus: arguments of a sampler or pruner of the user's own choice.
        plain = [o.key_or_group for o in fixed_values if not (o.is_add() or o.is_force_add())]
        known = list(key_paths(self._compose(group_job)))
        typed = [key for key in plain if key.startswith("sweep.") and key not in known]
        self.problems += [unknown_key(key, known) for key in typed]
        words = [str(o.input_line) for o in (*groups, *values)]
        check = SweepCheck(loader, compose, words, self.search_path)
        check.check()
        self.problems += check.problems
        return sorted(check.known)


def check_command(arguments: Namespace) -> list[str]:
    """Return the overrides of a command line, checked, in the form that Hydra takes.

    Raises `UserError` with every mistake that it shows.
    """
    return checked_command(arguments)[1]


def checked_command(arguments: Namespace) -> tuple[Command, list[str]]:
    """Return a command line that shows no mistake, and its overrides in the form that Hydra takes.

    Raises `UserError` with every mistake that it shows.
    """
    command = Command(arguments)
    if any(o.is_hydra_override() and o.key_or_group == "hydra.mode" for o in command.parsed):
        command.multirun = True
    return command, command.check()


def _one_to_show(override: Override) -> Problem:
    """Return the problem of a sweep's values where one config is to be shown."""
    key, _, values = str(override.input_line).partition("=")
    first = next(iter(override.sweep_string_iterator())) if override.is_discrete_sweep() else "…"
    return Problem(override.key_or_group, values, "one value with --cfg", f"Type {key}={first}")
