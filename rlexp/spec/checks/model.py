"""Whether the model is there, and can be trained as the spec says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rlexp.spec.algo import AlgoSpec
from rlexp.spec.checks.new_model import MADE_HERE
from rlexp.spec.data import DataSpec
from rlexp.spec.errors import Problem, Problems, UserError
from rlexp.spec.files.devices import likely_device
from rlexp.spec.files.model_folder import is_adapter, model_of_run
from rlexp.spec.files.model_problems import folder_problems
from rlexp.spec.files.registry_reference import is_registered
from rlexp.spec.files.rounding import rounding_problems
from rlexp.spec.gguf import gguf_problems, names_gguf
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import Head
from rlexp.spec.peft import PeftSpec, QloraPeft
from rlexp.spec.rows import rows_are_sampled
from rlexp.spec.template_kwargs import local_template, unread_kwargs


def model_is_there(model: ModelSpec) -> Problems:
    """The path names what can be had; what a folder holds is looked at by `model_is_whole`."""
    path = Path(model.path).expanduser()
    if is_registered(model.path):  # what the registry has is asked once all else is right
        return []
    if model.path.partition(":")[0] == "builtin":
        wrong = model.path not in MADE_HERE
        return [Problem("model.path", model.path, " or ".join(MADE_HERE))] if wrong else []
    if names_gguf(model.path):
        return gguf_problems(model.path, "model.path")
    try:
        path = model_of_run(model.path, "model.path") or path
    except UserError as error:
        return list(error.problems)
    looks_local = model.path.startswith(("/", ".", "~")) or model.path.count("/") > 1
    if not path.exists():
        remedy = (
            "Give the path of a folder that save_pretrained wrote, a run's folder or name, or a "
            "hub id owner/name."
        )
        return [Problem("model.path", model.path, "a folder", remedy)] if looks_local else []
    if not (path / "config.json").is_file() and not is_adapter(path):
        return [
            Problem("model.path", f"{model.path}, a folder without config.json", "a model's folder")
        ]
    return []


def model_is_whole(algo: AlgoSpec, data: DataSpec, model: ModelSpec) -> Problems:
    """A folder's files are whole, and the model is what the algorithm makes of it."""
    if model_is_there(model) or model.path.startswith("builtin:") or names_gguf(model.path):
        return []
    folder = model_of_run(model.path, "model.path") or Path(model.path).expanduser()
    if not folder.is_dir():
        return []
    return folder_problems(folder, model, heads_needed(algo, data), "model.path")


def heads_needed(algo: AlgoSpec, data: DataSpec) -> tuple[Head, ...]:
    """Return what a run makes of its model: where rows are sampled, a language model first."""
    sampling: tuple[Head, ...] = ("language",) if rows_are_sampled(algo, data) else ()
    return tuple(dict.fromkeys((*sampling, algo.head)))


def weights_can_move(algo: AlgoSpec, model: ModelSpec, peft: PeftSpec) -> Problems:
    """Whole weights in bfloat16 change only where a step is larger than what the format rounds."""
    if not algo.trains or peft.kind != "none":
        return []  # peft=auto decides once the weights are known, and asks again
    return rounding_problems(algo.learning_rate, model)


def chat_template_is_there(model: ModelSpec) -> Problems:
    template = model.chat_template
    if template in (None, "plain", "chatml") or Path(template).expanduser().is_file():
        return []
    return [Problem("model.chat_template", template, "null, plain, chatml or a Jinja file")]


def template_reads_kwargs(model: ModelSpec) -> Problems:
    """What the chat template is told must be something that it asks for."""
    template = local_template(model) if model.chat_template_kwargs else None
    return [] if template is None else unread_kwargs(template, model.chat_template_kwargs)


def adapter_fits(peft: PeftSpec, hardware: HardwareSpec) -> Problems:
    problems: Problems = []
    if isinstance(peft, QloraPeft):
        if importlib.util.find_spec("bitsandbytes") is None:
            remedy = "Install the extra: pip install 'rlexp[quant]', or set peft=lora."
            problems.append(
                Problem("peft", "qlora without bitsandbytes", "the extra `quant`", remedy)
            )
        if likely_device(hardware.device) != "cuda":
            remedy = "Set peft=lora, or run on a machine with an NVIDIA GPU."
            problems.append(Problem("peft", "qlora without an NVIDIA GPU", "hardware=gpu", remedy))
    return problems
