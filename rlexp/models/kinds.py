"""What a model is: one that writes, or one that scores texts. What differs stands here alone.

A kind is known by its head (`AlgoSpec.head`): how it is loaded and adapted, on which held-out rows
and how it is evaluated, and what people read of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rlexp.spec.algo import Head
from rlexp.spec.eval import EvalSpec
from rlexp.spec.reward import Scoring

if TYPE_CHECKING:
    from rlexp.evaluation.results import Evaluation
    from rlexp.models.policy import Policy

Rows = Sequence[dict[str, Any]]


class Evaluate(Protocol):
    """Measure a policy on its held-out rows; the global random state stays as it was."""

    def __call__(
        self,
        policy: Policy,
        rows: Rows,
        reward: Scoring,
        texts: Sequence[str],
        spec: EvalSpec,
        *,
        trained: bool,
        grammatical: Callable[[str], float] | None,
    ) -> Evaluation: ...


@dataclass(frozen=True)
class ModelKind:
    """A kind of model."""

    head: Head
    architecture: str
    """The end of its class's name: `AutoModelFor<architecture>` loads it."""
    task: str
    """PEFT's word for it."""
    evaluate: Evaluate
    rows: str
    """What people call the held-out rows that it is evaluated on."""
    writes: bool
    """Whether it can be sampled from: best-of-n, guards' probes and slices ask for that."""
    config: Mapping[str, object] = field(default_factory=dict)
    """What its class's config wants beside the folder's."""

    @property
    def auto_class(self) -> str:
        """Name of the class of transformers that loads it."""
        return f"AutoModelFor{self.architecture}"


def _evaluate_language_model(
    policy: Policy,
    rows: Rows,
    reward: Scoring,
    texts: Sequence[str],
    spec: EvalSpec,
    *,
    trained: bool,
    grammatical: Callable[[str], float] | None,
) -> Evaluation:
    from rlexp.evaluation.policy import evaluate

    return evaluate(policy, rows, reward, texts, spec, trained=trained, grammatical=grammatical)


def _evaluate_reward_model(
    policy: Policy,
    rows: Rows,
    reward: Scoring,
    texts: Sequence[str],
    spec: EvalSpec,
    *,
    trained: bool,
    grammatical: Callable[[str], float] | None,
) -> Evaluation:
    from rlexp.evaluation.pairwise_accuracy import evaluate_ranking

    return evaluate_ranking(policy, rows, spec)


KINDS: dict[Head, ModelKind] = {
    "language": ModelKind(
        head="language",
        architecture="CausalLM",
        task="CAUSAL_LM",
        evaluate=_evaluate_language_model,
        rows="prompts",
        writes=True,
    ),
    "reward": ModelKind(
        head="reward",
        architecture="SequenceClassification",
        task="SEQ_CLS",
        evaluate=_evaluate_reward_model,
        rows="pairs",
        writes=False,
        config={"num_labels": 1},
    ),
}
"""All kinds, by their head."""
