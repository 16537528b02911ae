"""The names of TRL's config fields, read from its source: importing it would take seconds."""

from __future__ import annotations

import ast
import importlib.util
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from rlexp.spec.algo import AlgoSpec, trl_names
from rlexp.spec.errors import Problem

TRAINING_ARGUMENTS = ("transformers", "training_args.py", "TrainingArguments")
BASE_CONFIG = ("trl", "trainer/base_config.py", "_BaseConfig")


@cache
def _class_fields(package: str, file: str, class_name: str) -> frozenset[str]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    path = Path(spec.submodule_search_locations[0]) / file
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            targets = [n.target for n in node.body if isinstance(n, ast.AnnAssign)]
            return frozenset(t.id for t in targets if isinstance(t, ast.Name))
    raise LookupError(f"{path} has no class {class_name}: this TRL is not one that rlexp knows")


def trl_fields(file: str, class_name: str) -> frozenset[str]:
    """Fields of a TRL config class, those of its two bases included.

    Args:
        file: path inside the package, such as `trainer/dpo_config.py`.
        class_name: such as `DPOConfig`.
    """
    classes = [("trl", file, class_name), BASE_CONFIG, TRAINING_ARGUMENTS]
    return frozenset().union(*(_class_fields(*where) for where in classes))


def check_trl(algo: AlgoSpec) -> list[Problem]:
    """Names in `algo.trl` that TRL's config does not have, or that rlexp has its own key for."""
    if not algo.trl:
        return []
    fields = trl_fields(*algo.trl_config)
    kind = type(algo)
    own = {knob: f"algo.{knob}" for knob in kind.model_fields}
    owned = own | algo.owned | trl_names(kind, "algo")
    problems = []
    for name in algo.trl:
        key, want = f"algo.trl.{name}", f"a field of {algo.trl_config[1]}"
        if name in owned:
            problems.append(Problem(key, "a field that rlexp sets", f"{owned[name]} instead"))
        elif name not in fields:
            near = get_close_matches(name, fields, n=1)
            known = [owned.get(field, f"algo.trl.{field}") for field in near]
            remedy = f"Did you mean {known[0]}?" if known else ""
            problems.append(Problem(key, "an unknown field", want, remedy))
    return problems
