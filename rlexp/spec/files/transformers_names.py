"""Which architectures the installed transformers has, read from its source without importing it."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

CAUSAL = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"
SCORING = "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES"
MASKED = "MODEL_FOR_MASKED_LM_MAPPING_NAMES"
CONFIGS = "CONFIG_MAPPING_NAMES"
MODULES = "SPECIAL_MODEL_TYPE_TO_MODULE_NAME"
_FILES = {CONFIGS: "auto_mappings.py", MODULES: "auto_mappings.py"}

MAPPING = re.compile(r"^(?P<name>\w+) = OrderedDict\((?P<pairs>.*?)^\)", re.MULTILINE | re.DOTALL)
PAIR = re.compile(r'^ +\("([^"]+)", "([^"]+)"\),', re.MULTILINE)
"""As a line of a mapping says it; parsing the whole source would take half a second."""


def transformers_version() -> str:
    """Return the installed transformers' version."""
    return version("transformers")


def classes_by_type(mapping: str) -> dict[str, str]:
    """Return a mapping of transformers' auto classes: from model types to classes' names.

    Args:
        mapping: its name in the source, such as `CAUSAL`.

    Raises:
        LookupError: a transformers without it.
    """
    mappings = _mappings(_FILES.get(mapping, "modeling_auto.py"))
    if mapping not in mappings:
        raise LookupError(f"transformers {transformers_version()} has no {mapping}")
    return mappings[mapping]


@cache
def architecture_source(model_type: str, kind: Literal["configuration", "modeling"]) -> str:
    """Return the source of a model type's config or model; empty where transformers has none."""
    module = classes_by_type(MODULES).get(model_type, model_type.replace("-", "_"))
    path = _folder() / module / f"{kind}_{module}.py"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def transformers_source(name: str) -> str:
    """Return the source of a file of transformers' package, such as `integrations/ggml.py`."""
    return (_package() / name).read_text(encoding="utf-8")


def _folder() -> Path:
    return _package() / "models"


def _package() -> Path:
    spec = importlib.util.find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("transformers is not installed", name="transformers")
    return Path(spec.submodule_search_locations[0])


@cache
def _mappings(file: str) -> dict[str, dict[str, str]]:
    source = (_folder() / "auto" / file).read_text(encoding="utf-8")
    return {match["name"]: dict(PAIR.findall(match["pairs"])) for match in MAPPING.finditer(source)}
