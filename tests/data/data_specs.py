"""Data specs as the shipped yaml makes them, for the tests of `rlexp.data`."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from rlexp.config.hydra import composed_config
from rlexp.data.load import load_data
from rlexp.spec.components import component_class
from rlexp.spec.data import DataSpec, Kind
from rlexp.spec.errors import Problem, UserError

CONF = Path(__file__).parents[2] / "conf" / "data"
REAL = Path(__file__).parents[3] / "shared" / "data"


@cache
def _config(choice: str) -> Any:
    return OmegaConf.to_container(composed_config([f"data={choice}"]).data)


def data_spec(choice: str, **overrides: Any) -> Any:
    """`conf/data/{choice}.yaml` with overrides; dictionaries are merged, as Hydra does."""
    config = deepcopy(_config(choice))
    for key, value in overrides.items():
        config[key] = config[key] | value if isinstance(value, dict) else value
    kind = component_class(config, DataSpec, "data")
    return kind(**{key: value for key, value in config.items() if key != "_target_"})


def problems_of(spec: DataSpec, needs: Kind = "prompts") -> list[Problem]:
    """What the user is told, at the latest when the data is loaded."""
    problems = spec.problems()
    if problems:
        return problems
    with pytest.raises(UserError) as caught:
        load_data(spec, needs)
    return list(caught.value.problems)
