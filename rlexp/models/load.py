"""Load a policy as the spec asks: the weights, an adapter where wanted, on the right device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.models.adapters import continued, tokenizer_folder
from rlexp.models.locate import FolderOf, base_folder, local_folder, model_folder
from rlexp.models.memory import available_bytes, full_training_bytes, parameter_count
from rlexp.models.padding.treatment import PaddingTreatment
from rlexp.models.policy import Policy, adapter_config, hide_router_losses, load_weights
from rlexp.models.tokenizer import ModelTokenizer
from rlexp.runtime.precision import PAYS, Precision, cpu_gain, mixed_precision
from rlexp.spec.checks.adapter import continued_problems
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.devices import has_bf16
from rlexp.spec.files.model_folder import vocabulary
from rlexp.spec.files.rounding import rounding_problems
from rlexp.spec.files.weights import named
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import KINDS, Head
from rlexp.spec.peft import LoraPeft, NoPeft, QloraPeft
from rlexp.spec.run import RunSpec

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig

GIB = 2**30


def load_policy(
    spec: RunSpec,
    head: Head,
    device: torch.device,
    progress: Callable[[int, int, float], None],
    folder_of: FolderOf = local_folder,
    corpus: Callable[[], Sequence[str]] | None = None,
    reader: ModelTokenizer | None = None,
) -> Policy:
    """The policy of a run on a torch device.

    Args:
        spec: the run.
        head: what the last layer gives.
        device: where the weights go.
        progress: told of each step while the embedded model is made.
        folder_of: as `local_folder`.
        corpus: gives the texts that a new model's tokenizer is trained on.
        reader: the model's tokenizer, where it has been loaded.

    Raises:
        TypeError: a new model without a corpus.
        UserError: weights, tokenizer or template that cannot be had or do not fit together.
    """
    notes: list[str] = []
    adapter = _continued_adapter(spec, folder_of)
    if adapter is not None:
        folder = base_folder(adapter, folder_of)
    elif spec.model.shape is None:
        folder = model_folder(spec.model, progress, folder_of)
    else:
        folder = _new_model(spec, corpus, notes)
    peft = spec.peft if adapter else _choose_adapter(spec, folder, device, notes)
    files = tokenizer_folder(adapter or folder, folder)
    reader = reader or ModelTokenizer.load(spec.model, files, folder)
    notes += reader.notes
    quantization = _four_bits(peft) if isinstance(peft, QloraPeft) else None
    whole = isinstance(peft, NoPeft) and spec.algo.trains
    if whole and (problems := rounding_problems(spec.algo.learning_rate, spec.model)):
        raise UserError(problems)
    dtype = _dtype(spec, peft, device)
    model, new_head = load_weights(spec.model, folder, dtype, quantization, head)
    model = model if quantization else model.to(device)
    router_losses = hide_router_losses(model)
    notes += _notes_of(model, spec.model, new_head)
    _fit_tokens(reader, model, head)
    padding = fit_padding(spec, model, notes) if KINDS[head].writes else PaddingTreatment()
    if adapter is not None and isinstance(peft, LoraPeft):
        model = continued(model, adapter, peft)
        notes.append(f"the adapter of {spec.model.path} goes on")
    return Policy(
        model=model,
        tokenizer=reader.tokenizer,
        folder=folder,
        spec=spec.model,
        chat=reader.chat,
        adapter=None if isinstance(peft, NoPeft) else adapter_config(peft, head),
        learning_rate_factor=1.0 if isinstance(peft, NoPeft) else peft.learning_rate_factor,
        notes=notes,
        padding=padding,
        grouping=padding.sampling,
        router_losses=router_losses,
        continues=adapter,
        precision=_choose_precision(spec, model, device, notes),
    )


def _continued_adapter(spec: RunSpec, folder_of: FolderOf) -> Path | None:
    """Return the folder of the adapter that is trained on; None where none is.

    Raises:
        UserError: what is there is no adapter, or another one than the config describes.
    """
    peft, model = spec.peft, spec.model
    if not spec.algo.trains or not isinstance(peft, LoraPeft) or peft.start == "new":
        return None
    folder = folder_of(model.path, model.revision, "model.path", model.trust_remote_code)
    if problems := continued_problems(folder, spec.algo, peft):
        raise UserError(problems)
    return folder


def _fit_tokens(reader: ModelTokenizer, model: Any, head: Head) -> None:
    tokens = len(reader.tokenizer)
    if tokens > model.get_input_embeddings().num_embeddings:
        got = f"a tokenizer of {tokens} tokens for a model that embeds fewer"
        raise UserError(Problem("model.tokenizer", got, "the model's own tokenizer (null)"))
    getattr(model, KINDS[head].padding).pad_token_id = reader.tokenizer.pad_token_id


def _notes_of(model: Any, spec: ModelSpec, new_head: list[str]) -> list[str]:
    """Return what people should know of the weights as they were loaded."""
    notes: list[str] = []
    if new_head:
        notes.append(f"the head is new, and begins at random: {named(new_head)}")
    has_heads = hasattr(model.config.get_text_config(), "num_attention_heads")
    if spec.attention == "auto" and has_heads and model.config._attn_implementation == "eager":
        notes.append(f"attention: eager, for {type(model).__name__} has no sdpa")
    return notes


def _choose_precision(
    spec: RunSpec, model: Any, device: torch.device, notes: list[str]
) -> Precision:
    count = sum(parameter.numel() for parameter in model.parameters())
    precision = mixed_precision(spec.hardware, spec.model, device, count)
    is_chosen = spec.hardware.mixed_precision == "auto" and spec.algo.trains
    if is_chosen and precision == "fp16":
        notes.append("precision: float16 with scaled losses, for this GPU has no bfloat16")
    if is_chosen and precision == "bf16" and device.type == "cpu":
        notes.append(
            f"precision: matrices are multiplied in bfloat16, {cpu_gain():.1f} times as fast as "
            "float32 on this CPU; weights and optimizer stay as they are "
            "(hardware.mixed_precision=no: float32 everywhere)"
        )
    return precision


def fit_padding(spec: RunSpec, model: Any, notes: list[str]) -> PaddingTreatment:
    """Return how padded batches are read, and let the model read them so.

    Raises:
        UserError: a model that looks ahead, or one that padding disturbs where others sample.
    """
    from rlexp.models.padding.treatment import UnfitModel, padding_treatment

    name, key = type(model).__name__, "model.path"
    try:
        treatment = padding_treatment(model)
    except UnfitModel as error:
        got, remedy = f"{spec.model.path}, a {name} {error.does}", "One: model.path=builtin:tiny."
        raise UserError(Problem(key, got, error.want, remedy)) from error
    apart = "apart" in (treatment.forward, treatment.sampling)
    if apart and getattr(spec.algo, "rollout", "fast") == "transformers":
        got = f"transformers, which pads prompts: a {name} reads the padding too"
        raise UserError(Problem("algo.rollout", got, "fast", "Set algo.rollout=fast."))
    treatment.apply(model)
    notes += treatment.notes()
    return treatment


def _new_model(spec: RunSpec, corpus: Callable[[], Sequence[str]] | None, notes: list[str]) -> Path:
    from rlexp.builtin import scratch

    assert spec.model.shape is not None
    if corpus is None:
        raise TypeError("a new model's tokenizer wants texts to be trained on: corpus")
    texts = corpus()
    folder = scratch.ensure_scratch_model(spec.model.shape, texts, spec.seed)
    count, pieces = parameter_count(folder, False), len(vocabulary(folder) or ())
    notes.append(
        f"a new model: {count:,} random weights, {pieces:,} pieces from {len(texts):,} texts"
    )
    return folder


def _choose_adapter(
    spec: RunSpec, folder: Path, device: torch.device, notes: list[str]
) -> NoPeft | LoraPeft:
    if spec.peft.kind != "auto":
        return spec.peft
    needed = full_training_bytes(parameter_count(folder, spec.model.trust_remote_code))
    free = available_bytes(device)
    comparison = f"training all weights wants about {needed / GIB:.1f} GiB of {free / GIB:.1f} free"
    if needed <= free:
        return NoPeft(kind="none")
    notes.append(f"peft=auto: LoRA ({comparison})")
    return spec.peft


def _dtype(spec: RunSpec, peft: NoPeft | LoraPeft, device: torch.device) -> torch.dtype:
    import torch

    if spec.model.dtype != "auto":
        return getattr(torch, spec.model.dtype)
    frozen = not isinstance(peft, NoPeft)
    fast = has_bf16(device.type) and (device.type != "cpu" or cpu_gain() >= PAYS)
    return torch.bfloat16 if frozen and fast else torch.float32


def _four_bits(peft: QloraPeft) -> BitsAndBytesConfig:
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=peft.quant_type,
        bnb_4bit_use_double_quant=peft.double_quant,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
