"""Gold rewards: measured beside the reward that is trained on, and never trained on.

What the training cannot push up by gaming it says whether the model has become better.
"""

from __future__ import annotations

from typing import Any

from rlexp.spec.components import component_class
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import RewardSpec
from rlexp.spec.validation import validate


def gold_rewards(gold: dict[str, dict[str, Any]]) -> tuple[dict[str, RewardSpec], list[Problem]]:
    """The rewards of `eval.gold` by name, and what is wrong with them."""
    problems: list[Problem] = []
    found: dict[str, RewardSpec] = {}
    for name, config in gold.items():
        key = f"eval.gold.{name}"
        if not name.replace("_", "").replace("-", "").isalnum():
            want = "a name of letters, digits, - and _, to be the name of a metric"
            problems.append(Problem(key, repr(name), want))
        try:
            kind = component_class(config, RewardSpec, key)
        except UserError as error:
            problems += error.problems
            continue
        if not kind.scores_anything:
            problems.append(Problem(key, kind.__name__, "a reward that scores something"))
            continue
        fields = {field: value for field, value in config.items() if field != "_target_"}
        known = [f"{key}.{field}" for field in kind.model_fields]
        reward = validate(kind, fields, key, known, problems)
        if reward is not None:
            problems += [problem.under(key) for problem in reward.problems()]
            found[name] = reward
    return found, problems
