"""The policy: what is trained, sampled from, and compared with its own beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlexp.spec.model import LoraPeft, ModelSpec
from rlexp.spec.policy import Completion
from rlexp.spec.reward import Text


@dataclass
class Policy:
    """A causal language model with its tokenizer.

    Attributes:
        model: transformers model; the trainer puts its own (with the adapter) here.
        tokenizer: pads on the left.
        folder: where the initial weights are, for the reference.
        spec: what was asked for.
        chat: whether plain prompts are framed as a chat.
        adapter: the PEFT config that the trainer adds, or None when all weights are trained.
        learning_rate_factor: what the adapter asks of `algo.learning_rate`.
        notes: what was decided on the way, in words for the card.
    """

    model: Any
    tokenizer: Any
    folder: Path
    spec: ModelSpec
    chat: bool
    adapter: Any | None
    learning_rate_factor: float
    notes: list[str]

    @property
    def eos_token_ids(self) -> list[int]:
        """Every token that ends an answer: the tokenizer's, and those that the model declares."""
        declared = self.model.generation_config.eos_token_id
        declared = [declared] if isinstance(declared, int) else list(declared or [])
        return list(dict.fromkeys([self.tokenizer.eos_token_id, *declared]))

    def encode(self, prompts: Sequence[Text]) -> list[list[int]]:
        """Token ids of each prompt; conversations go through the chat template."""
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        if len(texts) == len(prompts):
            return self.tokenizer(texts)["input_ids"] if texts else []
        return [
            self.tokenizer(prompt)["input_ids"]
            if isinstance(prompt, str)
            else self.tokenizer.apply_chat_template(
                prompt, add_generation_prompt=True, tokenize=True, return_dict=True
            )["input_ids"]
            for prompt in prompts
        ]

    def complete(
        self,
        prompts: Sequence[Text],
        *,
        completions: int,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        batch_size: int,
    ) -> list[list[Completion]]:
        """Sample `completions` answers to each prompt.

        The global random state is left as it was: an evaluation in the middle of a training must
        not change what the training draws next.
        """
        import torch

        encoded = [ids for ids in self.encode(prompts) for _ in range(completions)]
        sampled: list[Completion] = []
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.no_grad(), self._generating():
            for start in range(0, len(encoded), batch_size):
                torch.manual_seed(seed + start)
                batch = encoded[start : start + batch_size]
                sampled += self._generate(batch, max_new_tokens, temperature)
        return [sampled[i : i + completions] for i in range(0, len(sampled), completions)]

    def _generate(
        self, batch: list[list[int]], max_new_tokens: int, temperature: float
    ) -> list[Completion]:
        padded = self.tokenizer.pad({"input_ids": batch}, return_tensors="pt", padding_side="left")
        ends = set(self.eos_token_ids)
        output = self.model.generate(
            **padded.to(self.model.device),
            max_new_tokens=max_new_tokens,
            do_sample=True,
            temperature=temperature,
            # A model's own generation config may hold any of these; the policy itself is wanted.
            top_k=0,
            top_p=1.0,
            repetition_penalty=1.0,
            eos_token_id=list(ends),
            pad_token_id=self.tokenizer.pad_token_id,
        )
        answers = []
        for prompt, row in zip(
            batch, output[:, padded["input_ids"].shape[1] :].tolist(), strict=True
        ):
            end = next((i for i, token in enumerate(row) if token in ends), None)
            ids = row if end is None else row[: end + 1]
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            answers.append(Completion(text, prompt, ids, ended=end is not None))
        return answers

    @contextmanager
    def _generating(self) -> Iterator[None]:
        """Eval mode, and the cache on where gradient checkpointing had turned it off."""
        was_training = self.model.training
        checkpointing = self.model.is_gradient_checkpointing
        if checkpointing:
            self.model.gradient_checkpointing_disable()
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(was_training)
            if checkpointing:
                self.model.gradient_checkpointing_enable()

    @contextmanager
    def reference(self) -> Iterator[Any]:
        """The model as it was before training: called with input ids, it gives logits.

        An adapter is switched off for each call; without one the initial weights are loaded again,
        for the time of the block only.
        """
        if hasattr(self.model, "disable_adapter"):
            yield AdapterOff(self.model)
            return
        reference = load_weights(self.spec, self.folder, self.model.dtype).to(self.model.device)
        yield reference.eval()


@dataclass(frozen=True)
class AdapterOff:
    """A PEFT model seen without its adapter: its reference, without a second copy in memory."""

    model: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.model.disable_adapter():
            return self.model(*args, **kwargs)


def load_weights(spec: ModelSpec, folder: Path, dtype: Any, quantization: Any = None) -> Any:
    """The causal language model in `folder`; safetensors only."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation=spec.attention,
        trust_remote_code=spec.trust_remote_code,
        use_safetensors=True,
        quantization_config=quantization,
    )


def adapter_config(peft: LoraPeft) -> Any:
    """PEFT's own config of a low-rank adapter."""
    from peft import LoraConfig

    return LoraConfig(
        r=peft.r,
        lora_alpha=int(peft.alpha) if peft.alpha == int(peft.alpha) else peft.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=peft.dropout,
        target_modules=peft.target_modules,
        use_dora=peft.kind == "dora",
        task_type="CAUSAL_LM",
    )
