"""The policy: what is trained, sampled from, and compared with its own beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.models.tokenizer import encode_prompts
from rlexp.runtime.precision import Precision
from rlexp.spec.algo import VllmSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import KINDS, Head
from rlexp.spec.peft import LoraPeft
from rlexp.spec.policy import Completion
from rlexp.spec.reward import Text
from rlexp.spec.thinking import ThinkingReader

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from peft import LoraConfig, PeftConfig
    from transformers import BitsAndBytesConfig, TrainerCallback

    from rlexp.models.padding.treatment import PaddingTreatment
    from rlexp.models.sampling.kv_cache import Sampling
    from rlexp.models.sampling.rollout import Rollout


@dataclass
class Policy:
    """A causal language model with its tokenizer.

    Attributes:
        model: transformers model; the trainer puts its own (with the adapter) here.
        tokenizer: pads on the left.
        folder: where the initial weights are, for the reference; of an adapter that goes on, its
            base's.
        spec: what was asked for.
        chat: whether plain prompts are framed as a chat.
        adapter: the PEFT config that the trainer adds, unless the model has one that goes on; None
            when all weights are trained.
        learning_rate_factor: what the adapter asks of `algo.learning_rate`.
        notes: what was decided on the way, in words for the card.
        padding: how padded batches are kept from changing what its weights say.
        grouping: which prompts are read together while sampling.
        router_losses: whether its config asks for the losses of a mixture's routers, which are for
            training alone: `model` has them off.
        sampler: who samples for the training, called like `roll_out_ids`; None is rlexp's own
            loop.
        continues: folder of the adapter that goes on, which the model has from the beginning.
        precision: of the training step's autocast; on a CPU of rlexp's own sampling, too.
    """

    model: Any
    tokenizer: Any
    folder: Path
    spec: ModelSpec
    chat: bool
    adapter: PeftConfig | None
    learning_rate_factor: float
    notes: list[str]
    padding: PaddingTreatment | None = None
    grouping: Sampling = "padded"
    router_losses: bool = False
    sampler: Callable[..., Rollout] | None = None
    continues: Path | None = None
    precision: Precision = "no"

    @property
    def initial_folder(self) -> Path:
        """Folder of the whole weights that it begins with; an adapter that goes on is merged."""
        from rlexp.models.adapters import merged_weights

        return merged_weights(self.continues, self.folder) if self.continues else self.folder

    @property
    def thinking(self) -> ThinkingReader | None:
        """What finds the thinking that rewards are not to see; None where they see all."""
        thinking = self.spec.thinking
        return None if thinking.in_rewards else ThinkingReader(thinking, self.tokenizer)

    @property
    def eos_token_ids(self) -> list[int]:
        """Every token that ends an answer: the tokenizer's, and those that the model declares."""
        declared = self.model.generation_config.eos_token_id
        declared = [declared] if isinstance(declared, int) else list(declared or [])
        return list(dict.fromkeys([self.tokenizer.eos_token_id, *declared]))

    def encode(self, prompts: Sequence[Text]) -> list[list[int]]:
        """Token ids of each prompt; conversations go through the chat template."""
        return encode_prompts(self.tokenizer, prompts)

    def complete(
        self,
        prompts: Sequence[Text],
        *,
        completions: int,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        batch_size: int,
        top_p: float = 1.0,
    ) -> list[list[Completion]]:
        """Sample `completions` answers to each prompt.

        The global random state is left as it was: an evaluation in the middle of a training must
        not change what the training draws next.
        """
        import torch

        encoded = [ids for ids in self.encode(prompts) for _ in range(completions)]
        generator = torch.Generator().manual_seed(seed)
        # Prompts of about the same length share a batch, which wastes little on padding.
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        sampled: dict[int, Completion] = {}
        thinking = self.thinking
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            rollout = self._roll_out(
                [encoded[i] for i in batch],
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                generator=generator,
            )
            answers = rollout.completions()
            texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
            ended = rollout.ended.tolist()
            for i, text, answer, end in zip(batch, texts, answers, ended, strict=True):
                prompt = prompts[i // completions]
                thought = thinking.thought(prompt, text, answer) if thinking else None
                sampled[i] = Completion(text, encoded[i], answer, end, thought)
        ordered = [sampled[i] for i in range(len(encoded))]
        return [ordered[i : i + completions] for i in range(0, len(ordered), completions)]

    def roll_out(
        self,
        prompts: Sequence[Text],
        *,
        max_new_tokens: int,
        temperature: float,
        top_k: int,
        top_p: float,
    ) -> Rollout:
        """One completion a prompt, as `rlexp.models.sampling.rollout.roll_out` gives it.

        rlexp's own loop draws from torch's global random state, so that the run's seed decides, and
        a checkpoint's random state goes on where it was.
        """
        return self.roll_out_ids(
            self.encode(prompts),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
        )

    def roll_out_ids(self, prompts: list[list[int]], **sampling: Any) -> Rollout:
        """`roll_out` of prompts that are token ids already."""
        return (self.sampler or self._roll_out)(prompts, **sampling)

    def in_place_of_generate(self) -> TrainerCallback:
        """A TrainerCallback that lets `roll_out_ids` answer the model's `generate` in training."""
        from rlexp.models.sampling.generate_patch import InPlaceOfGenerate

        return InPlaceOfGenerate(self)

    def sample_by_vllm(
        self, accelerator: Accelerator, where: VllmSpec, sampling: dict[str, Any], **size: int
    ) -> TrainerCallback:
        """Let vLLM sample for the training; a TrainerCallback that keeps its weights up to date.

        The arguments are those of `rlexp.models.sampling.vllm.VllmRollout`.
        """
        from rlexp.models.sampling.vllm import VllmRollout, WeightsToVllm

        self.sampler = VllmRollout(self, accelerator, where, sampling, **size)
        return WeightsToVllm(self.sampler)

    def _roll_out(self, prompts: list[list[int]], **sampling: Any) -> Rollout:
        from rlexp.models.sampling.rollout import roll_out
        from rlexp.models.sampling.rounded_weights import rounded_weights

        rounded = self.precision == "bf16" and self.model.device.type == "cpu"
        with rounded_weights(self.model) if rounded else nullcontext():
            return roll_out(
                self.model,
                prompts,
                eos_token_ids=self.eos_token_ids,
                pad_token_id=self.tokenizer.pad_token_id,
                grouping=self.grouping,
                **sampling,
            )

    def treat_padding(self, model: Any) -> None:
        """Let a model that reads the policy's batches read padded ones as it reads each row alone.

        Args:
            model: of the policy's architecture, or another causal language model.
        """
        if self.padding is None:
            return
        padding = self.padding
        if model.config.model_type != self.model.config.model_type:
            from rlexp.models.padding.treatment import padding_treatment

            if model.get_output_embeddings() is None:
                return  # a critic's body: it is always told the positions
            padding = padding_treatment(model)
        padding.apply(model)

    @contextmanager
    def reference(self) -> Iterator[Callable[..., Any]]:
        """The model as it was before training: called with input ids, it gives logits.

        An adapter is switched off for each call, or is as it was where it goes on; without one the
        initial weights are loaded again, for the time of the block only.
        """
        if hasattr(self.model, "disable_adapter"):
            yield AdapterOff(self.model)
            return
        reference, _ = load_weights(self.spec, self.folder, self.model.dtype)
        hide_router_losses(reference)
        self.treat_padding(reference)
        yield reference.to(self.model.device).eval()


@dataclass(frozen=True)
class AdapterOff:
    """A PEFT model seen without what was trained: its reference, without a second copy of it."""

    model: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.model.disable_adapter():
            return self.model(*args, **kwargs)

    def base_model(self, **inputs: Any) -> Any:
        """The same of its body, below the head."""
        with self.model.disable_adapter():
            return self.model.get_base_model().base_model(**inputs)

    def get_output_embeddings(self) -> Any:
        return self.model.get_base_model().get_output_embeddings()


def load_weights(
    spec: ModelSpec,
    folder: Path,
    dtype: torch.dtype,
    quantization: BitsAndBytesConfig | None = None,
    head: Head = "language",
) -> tuple[Any, list[str]]:
    """Return the model in `folder`, safetensors only, and what of a reward head begins random.

    Raises:
        UserError: weights that are not whole.
    """
    return KINDS[head].load(
        folder,
        dtype=dtype,
        attn_implementation=spec.attn_implementation,
        trust_remote_code=spec.trust_remote_code,
        quantization_config=quantization,
    )


def hide_router_losses(model: Any) -> bool:
    """Switch a mixture's router losses off in its config; return whether they were on.

    Where they are wanted, trainers ask for them in each call: sampling, evaluations and whoever
    loads what is saved have no use for them.
    """
    config = model.config.get_text_config()
    wanted = bool(getattr(config, "output_router_logits", False))
    if wanted:
        config.output_router_logits = False
    return wanted


def adapter_config(peft: LoraPeft, head: Head = "language") -> LoraConfig:
    """PEFT's own config of a low-rank adapter; a reward head is trained whole beside it."""
    from peft import LoraConfig

    return LoraConfig(
        r=peft.r,
        lora_alpha=int(peft.alpha) if peft.alpha == int(peft.alpha) else peft.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=peft.dropout,
        target_modules=peft.target_modules,
        use_dora=peft.kind == "dora",
        task_type=KINDS[head].task,
    )
