"""What a stage makes, and where others may use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Literal

from rlexp.spec.errors import Problem
from rlexp.spec.run import RunSpec

Made = Literal["policy", "reward model", "samples", "evaluation"]

_TAKES: dict[str, tuple[Made, ...]] = {
    "model.path": ("policy",),
    "model.tokenizer": ("policy", "reward model"),
    "algo.teacher": ("policy",),
    "algo.teachers": ("policy",),
    "algo.critic_path": ("policy", "reward model"),
    "data.path": ("samples",),
    "data.heldout_path": ("samples",),
}
"""Keys that may name a stage, with what it must have made; rewards' paths are reward models."""


def makes(spec: RunSpec) -> Made:
    """Return what a run leaves for others."""
    if spec.algo.trains:
        return "policy" if spec.algo.head == "language" else "reward model"
    return "evaluation" if spec.algo.evaluates else "samples"


def kind_problems(
    spec: RunSpec, parents: Mapping[str, Sequence[tuple[str, Made]]]
) -> Iterator[Problem]:
    """Yield a problem for each stage that is used as something that it is not.

    Args:
        spec: of the stage that uses them.
        parents: by the key, the names of the stages and what they make.
    """
    for key, stages in parents.items():
        takes = _TAKES.get(key)
        if takes is None and key.startswith(("reward.", "eval.")) and key.endswith("path"):
            takes = ("reward model",)
        if takes is None:
            near = get_close_matches(key, _TAKES, n=1, cutoff=0)[0]
            want = f"one of {', '.join(_TAKES)}, or the path of a reward model"
            got = f"${{stage:{stages[0][0]}}} as its value"
            yield Problem(key, got, want, f"Did you mean {near}?")
            continue
        if key == "model.path" and spec.algo.head == "reward":
            takes = (*takes, "reward model")
        for name, made in stages:
            if made not in takes:
                got = f"${{stage:{name}}}, which makes {_with_article(made)}"
                want = " or ".join(_with_article(kind) for kind in takes)
                yield Problem(key, got, want, "Name a stage that makes one.")


def _with_article(made: Made) -> str:
    return made if made == "samples" else f"a{'n' if made == 'evaluation' else ''} {made}"
