"""Runs told apart: what was asked of them, what came of it, and whether that is more than noise.

`gather` reads a run, `compare` sets runs against the first of them, `print_comparison` and
`write_page` show the result to people. All of it works on plain records, wherever they are kept.
"""

from rlexp.comparison.compare import Comparison, compare
from rlexp.comparison.gather import Source, gather
from rlexp.comparison.page import write_page
from rlexp.comparison.run_data import Run
from rlexp.comparison.terminal import print_comparison

__all__ = [
    "Comparison",
    "Run",
    "Source",
    "compare",
    "gather",
    "print_comparison",
    "write_page",
]
