"""Loading weights so that none begin at random without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.weights import named


def load_whole(
    auto_class: str, folder: Path, key: str, *, new_head: bool = False, **options: Any
) -> tuple[Any, list[str]]:
    """Return the model in a folder, safetensors only, and the tensors of its head that are new.

    The architecture's own code says here what it is made of. What it computes or ties is not
    missing; buffers that no file holds are not either.

    Args:
        auto_class: name of transformers' class that loads it, such as `AutoModelForCausalLM`.
        folder: config and weights.
        key: that names the model.
        new_head: whether what stands on the body may begin at random, as a reward model's head does
            that is made of a language model.
        options: for `from_pretrained`.

    Raises:
        UserError: tensors that are missing, or of another shape than the config says.
    """
    import transformers

    model, report = getattr(transformers, auto_class).from_pretrained(
        folder,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are told with the rest
        **options,
    )
    body = f"{model.base_model_prefix}."
    missing = sorted(report["missing_keys"])
    fresh = [name for name in missing if new_head and not name.startswith(body)]
    absent = [name for name in missing if name not in fresh]
    mismatched = [
        f"{name} of {list(stored)} instead of {list(built)}"
        for name, stored, built in sorted(report["mismatched_keys"])
    ]
    problems: list[Problem] = []
    if absent:
        want = f"all weights of a {type(model).__name__}: what is missing would begin at random"
        remedy = "Copy or download the folder again; where it was saved, save the whole model."
        got = f"{folder}, without {len(absent)} of them: {named(absent)}"
        problems.append(Problem(key, got, want, remedy))
    if mismatched:
        want = f"the shapes of a {type(model).__name__} with this config.json"
        remedy = "Put the config.json beside the weights that they were saved with."
        problems.append(Problem(key, f"{folder}: {named(mismatched)}", want, remedy))
    if problems:
        raise UserError(problems)
    return model, fresh
