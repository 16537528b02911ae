"""Which rows an algorithm reads of a data set, and which it must have made first."""

from __future__ import annotations

from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import DERIVABLE, DataSpec, Kind


def rows_are_sampled(algo: AlgoSpec, data: DataSpec) -> bool:
    """Whether the policy's own answers, judged by the reward, become the training rows."""
    if algo.sampling is None or algo.ignores_answers:
        return algo.ignores_answers
    if algo.matches_labels:
        return False
    return data.kind() != algo.needs and data.kind() not in DERIVABLE[algo.needs]


def pairs_are_matched(algo: AlgoSpec, data: DataSpec) -> bool:
    """Whether texts labelled true and texts labelled false become the pairs."""
    return algo.matches_labels and data.kind() == "unpaired"


def rows_read(algo: AlgoSpec, data: DataSpec) -> Kind:
    """The kind of rows that is asked of the data: what the algorithm needs, or what becomes it."""
    if rows_are_sampled(algo, data):
        return "prompts"
    return "unpaired" if pairs_are_matched(algo, data) else algo.needs
