"""The base of every part of a run's specification."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A validated, frozen part of the config. Its defaults stand in `conf/`, never here.

    A docstring under each field gives its meaning, its unit and, where there is one, its source.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


class Component(Part):
    """A part whose code varies: the yaml names the class by `_target_`."""

    name: str
    """What cards, tables and metric names call it."""

    def problems(self) -> list[Any]:
        """What is wrong beyond the types of single fields, as a list of `Problem`."""
        return []
