"""How a model of MLflow's registry is named: `registry:NAME@ALIAS`, `/VERSION`, or NAME alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rlexp.spec.errors import Problem, UserError

PREFIX = "registry:"
_FORM = re.compile(r"(?P<name>[^/@:]+)(?:@(?P<alias>[\w-]+)|/(?P<version>[1-9]\d*))?")


@dataclass(frozen=True)
class Reference:
    """A registered model, and which version of it; without one the newest is meant."""

    name: str
    alias: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, path: str, key: str) -> Reference:
        """The reference that a path beginning with `registry:` makes.

        Args:
            path: as it was typed.
            key: where, for the error.

        Raises:
            UserError: a path of another form.
        """
        match = _FORM.fullmatch(path.removeprefix(PREFIX))
        if match is None:
            want = "registry:NAME@ALIAS or registry:NAME/VERSION"
            raise UserError(Problem(key, path, want, "Such as registry:my-model@champion."))
        return cls(**match.groupdict())


def is_registered(path: str) -> bool:
    """Whether a path names a model of the registry, rather than a folder or a hub id."""
    return path.startswith(PREFIX)
