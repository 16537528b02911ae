"""From `_target_` to the class that stands behind a component of the config."""

from __future__ import annotations

import importlib
import importlib.util
from difflib import get_close_matches
from typing import Any, TypeVar

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.part import Component

C = TypeVar("C", bound=Component)


def component_class(config: Any, base: type[C], key: str) -> type[C]:
    """The class named by `config["_target_"]`, a subclass of `base`.

    Built-in ones stand below `rlexp.`; another module is imported only because the user's own
    config names it.

    Raises:
        UserError: no target, no such module or class, or a class of another base.
    """
    if not isinstance(config, dict):
        raise UserError(Problem(key, repr(config), f"a choice of the group: {key}=NAME"))
    target = config.get("_target_")
    where = f"{key}._target_"
    wanted = f"module.Class of a {base.__name__}"
    if not isinstance(target, str) or "." not in target:
        raise UserError(Problem(where, repr(target), wanted, f"Choose one with {key}=NAME."))
    module_name, _, class_name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            Problem(where, target, wanted, f"Python cannot find the module {error.name}.")
        ) from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        near = get_close_matches(class_name, [n for n in vars(module) if n[0].isupper()], n=1)
        remedy = f"Did you mean {module_name}.{near[0]}?" if near else ""
        raise UserError(Problem(where, target, wanted, remedy))
    return found
