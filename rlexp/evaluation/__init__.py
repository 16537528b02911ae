"""The card that every run ends with: evaluation before and after, cost, warnings.

`evaluate` measures a policy, `build_card` compares two measurements, `print_card` and `write_page`
show the result to people, `guards` says what to distrust.
"""

from rlexp.evaluation.card import Card, Identity, build_card
from rlexp.evaluation.cost import Clock, Cost
from rlexp.evaluation.evaluate import Evaluation, Sample, evaluate
from rlexp.evaluation.guards import guards
from rlexp.evaluation.html import write_page
from rlexp.evaluation.pair import Pair
from rlexp.evaluation.ranking import evaluate_ranking
from rlexp.evaluation.terminal import print_card
from rlexp.evaluation.wins import win_rate

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
