"""The card that every run ends with: evaluation before and after, cost, warnings.

`evaluate` measures a policy, `build_card` compares two measurements, `print_card` and `write_page`
show the result to people, `guards` says what to distrust.
"""

from rlexp.evaluation.card import Card, Identity, Pair, build_card
from rlexp.evaluation.cost import Clock, Cost
from rlexp.evaluation.evaluate import Evaluation, Sample, evaluate, win_rate
from rlexp.evaluation.guards import guards
from rlexp.evaluation.html import write_page
from rlexp.evaluation.ranking import evaluate_ranking
from rlexp.evaluation.terminal import print_card

__all__ = [
    "Card",
    "Clock",
    "Cost",
    "Evaluation",
    "Identity",
    "Pair",
    "Sample",
    "build_card",
    "evaluate",
    "evaluate_ranking",
    "guards",
    "print_card",
    "win_rate",
    "write_page",
]
