"""Path of the yaml of the config groups."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

CONF = next(
    folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir()
).resolve()
"""Inside the package when it was installed from a wheel; beside it in a checkout."""
