"""Fills the table of all rewards into docs/rewards.md, from their yaml and docstrings.

    python docs/render_rewards.py

Between `<!-- rewards -->` and `<!-- end -->` stands what this writes; the rest of the page is
written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from rlexp.runtime.paths import CONF
from rlexp.spec.components import component_class
from rlexp.spec.reward import RewardSpec

PAGE = Path(__file__).with_name("rewards.md")
BLOCK = re.compile(r"<!-- rewards -->\n.*?<!-- end -->", re.DOTALL)
RANGE = re.compile(r": -?\d[^:]*$")
"""At the end of a yaml's first line; the class's docstring has it too."""
EXTRAS = {
    "code": "`rewards` for style",
    "format": "`rewards` for JSON schemas",
    "math": "`rewards`",
    "reasoning_gym": "`reasoning`",
    "style": "`rewards` for readability",
    "summary": "`rewards`",
    "verse": "`verse`",
}


def rendered(page: str) -> str:
    """The page with the rewards as the code has them now."""
    files = sorted((CONF / "reward").glob("*.yaml"))
    head = ["| reward | what it measures | values | columns | extra |", "|---" * 5 + "|"]
    rows = [*head, *(_row(file) for file in files)]
    table = "\n".join(["<!-- rewards -->", "", *rows, "", "<!-- end -->"])
    return BLOCK.sub(lambda _: table, page)


def _row(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    kind = component_class(config, RewardSpec, "reward")
    measures = RANGE.sub("", text.splitlines()[0].removeprefix("# "))
    values = (kind.__doc__ or "").split("\n\n")[0]
    reads = [str(value) for key, value in config.items() if key == "column" and value]
    cells = [f"`{file.stem}`", measures, values, ", ".join(f"`{each}`" for each in reads)]
    return "| " + " | ".join([*(_cell(each) for each in cells), EXTRAS.get(file.stem, "")]) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
