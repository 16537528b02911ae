"""The check of a command line before Hydra runs it: all that is wrong with it, at once.

Hydra stops at the first key that it does not know, and lets `+key=value` past any schema. Here the
command's overrides are composed with every key let through, and the spec judges the result; so a
typo in a group, one in a key and a value out of range are reported together, in half a second.

`model=registry:NAME@ALIAS` is no file of `conf/model`: it becomes a choice of that group here, made
of `conf/model/registry.yaml` and of what the registry says of the version.
"""

from __future__ import annotations

import itertools
from argparse import Namespace
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rlexp.config.registry_choices import pin_versions, register_choice
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.registry_reference import is_registered
from rlexp.spec.keys import key_paths
from rlexp.spec.run import RunSpec
from rlexp.tracking.store.connection import resolve

MOST_JOBS_CHECKED = 256
"""A sweep's combinations that are checked before its first job; more would take seconds."""


class Command:
    """The overrides of one command, sorted by what they do.

    Args:
        arguments: what Hydra's own parser made of the command line.
    """

    def __init__(self, arguments: Namespace) -> None:
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import OverrideParseException

        self.config_dir = str(
            Path(arguments.config_path).resolve() if arguments.config_path else CONF
        )
        self.config_name = arguments.config_name or "config"
        self.search_path = arguments.config_dir and Path(arguments.config_dir).resolve()
        self.multirun = bool(arguments.multirun)
        self.problems: list[Problem] = []
        self.parsed = []
        parser = OverridesParser.create()
        for text in arguments.overrides:
            try:
                self.parsed += parser.parse_overrides([text])
            except OverrideParseException as error:
                first_line = str(error).splitlines()[0]
                remedy = f"{first_line}. Quote values with special characters: 'key=\"a,b\"'."
                self.problems.append(Problem(text, "an override", "key=value", remedy))

    def check(self) -> list[str]:
        """The overrides to hand to Hydra.

        Raises:
            UserError: with every mistake that the command line shows.
        """
        from hydra import initialize_config_dir
        from hydra.core.global_hydra import GlobalHydra

        GlobalHydra.instance().clear()
        with initialize_config_dir(self.config_dir, version_base="1.3"):
            loader: Any = GlobalHydra.instance().config_loader()
            if self.search_path:  # `--config-dir`, which only Hydra's own main would look at
                places = loader.get_search_path()
                places.prepend("command-line", f"file://{self.search_path}", anchor="schema")
                loader.repository.initialize_sources(places)
            own = [o for o in self.parsed if not o.is_hydra_override()]
            groups = [o for o in own if self._is_group(loader, o.key_or_group)]
            values = [o for o in own if o not in groups]
            groups = [o for o in groups if self._choice_exists(loader, o)]
            groups = [o for o in groups if self._is_offered(o, groups, values)]
            study = [o for o in groups if o.key_or_group == "sweep"]
            if study and self.multirun:
                known = self._check_study(loader, groups, values)
            for group_job in self._jobs(groups) if not study else ():
                known = list(key_paths(self._compose(group_job)))
                for value_job in self._jobs(values, known):
                    self._judge([*group_job, *value_job], known)
            if study and not self.multirun:
                want, remedy = "a multirun", "Add -m: python -m rlexp -m sweep=…"
                self.problems.append(Problem("sweep", study[0].input_line, want, remedy))
        if self.problems:
            raise UserError(self.problems)
        let_through = {id(o): self._let_through(o, known) for o in values}
        return [let_through.get(id(o), str(o.input_line)) for o in self.parsed]

    def _check_study(self, loader: Any, groups: list[Any], values: list[Any]) -> list[str]:
        """Check a sweep with Optuna; the keys of all its configs."""
        from omegaconf import open_dict

        from rlexp.sweep.space.check import SweepCheck, unknown_settings

        fixed_groups = [o for o in groups if not o.is_sweep_override()]
        fixed_values = [o for o in values if not o.is_sweep_override()]
        always = self._jobs(fixed_groups)[0], self._jobs(fixed_values, [])[0]

        def compose(chosen: list[str]) -> tuple[Any, Any]:
            config = self._composed([*always[0], *chosen, *always[1]], hydra=True)
            choices = config.hydra.runtime.choices
            with open_dict(config):
                del config["hydra"]
            return config, choices

        # Behind a plus: arguments of a sampler or pruner of the user's own choice.
        plain = [o.key_or_group for o in fixed_values if not (o.is_add() or o.is_force_add())]
        typed = [key for key in plain if key.startswith("sweep.")]
        self.problems += unknown_settings(typed, list(key_paths(self._compose(always[0]))))
        check = SweepCheck(loader, compose, [str(o.input_line) for o in (*groups, *values)])
        check.check()
        self.problems += check.problems
        return sorted(check.known)

    def _is_group(self, loader: Any, key: str) -> bool:
        group = key.partition("@")[0]
        return bool(loader.get_group_options(group))

    def _choice_exists(self, loader: Any, override: Any) -> bool:
        group = override.key_or_group.partition("@")[0]
        if override.is_delete():
            return True
        options = loader.get_group_options(group)
        asked = [_unescaped(name) for name in self._values(override)]
        missing = [
            name
            for name in asked
            if name != "null"
            and name not in options
            and not (group == "model" and is_registered(name))
        ]
        for name in missing:
            near = get_close_matches(name, options, n=1)
            remedy = f"Did you mean {group}={near[0]}?" if near else ""
            self.problems.append(Problem(group, name, f"one of {', '.join(options)}", remedy))
        return not missing

    def _is_offered(self, override: Any, groups: list[Any], values: list[Any]) -> bool:
        """Make registered models that an override chooses into choices; whether all are there."""
        if override.is_delete():
            return True
        asked = [name for name in map(_unescaped, self._values(override)) if is_registered(name)]
        if not asked:
            return True
        others = self._jobs([o for o in groups if o is not override])[0]
        address = [o for o in values if o.key_or_group.lstrip("+").startswith("tracking.")]
        tracking = self._compose([*others, *self._jobs(address, [])[0]])["tracking"]
        try:
            for name in asked:
                register_choice(name, tracking["registry"])
        except UserError as error:
            self.problems += error.problems
            return False
        return True

    def _values(self, override: Any) -> list[str]:
        if override.is_sweep_override() and override.is_discrete_sweep():
            return list(override.sweep_string_iterator())
        return [str(override.get_value_element_as_str())]

    def _jobs(self, overrides: list[Any], known: list[str] | None = None) -> list[list[str]]:
        """The combinations that a sweep makes of these overrides; without a sweep there is one."""
        choices = []
        for override in overrides:
            if override.is_delete():
                choices.append([override.input_line])
                continue
            if override.is_sweep_override() and not override.is_discrete_sweep():
                continue  # an interval: its ends are the sweeper's to check
            key = override.get_key_element()
            if known is not None:
                key = f"++{key.lstrip('+')}"
            choices.append([f"{key}={value}" for value in self._values(override)])
        return [
            list(job) for job in itertools.islice(itertools.product(*choices), MOST_JOBS_CHECKED)
        ]

    def _compose(self, overrides: list[str]) -> dict[str, Any]:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        config = self._composed(overrides)
        try:
            return OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportReturnType]
        except OmegaConfBaseException as error:
            raise self._refused(overrides, error) from error

    def _composed(self, overrides: list[str], *, hydra: bool = False) -> Any:
        from hydra import compose
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        try:
            return compose(self.config_name, overrides, return_hydra_config=hydra)
        except (HydraException, OmegaConfBaseException) as error:
            raise self._refused(overrides, error) from error

    def _refused(self, overrides: list[str], error: Exception) -> UserError:
        shown = ", ".join(overrides) or "the config"
        cause = str(error).splitlines()[0]
        remedy = "`--cfg job` shows the config, `--help` the groups."
        self.problems.append(Problem(shown, cause, "a config that composes", remedy))
        return UserError(self.problems)

    def _judge(self, job: list[str], known: list[str]) -> None:
        try:
            problems = _mistakes(self._compose(job), known)
        except UserError as error:
            problems = list(error.problems)
        seen = {(p.key, p.got, p.want) for p in self.problems}
        for problem in problems:
            if (problem.key, problem.got, problem.want) in seen:
                continue
            if self.multirun:
                shown = " ".join(o.replace("++", "") for o in job)
                problem = replace(problem, remedy=f"{problem.remedy} (In {shown}.)".strip())
            self.problems.append(problem)

    def _let_through(self, override: Any, known: list[str]) -> str:
        """An override that the spec has accepted, in the form in which Hydra accepts it too.

        Hydra wants `+` for a new key of an open mapping (`algo.trl.…`) and refuses it for one that
        exists; people should not need to know which is which.
        """
        if override.is_delete() or override.is_hydra_override():
            return override.input_line
        key = override.key_or_group
        if key in known and not override.is_add():
            return override.input_line
        return f"++{override.input_line.lstrip('+')}"


def _unescaped(value: str) -> str:
    """A value of Hydra's grammar as the text that it stands for: `registry\\:a` is `registry:a`."""
    return value.replace("\\", "")


def _mistakes(config: dict[str, Any], known: list[str]) -> list[Problem]:
    """All that is wrong with a composed config, and with where it would be recorded."""
    problems: list[Problem] = []
    uri = config.get("tracking", {}).get("uri")
    if isinstance(uri, str):
        try:
            resolve(uri)
        except UserError as error:
            problems += error.problems
    try:
        RunSpec.parse(config, known)
        if not problems:
            pin_versions(config)
    except UserError as error:
        problems += error.problems
    return problems


def check_command(arguments: Namespace) -> list[str]:
    """The overrides of a command line, checked, in the form that Hydra takes.

    Raises:
        UserError: with every mistake that it shows.
    """
    command = Command(arguments)
    if any(o.is_hydra_override() and o.key_or_group == "hydra.mode" for o in command.parsed):
        command.multirun = True
    sweeps = [o for o in command.parsed if o.is_sweep_override() and not command.multirun]
    command.problems += [
        Problem(o.key_or_group, o.input_line.partition("=")[2], "one value", "Add -m for a sweep.")
        for o in sweeps
    ]
    return command.check()
