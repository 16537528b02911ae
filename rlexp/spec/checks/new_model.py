"""What a model that rlexp makes itself demands of the config."""

from __future__ import annotations

from rlexp.spec.errors import Problem
from rlexp.spec.model import ModelSpec

MADE_HERE = ("builtin:tiny", "builtin:scratch")


def shape_is_right(model: ModelSpec) -> list[Problem]:
    """A shape stands where a model is new, and only there; its heads share the width evenly."""
    shape, problems = model.shape, []
    if model.path != "builtin:scratch":
        if shape is None:
            return []
        want = f"null: the weights of {model.path} are there"
        remedy = "Set model=local (and model.path as it is), or model.shape=null."
        return [Problem("model.shape", "the sizes of a new model", want, remedy)]
    if shape is None:
        want = "the sizes of the new model"
        return [Problem("model.shape", "null", want, "Set model=scratch.")]
    if shape.hidden_size % (2 * shape.heads):
        fitting = [n for n in range(1, shape.hidden_size + 1) if not shape.hidden_size % (2 * n)]
        want = f"a divisor of half of model.shape.hidden_size ({shape.hidden_size})"
        near = min(fitting, key=lambda n: abs(n - shape.heads), default=None)
        remedy = f"{near} is the nearest." if near else "Make model.shape.hidden_size even."
        problems.append(Problem("model.shape.heads", str(shape.heads), want, remedy))
    if model.tokenizer is not None:
        want = "null: a new model's tokenizer is trained on the data's texts"
        problems.append(Problem("model.tokenizer", model.tokenizer, want))
    return problems
