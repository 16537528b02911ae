"""How fast rollouts are beside transformers' `generate`: python benchmarks/rollout.py [--big]

Both sample from the same weights at temperature 1, in turns; the ratio is the median over pairs of
neighbours, so that what slows the machine for a while slows both. `passes` is a loop that only
feeds as many tokens to the model as `generate` does, with transformers' own cache, and samples
nothing. `--big` takes random weights in the shape of Qwen2.5-0.5B, which never end an answer.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache, Qwen2Config, Qwen2ForCausalLM

from rlexp.builtin import tiny
from rlexp.models.sampling.rollout import roll_out

Lists = list[list[int]]


def tiny_model(folder: str | None) -> Any:
    """The embedded model, or one in a folder, as a run loads it."""
    return AutoModelForCausalLM.from_pretrained(
        folder or tiny.ensure_tiny_model(), dtype=torch.float32
    )


def big_model() -> Any:
    """Random weights in the shape of Qwen2.5-0.5B."""
    config = Qwen2Config(
        vocab_size=151936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        eos_token_id=151645,
        pad_token_id=151643,
    )
    return Qwen2ForCausalLM(config)


def prompts_of(model: Any, batch: int, distinct: int, longest: int) -> Lists:
    """Random prompts of several lengths, each repeated as GRPO repeats them."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(longest // 2, longest + 1, (distinct,), generator=draw).tolist()
    low, high = 5, min(model.config.vocab_size, 151643)
    prompts = [torch.randint(low, high, (n,), generator=draw).tolist() for n in lengths]
    return [prompt for prompt in prompts for _ in range(batch // distinct)]


def padded(prompts: Lists, pad: int) -> dict[str, torch.Tensor]:
    """What `generate` takes."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return {"input_ids": ids, "attention_mask": mask}


def ways(model: Any, prompts: Lists, tokens: int) -> dict[str, Callable[[], Any]]:
    """The same work by rlexp, by transformers, and without any sampling."""
    eos, pad = model.config.eos_token_id, model.config.pad_token_id
    batch = padded(prompts, pad)

    def rlexp() -> Any:
        return roll_out(
            model, prompts, max_new_tokens=tokens, eos_token_ids=[eos], pad_token_id=pad
        )

    def transformers() -> Any:
        options = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        return model.generate(
            **batch, **options, max_new_tokens=tokens, eos_token_id=eos, pad_token_id=pad
        )

    @torch.no_grad()
    def passes() -> None:
        cache = DynamicCache(config=model.config)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        positions = (mask.cumsum(1) - 1).clamp_(min=0)
        for _ in range(tokens):
            model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            ids, positions = ids[:, -1:], positions[:, -1:] + 1
            mask = torch.cat([mask, torch.ones_like(ids)], 1)

    return {"rlexp": rlexp, "transformers": transformers, "passes": passes}


def compare(model: Any, prompts: Lists, tokens: int, pairs: int, title: str) -> None:
    """Print the median seconds of each way, and the ratios of neighbours."""
    each = ways(model, prompts, tokens)
    for way in each.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in each}
    for _ in range(pairs):
        for name, way in each.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    print(f"{title}, up to {tokens} new tokens, {torch.get_num_threads()} threads")
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(times, seconds["rlexp"], strict=True)]
        print(
            f"  {name:14}{statistics.median(times):7.3f} s"
            f"  {statistics.median(ratios):5.2f} of rlexp's time"
            f"  [{min(ratios):.2f}, {max(ratios):.2f}]",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--big", action="store_true")
    parser.add_argument("--model", help="folder of the small model; by default the embedded one")
    parser.add_argument("--pairs", type=int, default=9)
    asked = parser.parse_args()
    torch.manual_seed(0)
    if asked.big:
        model = big_model().eval()
        for distinct in (8, 1):
            prompts = prompts_of(model, 8, distinct, 32)
            compare(model, prompts, 32, asked.pairs, f"0.5B, 8 rows of {distinct} prompts")
        return
    model = tiny_model(asked.model).eval()
    for batch in (64, 256):
        for distinct in (batch, batch // 8):
            prompts = prompts_of(model, batch, distinct, 8)
            title = f"tiny, {batch} rows of {distinct} prompts"
            compare(model, prompts, 48, asked.pairs, title)


if __name__ == "__main__":
    main()
