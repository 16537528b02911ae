"""Code that loads a saved model and uses it, for its model card: it runs as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlexp.cards.card import Card
from rlexp.spec.model_kind import KINDS

_WRITES = """\
inputs = {encoded}
written = model.generate(**inputs, max_new_tokens={tokens}, do_sample=True)
print(tokenizer.decode(written[0], skip_special_tokens=True))"""
_SCORES = """\
inputs = tokenizer({prompt} + " and so on" + tokenizer.eos_token, return_tensors="pt")
print(model(**inputs).logits[0, 0].item())"""


def snippet(config: Mapping[str, Any], card: Card, adapter: bool, base_inside: bool) -> str:
    """Return Python that loads the model in the current folder and writes, or scores, a text.

    Args:
        config: the run's composed config.
        card: gives the prompt.
        adapter: whether the folder holds an adapter.
        base_inside: whether the adapter's base stands in the subfolder `base`.
    """
    kind = KINDS["reward" if config["algo"]["name"] == "reward" else "language"]
    head = "".join(f", {name}={value}" for name, value in kind.config.items())
    prompt = repr(card.samples[0].prompt if card.samples else "Hello")
    lines = [f"from transformers import {kind.auto_class}, AutoTokenizer", ""]
    load = f"{kind.auto_class}.from_pretrained"
    if adapter and base_inside:
        lines.insert(0, "from peft import PeftModel")
        model = [f'base = {load}("base"{head})', 'model = PeftModel.from_pretrained(base, ".")']
    elif adapter and not kind.writes:
        lines = [
            f"from peft import AutoPeftModelFor{kind.architecture}",
            "from transformers import AutoTokenizer",
        ]
        lines.append("")
        model = [f'model = AutoPeftModelFor{kind.architecture}.from_pretrained("."{head})']
    else:
        model = [f'model = {load}(".")']
    tokens = config["data"]["max_completion_length"]
    chat = config["model"]["chat"]
    encoded = f'tokenizer({prompt}, return_tensors="pt")'
    if chat:
        turns = f'[{{"role": "user", "content": {prompt}}}]'
        encoded = (
            f"tokenizer.apply_chat_template(\n    {turns},\n"
            '    add_generation_prompt=True, return_dict=True, return_tensors="pt",\n)'
        )
    use = (
        _WRITES.format(encoded=encoded, tokens=tokens)
        if kind.writes
        else _SCORES.format(prompt=prompt)
    )
    return "\n".join([*lines, 'tokenizer = AutoTokenizer.from_pretrained(".")', *model, use])
