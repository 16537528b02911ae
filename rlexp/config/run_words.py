"""The words of a run, checked before Hydra or a pipeline runs it: all that is wrong, at once.

Hydra stops at the first key that it does not know, and lets `+key=value` past any schema. Here the
overrides are composed with every key let through, and the spec judges the result; so a typo in a
group, one in a key and a value out of range are reported together, in half a second.

`model=registry:NAME@ALIAS` is no file of `conf/model`: it becomes a choice of that group here, made
of `conf/model/registry.yaml` and of what the registry says of the version.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.config.composition import composition_problem
from rlexp.config.hydra import config_loader, group_choices, parse_override
from rlexp.config.registry_choices import pin_versions, register_choice, register_file
from rlexp.config.stored import Config
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.registry_reference import is_registered
from rlexp.spec.keys import key_paths
from rlexp.spec.run import RunSpec
from rlexp.spec.validation import unknown_choice
from rlexp.tracking.store.connection import resolve

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

MOST_JOBS_CHECKED = 256
"""A sweep's combinations that are checked before its first job; more would take seconds."""


class RunWords:
    """Overrides as Hydra's own parser has them, sorted by what they do.

    Args:
        words: `group=choice` and `key=value`.
        config_dir: where the config stands.
        config_name: the config's file.
        search_path: a folder with further choices, if any.
        multirun: whether a key may have several values.
    """

    def __init__(
        self,
        words: Sequence[str],
        config_dir: Path = CONF,
        config_name: str = "config",
        search_path: Path | None = None,
        multirun: bool = False,
    ) -> None:
        self.config_dir, self.config_name = config_dir, config_name
        self.search_path, self.multirun = search_path, multirun
        self.problems: list[Problem] = []
        self.configs: list[Config] = []
        """The composed and resolved configs that were checked, of a sweep several."""
        self.parsed: list[Override] = []
        for text in words:
            try:
                self.parsed.append(parse_override(text))
            except UserError as error:
                self.problems += error.problems

    def check(self) -> list[str]:
        """Return the overrides to hand to Hydra. Raises `UserError` with every mistake in them."""
        self.problems += self._one_value_each()
        with config_loader(self.config_dir, self.search_path) as loader:
            try:
                known, values = self._checked(loader)
            except UserError as error:  # what cannot be composed hides all that would come later
                raise UserError([*self.problems, *error.problems]) from error
        if self.problems:
            raise UserError(self.problems)
        of_hydra = {id(o): self._hydra_form(o, known) for o in values}
        return [of_hydra.get(id(o), str(o.input_line)) for o in self.parsed]

    def _one_value_each(self) -> Iterator[Problem]:
        """Yield a problem for each key that has several values where there is one run."""
        for override in self.parsed if not self.multirun else ():
            if override.is_sweep_override():
                key, _, values = str(override.input_line).partition("=")
                remedy = "Add -m for a sweep; a text with commas goes in quotes: "
                remedy += f"'{key}=\"{values}\"'"
                yield Problem(override.key_or_group, values, "one value", remedy)

    def _checked(self, loader: ConfigLoader) -> tuple[list[str], list[Override]]:
        """Add what is wrong to the problems; return all keys, and the overrides of values."""
        of_run = [o for o in self.parsed if not o.is_hydra_override()]
        groups = [o for o in of_run if loader.get_group_options(o.key_or_group.partition("@")[0])]
        values = [o for o in of_run if o not in groups]
        groups = [o for o in groups if self._choice_exists(loader, o)]
        groups = [o for o in groups if self._register_models(o, groups, values)]
        if of_hydra := [str(o.input_line) for o in self.parsed if o.is_hydra_override()]:
            self._composed(of_hydra, hydra=True)
        return self._check_jobs(loader, groups, values), values

    def _check_jobs(
        self, loader: ConfigLoader, groups: list[Override], values: list[Override]
    ) -> list[str]:
        """Check each config that the overrides make; return the keys of one."""
        known: list[str] = []
        for group_job in self._combinations(groups):
            config = self._compose(group_job)
            known = list(key_paths(config))
            for value_job in self._combinations(values, known):
                job = [*group_job, *value_job]
                self._check_job(job, known, None if value_job else config)
        return known

    def _choice_exists(self, loader: ConfigLoader, override: Override) -> bool:
        """Whether all choices of an override are there; the problems say which are not."""
        if override.is_delete():
            return True
        group = override.key_or_group.partition("@")[0]
        options = group_choices(loader, group)
        missing = [name for name in self._choices(override) if name not in options]
        if group == "model":
            missing = [name for name in missing if not is_registered(name)]
        if group == "pipeline":
            missing = [name for name in missing if not register_file(group, name)]
        typed = str(override.input_line).partition("=")[0]  # also of a group elsewhere: data@KEY
        self.problems += [unknown_choice(typed, name, options) for name in missing]
        return not missing

    def _register_models(
        self, override: Override, groups: list[Override], values: list[Override]
    ) -> bool:
        """Make the registered models of an override into choices; whether all are there."""
        choices = [] if override.is_delete() else self._choices(override)
        registered = [name for name in choices if is_registered(name)]
        if not registered:
            return True
        others = self._combinations([o for o in groups if o is not override])[0]
        address = [o for o in values if o.key_or_group.lstrip("+").startswith("tracking.")]
        tracking = self._compose([*others, *self._combinations(address, [])[0]])["tracking"]
        try:
            for name in registered:
                register_choice(name, tracking["registry"])
        except UserError as error:
            self.problems += error.problems
            return False
        return True

    def _choices(self, override: Override) -> list[str]:
        """Return the texts that values of Hydra's grammar mean: `registry\\:a` is `registry:a`."""
        return [value.replace("\\", "") for value in self._chosen_values(override)]

    def _chosen_values(self, override: Override) -> list[str]:
        """Return what an override sets its key to; of a sweep, all that it tries."""
        if override.is_sweep_override() and override.is_discrete_sweep():
            return list(override.sweep_string_iterator())
        return [str(override.get_value_element_as_str())]

    def _combinations(
        self, overrides: list[Override], known: list[str] | None = None
    ) -> list[list[str]]:
        """Return the combinations that a sweep makes of overrides; without a sweep there is one."""
        choices = []
        for override in overrides:
            key = override.get_key_element()
            if known is not None:
                key = f"++{key.lstrip('+')}"
            if override.is_delete():
                choices.append([override.input_line])
            elif not override.is_sweep_override() or override.is_discrete_sweep():
                choices.append([f"{key}={value}" for value in self._chosen_values(override)])
            # of an interval the ends are the sweeper's to check
        jobs = itertools.islice(itertools.product(*choices), MOST_JOBS_CHECKED)
        return [list(job) for job in jobs]

    def _compose(self, overrides: list[str]) -> Config:
        """Return the composed and resolved config. Raises `UserError` where it cannot be had."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        config = self._composed(overrides)
        try:
            return OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportReturnType]
        except OmegaConfBaseException as error:
            raise UserError(composition_problem(overrides, error)) from error

    def _composed(self, overrides: list[str], *, hydra: bool = False) -> DictConfig:
        from hydra import compose
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError

        try:
            return compose(self.config_name, overrides, return_hydra_config=hydra)
        except (HydraException, OmegaConfBaseException, YAMLError) as error:
            raise UserError(composition_problem(overrides, error)) from error

    def _check_job(self, job: list[str], known: list[str], config: Config | None) -> None:
        """Add what is wrong with a job's config to the problems; None: it is yet to be composed."""
        try:
            self.configs.append(config or self._compose(job))
            problems = _config_problems(self.configs[-1], known)
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

    def _hydra_form(self, override: Override, known: list[str]) -> str:
        """Return an override that the spec has accepted in the form that Hydra accepts too.

        Hydra wants `+` for a new key of an open mapping (`algo.trl.…`), also where it stands in the
        mapping that is typed, and refuses it for one that exists; people should not need to know
        which is which.
        """
        typed = str(override.input_line)
        exists = override.key_or_group in known and not override.is_add()
        if (
            (exists and not isinstance(override.value(), dict))
            or override.is_delete()
            or override.is_hydra_override()
        ):
            return typed
        return f"++{typed.lstrip('+')}"


def _config_problems(config: Config, known: list[str]) -> list[Problem]:
    """Return all that is wrong with a composed config, and with where it would be recorded."""
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
