"""A term of a mix as the config has it: a reward's own keys, and what the mix makes of its values.

The mix's own keys are read here, and all that is wrong with them is told at once.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Any, get_args

from rlexp.spec.components import component_of
from rlexp.spec.errors import Problem
from rlexp.spec.reward import Normalize, RewardSpec, Term, Weight

OWN = ("weight", "normalize", "clip", "needs")
"""Keys of a term that are the mix's."""
TAKEN = ("std", "margin", "missing")
"""Names of metrics: `rollout/reward_std` is of the whole reward."""
SCHEDULE = "a finite number, [[step, weight], …] by rising steps, or {from: …, to: …, steps: …}"


Problems = list[Problem]
Clip = tuple[float, float] | None


def read_term(
    name: str,
    config: dict[str, Any],
    normalize: Normalize,
    clip: Clip,
    names: list[str],
    problems: Problems,
) -> Term | None:
    """A term of a mix; None after adding to `problems` what is wrong with it.

    Args:
        name: the term's.
        config: the term's.
        normalize, clip: of the mix, for a term that does not say its own.
        names: of all terms of the mix.
        problems: where mistakes are added.
    """
    key, before = f"reward.terms.{name}", len(problems)
    if not name.replace("_", "").replace("-", "").isalnum():
        want = "a name of letters, digits, - and _, to be the name of a metric"
        problems.append(Problem(key, repr(name), want))
    if name in TAKEN or name.endswith("_missing"):
        want = "another name: metrics of the reward are called so"
        problems.append(Problem(key, repr(name), want))
    weight = _weight(config.get("weight"), key, problems)
    if "normalize" in config:
        normalize = read_normalize(config["normalize"], key, problems)
    if "clip" in config:
        clip = read_clip(config["clip"], key, problems)
    needs = _needs(config.get("needs") or {}, name, names, key, problems)
    reward = _reward(config, key, problems)
    if reward is None or weight is None or len(problems) > before:
        return None
    return Term(reward, weight, normalize, clip, needs)


def read_normalize(given: Any, key: str, problems: Problems) -> Normalize:
    """What `normalize` below a key says; a mistake is added to `problems`."""
    if given in get_args(Normalize):
        return given
    near = get_close_matches(str(given), get_args(Normalize), n=1)
    remedy = f"Did you mean {near[0]}?" if near else ""
    want = f"one of {', '.join(get_args(Normalize))}"
    problems.append(Problem(f"{key}.normalize", repr(given), want, remedy))
    return "none"


def read_clip(given: Any, key: str, problems: Problems) -> Clip:
    """What `clip` below a key says; a mistake is added to `problems`."""
    if given is None:
        return None
    pair = isinstance(given, list | tuple) and len(given) == 2 and all(map(_is_number, given))
    if pair and given[0] < given[1]:
        return float(given[0]), float(given[1])
    want = "two numbers [low, high], low below high, or null"
    problems.append(Problem(f"{key}.clip", repr(given), want))
    return None


def _reward(config: dict[str, Any], key: str, problems: Problems) -> RewardSpec | None:
    def refused(kind: type[RewardSpec]) -> Problem | None:
        if kind.scores_anything and kind.terms_by_name is RewardSpec.terms_by_name:
            return None
        return Problem(key, kind.__name__, "a single reward", "Name its terms here.")

    own = {field: value for field, value in config.items() if field not in OWN}
    known = [f"{key}.{field}" for field in OWN]
    return component_of(own, RewardSpec, key, known, problems, refused)


def _weight(given: Any, key: str, problems: Problems) -> Weight | None:
    points = _points(given)
    steps = [step for step, _ in points]
    plain = all(_is_step(step) and _is_number(weight) for step, weight in points)
    if points and plain and steps == sorted(set(steps)):
        return Weight(tuple((step, float(weight)) for step, weight in points))
    got = "nothing" if given is None else repr(given)
    remedy = f"Set +{key}.weight=1" if given is None else f"Set {key}.weight=1"
    problems.append(Problem(f"{key}.weight", got, SCHEDULE, remedy))
    return None


def _points(given: Any) -> list[tuple[Any, Any]]:
    """A schedule's points; none where it is none."""
    if isinstance(given, dict):
        if set(given) != {"from", "to", "steps"} or given["steps"] == 0:
            return []
        return [(0, given["from"]), (given["steps"], given["to"])]
    if isinstance(given, list | tuple):
        pairs = all(isinstance(each, list | tuple) and len(each) == 2 for each in given)
        return [tuple(each) for each in given] if pairs else []
    return [(0, given)]


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _needs(
    given: Any, name: str, names: list[str], key: str, problems: Problems
) -> dict[str, float]:
    if not isinstance(given, dict):
        want = "terms and the least values that open the gate: {term: value}"
        problems.append(Problem(f"{key}.needs", repr(given), want))
        return {}
    for other, least in given.items():
        if other == name:
            want = "another term: this one can be bounded by clip"
            problems.append(Problem(f"{key}.needs.{other}", "the term itself", want))
        elif other not in names:
            near = get_close_matches(str(other), names, n=1)
            remedy = f"Did you mean {near[0]}?" if near else "A weight of 0 makes it a gate alone."
            want = f"one of the terms ({', '.join(each for each in names if each != name)})"
            problems.append(Problem(f"{key}.needs.{other}", "no term of the mix", want, remedy))
        elif not _is_number(least):
            want = "a finite number, which the term must reach"
            problems.append(Problem(f"{key}.needs.{other}", repr(least), want))
    return {str(other): least for other, least in given.items()}
