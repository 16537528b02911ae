"""Model and adapter: which weights, in what precision, with which tokenizer and template."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from rlexp.spec.part import Part
from rlexp.spec.thinking import ThinkingSpec

FEWEST_PIECES = 260
"""Of a byte-level vocabulary: 256 bytes and four special tokens."""


class Recommended(Part):
    """Sizes and rates that suit a model of this size; `train.*` and `algo.*` point here."""

    learning_rate: float = Field(gt=0)
    """For updates from rewards, and from answers judged one by one (AdamW)."""
    preference_learning_rate: float = Field(gt=0)
    """For pairs of a better and a worse answer, which push harder."""
    sft_learning_rate: float = Field(gt=0)
    """For supervised fine-tuning."""
    preference_beta: float = Field(gt=0)
    """KL coefficient for preferences: the usual 0.1, or more where pairs sampled from the model
    itself, the best against the worst, push hard."""
    max_steps: int = Field(gt=0)
    """Optimizer steps of a first experiment."""
    batch_size: int = Field(gt=0)
    """Sequences an optimizer step."""
    micro_batch_size: int | None = Field(gt=0)
    """Sequences in memory at once on a device; null takes the whole batch."""


class Shape(Part):
    """A new model, whose weights begin random: a Qwen3 with tied embeddings, in float32."""

    layers: int = Field(gt=0)
    """Blocks of attention and feed-forward network."""
    hidden_size: int = Field(gt=0)
    """Width of the residual stream; the feed-forward networks are three times as wide inside."""
    heads: int = Field(gt=0)
    """Of the attention. Each has an even share of the width, which its positions are turned in."""
    vocabulary: int = Field(ge=FEWEST_PIECES)
    """Most pieces of the tokenizer, a byte-level BPE that is trained on the data's training texts.
    It has fewer where every word is one before."""
    context: int = Field(gt=1)
    """Tokens that it is meant to read at once."""


class ModelSpec(Part):
    """A causal language model and its tokenizer."""

    name: str
    """What cards and tables call it."""
    path: str = Field(min_length=1)
    """A folder, a hub id, `registry:NAME@ALIAS` or `registry:NAME/VERSION` of MLflow's model
    registry, `builtin:tiny` (made on this machine at first use), `builtin:scratch` (a new model, of
    the `shape` below), or a GGUF file (`FILE.gguf`, or `pip:PACKAGE/FILE.gguf` of an installed
    Python package), which is dequantised once into the cache. An adapter's folder means the adapter
    merged into its base, unless `peft.start=continue` trains it on."""
    revision: str | None
    """Hub branch, tag or commit; null takes the main branch."""
    license: str | None
    """Licence of the weights as the hub spells it (`apache-2.0`); null: unknown, and the model card
    says so."""
    dtype: Literal["auto", "float32", "bfloat16"]
    """Of the weights in memory; `auto` takes float32 where they are trained, and bfloat16 where an
    adapter leaves them frozen and the device has it. (A small update of a bfloat16 weight rounds
    to nothing.)"""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"]
    """Attention implementation of transformers; `auto` takes sdpa, or eager where the architecture
    has no other."""
    trust_remote_code: bool
    """Run code that comes with the weights. Off unless you trust its author."""
    tokenizer: str | None
    """Folder or hub id of the tokenizer; null takes the model's."""
    chat: bool | None
    """Whether prompts are framed as a chat; null: if the tokenizer brings a chat template."""
    chat_template: str | None
    """`plain` or `chatml`, or a Jinja file; null takes the tokenizer's, or `plain` without one."""
    chat_template_kwargs: dict[str, JsonValue]
    """Variables of the chat template, such as `{enable_thinking: false}`: as if every call of it,
    in training, evaluation and sampling, had them. The model that is saved has them as defaults."""
    thinking: ThinkingSpec
    """The part of an answer in which the model thinks."""
    pad_token: str | None
    """Padding token; null takes the tokenizer's, or the end token without one."""
    eos_token: str | None
    """End token; null takes the tokenizer's."""
    shape: Shape | None
    """Sizes of a new model, for `builtin:scratch`; null: the weights are there."""
    recommended: Recommended
    """What suits this size."""

    @property
    def attn_implementation(self) -> str | None:
        """What `from_pretrained` is told of the attention; None lets it choose."""
        return None if self.attention == "auto" else self.attention
