"""Whether an adapter that is to go on is the one that the config describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlexp.spec.algo import AlgoSpec
from rlexp.spec.checks.model import model_is_there
from rlexp.spec.errors import Problem, Problems
from rlexp.spec.files.model_folder import is_adapter, model_of_run, saved_config
from rlexp.spec.files.registry_reference import is_registered
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import KINDS
from rlexp.spec.peft import LoraPeft, PeftSpec

ANEW = "peft.start=new, which merges it into its base"


def adapter_goes_on(algo: AlgoSpec, model: ModelSpec, peft: PeftSpec) -> Problems:
    """`peft.start=continue` wants an adapter, and this one; what is elsewhere is fetched first."""
    if not isinstance(peft, LoraPeft) or peft.start == "new" or not algo.trains:
        return []
    if model_is_there(model) or is_registered(model.path):
        return []
    whole = model.path.startswith("builtin:")
    folder = Path(model.path).expanduser()
    if not whole:
        folder = model_of_run(model.path, "model.path") or folder
    if not whole and not folder.is_dir():
        return []
    return continued_problems(folder, algo, peft)


def continued_problems(folder: Path, algo: AlgoSpec, peft: LoraPeft) -> Problems:
    """Return what keeps the adapter in a folder from going on as the config says."""
    if not is_adapter(folder):
        got = f"continue, and {folder} holds whole weights"
        return [Problem("peft.start", got, "new: there is no adapter yet", "Set peft.start=new.")]
    saved = saved_config(folder)
    kind = KINDS[algo.head]
    if saved.get("peft_type") != "LORA" or saved.get("task_type") != kind.task:
        got = f"continue, and {folder} is {saved.get('peft_type')} for {saved.get('task_type')}"
        want = f"LORA for {kind.task}, which algo={algo.name} trains"
        return [Problem("peft.start", got, want, "Set peft.start=new.")]
    return [
        Problem(key, str(asked), f"{own}, as the adapter in {folder} has", f"Set {way}, or {ANEW}.")
        for key, asked, own, way in _differences(saved, peft)
    ]


def _differences(saved: dict[str, Any], peft: LoraPeft) -> list[tuple[str, Any, Any, str]]:
    """Return key, what is asked, what the adapter has, and how to ask for that."""
    kind = "dora" if saved.get("use_dora") else "lora"
    differences: list[tuple[str, Any, Any, str]] = []
    if kind != ("dora" if peft.kind == "dora" else "lora"):
        differences.append(("peft", peft.kind, kind, f"peft={kind}"))
    own_numbers = {"r": saved["r"], "alpha": saved["lora_alpha"]}
    differences += [
        (f"peft.{name}", getattr(peft, name), own, f"peft.{name}={own:g}")
        for name, own in own_numbers.items()
        if getattr(peft, name) != own
    ]
    asked, own = peft.target_modules, saved["target_modules"]
    if asked != "all-linear" and not _same_targets(asked, own):
        words = own if isinstance(own, str) else f"[{','.join(last_names(own))}]"
        differences.append(("peft.target_modules", asked, words, f"peft.target_modules={words}"))
    return differences


def _same_targets(asked: str | list[str], own: str | list[str]) -> bool:
    """Whether two choices of modules are one, as far as names tell; PEFT stores them in full."""
    if isinstance(asked, str) or isinstance(own, str):
        return asked == own
    covered = all(is_target(name, asked) for name in own)
    return covered and all(any(is_target(name, [target]) for name in own) for target in asked)


def is_target(name: str, targets: list[str]) -> bool:
    """Whether a module's name is among PEFT's targets, each a name or the end of one."""
    return any(name == target or name.endswith(f".{target}") for target in targets)


def last_names(modules: list[str]) -> list[str]:
    """Return the last parts of modules' names, each once."""
    return sorted({name.rpartition(".")[2] for name in modules})
