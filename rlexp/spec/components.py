"""From `_target_` to the class that stands behind a component of the config."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.part import Component
from rlexp.spec.validation import validate

C = TypeVar("C", bound=Component)


def component_of(
    config: Any,
    base: type[C],
    key: str,
    known: Iterable[str],
    problems: list[Problem],
    refused: Callable[[type[C]], Problem | None] = lambda kind: None,
) -> C | None:
    """Return the component that a config describes; None after adding what is wrong to `problems`.

    Args:
        config: `_target_` and the fields of its class.
        base: what the class must be a subclass of.
        key: full path of the config.
        known: full paths of keys beside the class's own fields, for the nearest right name.
        problems: where mistakes are added.
        refused: what is wrong with a class that does not belong here; its fields are not looked at.
    """
    try:
        kind = component_class(config, base, key)
    except UserError as error:
        problems += error.problems
        return None
    if problem := refused(kind):
        problems.append(problem)
        return None
    fields = {name: value for name, value in config.items() if name != "_target_"}
    names = [*known, *(f"{key}.{name}" for name in kind.model_fields)]
    part = validate(kind, fields, key, names, problems)
    if part is not None:
        own = part.problems()  # by the key of its group, wherever it stands
        problems += [problem.under(key, base.group) for problem in own] if "." in key else own
    return part


def component_class(config: Any, base: type[C], key: str) -> type[C]:
    """Return the class named by `config["_target_"]`, a subclass of `base`.

    Built-in ones stand below `rlexp.`; another module is imported only because the user's own
    config names it.

    Raises:
        UserError: no target, no such module or class, or a class of another base.
    """
    choosing = f"+{base.group}@{key}" if "." in key else key  # what is typed before =NAME
    if not isinstance(config, dict):
        raise UserError(Problem(key, repr(config), f"a choice of the group: {choosing}=NAME"))
    target = config.get("_target_")
    where = f"{key}._target_"
    wanted = f"module.Class of a {base.__name__}"
    if not isinstance(target, str) or "." not in target:
        raise UserError(Problem(where, repr(target), wanted, f"Choose one with {choosing}=NAME."))
    module_name, _, class_name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            Problem(where, target, wanted, f"Python cannot find the module {error.name}.")
        ) from error
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, base)):
        fitting = [
            name
            for name, other in vars(module).items()
            if isinstance(other, type) and issubclass(other, base) and other is not base
        ]
        near = get_close_matches(class_name, fitting, n=1, cutoff=0)
        other = f"Choose another one with {choosing}=NAME."
        remedy = f"Did you mean {module_name}.{near[0]}?" if near else other
        raise UserError(Problem(where, target, wanted, remedy))
    return kind
