"""The base of every part of a run's specification."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

from rlexp.spec.errors import Problem

if TYPE_CHECKING:
    import torch


def off_as_word(value: object) -> object:
    """Return `off` where yaml has made False of a bare one."""
    return "off" if value is False else value


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

    group: ClassVar[str] = ""
    """The group of the config whose name its own mistakes have for a key, wherever it stands."""

    name: str
    """What cards, tables and metric names call it."""

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Fetch what is needed beside the policy, before the hub is closed. Once in each process.

        Args:
            device: the policy's.
            local_folder: from a path or hub id, its revision and its key to a folder.
        """

    def code_files(self) -> list[Path]:
        """Files of the code that decides what it does: its class, and what it calls by name."""
        return [Path(inspect.getfile(type(self)))]

    def problems(self) -> list[Problem]:
        """What is wrong beyond the types of single fields."""
        return []
