"""Pages: one self-contained file each, which opens anywhere, offline, on a phone as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlexp.rendering.numbers import number


def write(path: Path, package: str, template: str, **content: Any) -> None:
    """Render a template of a package, which extends `page.html`; all that it shows is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("rlexp.rendering")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number}
    path.write_text(environment.get_template(template).render(**content), encoding="utf-8")
