"""A model that has learnt nothing yet: a byte-level BPE tokenizer of some texts, random weights.

The same texts, sizes and seed make the same tokenizer and the same weights, bit for bit, whatever
the caller has set. The architecture is Qwen3 with tied embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast as Tokenizer
    from transformers import Qwen3ForCausalLM as Model

SPECIAL_TOKENS = ("<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>")
END, PAD = 0, 1  # their ids: the trainer numbers the special tokens first


@contextmanager
def deterministic_cpu() -> Iterator[None]:
    """One thread, float32, gradients and a random stream of our own, whatever the caller has set.

    A sum's bits can depend on how many threads share it, hence a fixed number; and tensors are so
    small here that a second thread costs more than it brings on a machine that is busy.
    """
    import torch
    from transformers.utils import logging

    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    bars = logging.is_progress_bar_enabled()
    try:
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        logging.disable_progress_bar()
        with (
            torch.random.fork_rng(devices=[]),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
            torch.device("cpu"),
        ):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        if bars:
            logging.enable_progress_bar()


def new_tokenizer(texts: Sequence[str], vocabulary: int, longest: int) -> Tokenizer:
    """Return a byte-level BPE tokenizer of some texts, for contexts of `longest` tokens.

    Any text survives it. The 256 bytes and the special tokens are among the pieces of its
    vocabulary, which has fewer where every word of the texts is one before.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL_TOKENS[END],
        pad_token=SPECIAL_TOKENS[PAD],
        padding_side="left",
        model_max_length=longest,
        clean_up_tokenization_spaces=False,
    )


def new_model(
    vocabulary: int,
    seed: int,
    *,
    layers: int,
    hidden_size: int,
    heads: int,
    intermediate_size: int,
    initializer_range: float,
    longest: int,
) -> Model:
    """Return a Qwen3 with random weights. To be called `deterministic_cpu`.

    `heads`, each with its own keys and values, divide `hidden_size`; the weights have the standard
    deviation `initializer_range`; a context has `longest` tokens.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    # `torch.manual_seed` would seed the caller's accelerators too.
    torch.default_generator.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden_size // heads,
        intermediate_size=intermediate_size,
        initializer_range=initializer_range,
        max_position_embeddings=longest,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    return Qwen3ForCausalLM(config)
