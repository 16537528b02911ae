"""Code that loads a saved model and uses it, for its model card: it runs as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlexp.cards.card import Card
from rlexp.spec.model_kind import ModelKind

_WRITES = """\
inputs = {encoded}
written = model.generate(**inputs, max_new_tokens={tokens}, do_sample=True)
print(tokenizer.decode(written[0], skip_special_tokens=True))"""
_SCORES = """\
inputs = tokenizer({prompt} + " and so on" + tokenizer.eos_token, return_tensors="pt")
print(model(**inputs).logits[0, 0].item())"""


def snippet(
    config: Mapping[str, Any], card: Card, kind: ModelKind, adapter: bool, base_inside: bool
) -> str:
    """Return Python that loads the model in the current folder and writes, or scores, a text.

    Args:
        config: the run's composed config.
        card: gives the prompt.
        kind: of the model.
        adapter: whether the folder holds an adapter, whose base may stand in the subfolder `base`.
    """
    head = "".join(f", {name}={value}" for name, value in kind.config.items())
    prompt = repr(card.samples[0].prompt if card.samples else "Hello")
    lines = [f"from transformers import {kind.auto_class}, AutoTokenizer", ""]
    load = f"{kind.auto_class}.from_pretrained"
    if adapter and base_inside:
        lines.insert(0, "from peft import PeftModel")
        model = [f'base = {load}("base"{head})', 'model = PeftModel.from_pretrained(base, ".")']
    elif adapter and not kind.writes:
        auto_class = f"AutoPeftModelFor{kind.architecture}"
        lines = [f"from peft import {auto_class}", "from transformers import AutoTokenizer", ""]
        model = [f'model = {auto_class}.from_pretrained("."{head})']
    else:
        model = [f'model = {load}(".")']
    tokens = config["data"]["max_completion_length"]
    encoded = f'tokenizer({prompt}, return_tensors="pt")'
    if config["model"]["chat"]:
        turns = f'[{{"role": "user", "content": {prompt}}}]'
        encoded = (
            f"tokenizer.apply_chat_template(\n    {turns},\n"
            '    add_generation_prompt=True, return_dict=True, return_tensors="pt",\n)'
        )
    use = (_WRITES if kind.writes else _SCORES).format(
        encoded=encoded, tokens=tokens, prompt=prompt
    )
    return "\n".join([*lines, 'tokenizer = AutoTokenizer.from_pretrained(".")', *model, use])
