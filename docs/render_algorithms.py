"""Fills the knobs into docs/algorithms.md, from the algorithms' own field docstrings and yaml.

    python docs/render_algorithms.py

Between `<!-- knobs of NAME: FIELD … -->` and `<!-- end -->` stands what this writes; the rest of
the page is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from rlexp.runtime.paths import CONF
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.components import component_class

PAGE = Path(__file__).with_name("algorithms.md")
BLOCK = re.compile(r"<!-- knobs of (\w+): ([\w ]+) -->\n.*?<!-- end -->", re.DOTALL)


def rendered(page: str) -> str:
    """The page with its knobs as the code has them now.

    Raises:
        KeyError: a knob that the algorithm does not have.
    """
    return BLOCK.sub(lambda block: _knobs(block.group(1), block.group(2)), page)


def _knobs(algo: str, names: str) -> str:
    config = yaml.safe_load((CONF / "algo" / f"{algo}.yaml").read_text(encoding="utf-8"))["algo"]
    fields = component_class(config, AlgoSpec, "algo").model_fields
    lines = [
        f"- `algo.{name}` (`{_default(config[name])}`): "
        + " ".join((fields[name].description or "").split())
        for name in names.split()
    ]
    return "\n".join([f"<!-- knobs of {algo}: {names} -->", "", *lines, "", "<!-- end -->"])


def _default(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_default(inner)}" for name, inner in value.items())
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip().strip("'")


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
