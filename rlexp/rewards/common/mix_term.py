"""A term of a mix as the config has it: a reward's own keys, and what the mix makes of its values.

The mix's own keys are read here, and all that is wrong with them is told at once.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, cast, get_args

from rlexp.spec.components import component_of
from rlexp.spec.errors import Problem, Problems
from rlexp.spec.reward import Normalize, RewardSpec, Term
from rlexp.spec.schedule import is_finite, read_weight

MIX_KEYS = ("weight", "normalize", "clip", "needs")
"""Keys of a term that are the mix's."""
RESERVED_NAMES = ("std", "margin", "missing")
"""Names of metrics: `rollout/reward_std` is of the whole reward."""

Clip = tuple[float, float] | None


def read_term(
    name: str,
    config: dict[str, Any],
    normalize: Normalize,
    clip: Clip,
    names: list[str],
    problems: Problems,
) -> Term | None:
    """Return a term of a mix; None after adding to `problems` what is wrong with it.

    Args:
        name: the term's.
        config: the term's.
        normalize, clip: of the mix, for a term that does not say its own.
        names: of all terms of the mix.
        problems: where mistakes are added.
    """
    key, problems_before = f"reward.terms.{name}", len(problems)
    if not name.replace("_", "").replace("-", "").isalnum():
        want = "a name of letters, digits, - and _, to be the name of a metric"
        problems.append(Problem(key, repr(name), want))
    if name in RESERVED_NAMES or name.endswith("_missing"):
        want = "another name: metrics of the reward are called so"
        problems.append(Problem(key, repr(name), want))
    weight = read_weight(config.get("weight"), f"{key}.weight", problems)
    if "normalize" in config:
        normalize = read_normalize(config["normalize"], key, problems)
    if "clip" in config:
        clip = read_clip(config["clip"], key, problems)
    needs = _needs(config.get("needs") or {}, name, names, key, problems)
    reward = _reward(config, key, problems)
    if reward is None or weight is None or len(problems) > problems_before:
        return None
    return Term(reward, weight, normalize, clip, needs)


def read_normalize(given: object, key: str, problems: Problems) -> Normalize:
    """Return the scale that `normalize` below a key names; add a mistake to `problems`."""
    if given in get_args(Normalize):
        return cast("Normalize", given)
    near = get_close_matches(str(given), get_args(Normalize), n=1)
    remedy = f"Did you mean {near[0]}?" if near else ""
    want = f"one of {', '.join(get_args(Normalize))}"
    problems.append(Problem(f"{key}.normalize", repr(given), want, remedy))
    return "none"


def read_clip(given: object, key: str, problems: Problems) -> Clip:
    """Return the bounds that `clip` below a key gives; add a mistake to `problems`."""
    if given is None:
        return None
    if isinstance(given, list | tuple) and len(given) == 2:
        low, high = given
        if is_finite(low) and is_finite(high) and low < high:
            return float(low), float(high)
    want = "two numbers [low, high], low below high, or null"
    problems.append(Problem(f"{key}.clip", repr(given), want))
    return None


def _reward(config: dict[str, Any], key: str, problems: Problems) -> RewardSpec | None:
    def refused(kind: type[RewardSpec]) -> Problem | None:
        if kind.scores_anything and kind.terms_by_name is RewardSpec.terms_by_name:
            return None
        return Problem(key, kind.__name__, "a single reward", "Name its terms here.")

    own = {field: value for field, value in config.items() if field not in MIX_KEYS}
    known = [f"{key}.{field}" for field in MIX_KEYS]
    return component_of(own, RewardSpec, key, known, problems, refused)


def _needs(
    given: object, name: str, names: list[str], key: str, problems: Problems
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
            want = f"one of the terms ({', '.join(n for n in names if n != name)})"
            problems.append(Problem(f"{key}.needs.{other}", "no term of the mix", want, remedy))
        elif not is_finite(least):
            want = "a finite number, which the term must reach"
            problems.append(Problem(f"{key}.needs.{other}", repr(least), want))
    return {str(other): least for other, least in given.items()}
