"""The model card: a README that goes wherever the weights go, as the Hugging Face Hub reads it.

https://huggingface.co/docs/hub/model-cards says what its first block, in yaml, may hold.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.cards.card import Card
from rlexp.cards.labels import card_headline, format_verdicts, metric_rows
from rlexp.rendering.numbers import interval, number
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.components import component_class
from rlexp.spec.data import DataSpec
from rlexp.spec.model_kind import KINDS, Head, ModelKind
from rlexp.tracking.query.record import INPUT_TAG

if TYPE_CHECKING:
    from huggingface_hub import ModelCard, ModelCardData

NAME = "README.md"
UNKNOWN = "not known to this project: check it before you pass the model on"

USES: dict[Head, str] = {
    "language": "To go on from it: `python -m rlexp model=local model.path=FOLDER algo=dpo`.",
    "reward": "To train by it: `python -m rlexp reward=model reward.path=FOLDER`.",
}

_WRITES = """\
inputs = {encoded}
written = model.generate(**inputs, max_new_tokens={tokens}, do_sample=True)
print(tokenizer.decode(written[0], skip_special_tokens=True))"""
_SCORES = """\
inputs = tokenizer({prompt} + " and so on" + tokenizer.eos_token, return_tensors="pt")
print(model(**inputs).logits[0, 0].item())"""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SHOWN_VERSIONS = ("rlexp", "trl", "transformers", "peft", "torch")


@dataclass(frozen=True)
class Weights:
    """The weights in the folder that the card describes."""

    step: int
    """Optimizer steps that made it."""
    adapter: bool
    """An adapter, rather than whole weights."""
    base_inside: bool = False
    """The adapter's base stands in the subfolder `base`."""


def model_card(
    config: Mapping[str, Any], card: Card, origin: Mapping[str, str], weights: Weights
) -> ModelCard:
    """Return the card of a run's weights; `save(path)` writes it.

    Args:
        config: the run's composed config.
        card: its evaluation before training and of these weights.
        origin: tags of the run: command, commit, versions.

    Raises:
        ValueError: the front matter would not be what the hub understands.
    """
    from huggingface_hub import ModelCard

    model, data, algo = config["model"], config["data"], algorithm_of(config)
    template = files("rlexp.cards") / "templates" / "model_card.md"
    commit = origin.get("mlflow.source.git.commit", "unknown")
    dirty = origin.get("git.dirty") == "true"
    versions = {tag.removeprefix("version."): version for tag, version in origin.items()}
    return ModelCard.from_template(
        _front_matter(config, card, weights),
        template_str=template.read_text(encoding="utf-8"),
        title=card.name,
        what=training_summary(config),
        headline=_sentence(card_headline(card)),
        rows=[
            (row.label, number(row.before), number(row.after), interval(row.low, row.high))
            for row in metric_rows(card)
        ],
        verdicts=format_verdicts(card),
        snippet=snippet(config, card, KINDS[algo.head], weights),
        needs=", with peft installed" if weights.adapter else "",
        base=_place(model["name"], model["path"], model["revision"]),
        base_licence=model["license"] or UNKNOWN,
        data=_of_each(data, _data_set),
        data_licence=data["license"] or _of_each(data, lambda one: one["license"] or UNKNOWN),
        method=_first_line(algo) + ".",
        reward=config["reward"]["name"],
        training=_training(config, weights),
        command=origin.get("command", "unknown"),
        run_id=card.run_id or "not tracked in MLflow",
        name=card.name,
        ancestors=[
            (tag.removeprefix(INPUT_TAG), runs)
            for tag, runs in sorted(origin.items())
            if tag.startswith(INPUT_TAG)
        ],
        seed=card.seed,
        commit=f"{commit}, with changes that were not committed (git.diff)" if dirty else commit,
        versions=", ".join(
            f"{name} {versions[name]}" for name in _SHOWN_VERSIONS if name in versions
        ),
        use=USES[algo.head],
        notes=card.notes,
        limits=_limits(config, card, weights),
    )


def snippet(config: Mapping[str, Any], card: Card, kind: ModelKind, weights: Weights) -> str:
    """Return Python that loads the model in the current folder and writes, or scores, a text.

    An adapter's base may stand in the subfolder `base`.
    """
    head = "".join(f", {name}={value}" for name, value in kind.config.items())
    prompt = repr(card.samples[0].prompt if card.samples else "Hello")
    lines = [f"from transformers import {kind.auto_class}, AutoTokenizer", ""]
    load = f"{kind.auto_class}.from_pretrained"
    if weights.adapter and weights.base_inside:
        lines.insert(0, "from peft import PeftModel")
        model = [f'base = {load}("base"{head})', 'model = PeftModel.from_pretrained(base, ".")']
    elif weights.adapter and not kind.writes:
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


def card_at_step(card: Card, metrics: Mapping[str, float], intervals: Mapping[str, Any]) -> Card:
    """Return a run's card as it would be, had the run ended with the evaluation of this step."""
    return replace(
        card,
        after=dict(metrics),
        intervals={name: list(ends) for name, ends in intervals.items()},
        win_rate=None,
        guards=[],
        samples=[replace(pair, after=None, reward_after=None) for pair in card.samples],
    )


def training_summary(config: Mapping[str, Any]) -> str:
    """Return what was trained on what by which algorithm, in a sentence."""
    parts = ("model", "data", "algo", "reward")
    model, data, algo, reward = (config[part]["name"] for part in parts)
    rewarded = "" if reward == "none" or algo == "sft" else f", for the reward {reward}"
    if not KINDS[algorithm_of(config).head].writes:
        return f"A reward model: {model}, trained on pairs of {data} to score texts."
    return f"{model}, trained by {algo} on {data}{rewarded}."


def algorithm_of(config: Mapping[str, Any]) -> type[AlgoSpec]:
    """Return the class of a run's algorithm, which knows what kind of model it trains."""
    return component_class(config["algo"], AlgoSpec, "algo")


def hub_id(path: str) -> bool:
    """Return whether a model or data set is the hub's, so that everybody can have it."""
    return _HUB_ID.fullmatch(path) is not None and not Path(path).expanduser().exists()


def _front_matter(config: Mapping[str, Any], card: Card, weights: Weights) -> ModelCardData:
    from huggingface_hub import EvalResult, ModelCardData

    model, data, algo = config["model"], config["data"], config["algo"]["name"]
    paths = [path for one in _data_sets(data).values() if hub_id(path := one.get("path") or "")]
    writes = KINDS[algorithm_of(config).head].writes
    task = "text-generation" if writes else "text-classification"
    dataset_type = paths[0] if paths and "path" in data else data["name"]
    results = [
        EvalResult(task, dataset_type, data["name"], metric_type=name, metric_value=value)
        for name, value in card.after.items()
        if value is not None and name in ("reward", "accuracy", "perplexity", "kl")
    ]
    known = model["license"] is not None
    front_matter = ModelCardData(
        license=model["license"] if known else "other",
        license_name=None if known else "unknown",
        base_model=model["path"] if hub_id(model["path"]) else None,
        datasets=paths or None,
        library_name="peft" if weights.adapter else "transformers",
        pipeline_tag=task,
        tags=["rlexp", "trl", algo, "reinforcement-learning"],
        model_name=card.name,
        eval_results=results or None,
    )
    if hub_id(model["path"]):
        front_matter["base_model_relation"] = "adapter" if weights.adapter else "finetune"
    return front_matter


def _data_sets(data: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the data sets of a config by their names in the mix; a single one has none."""
    return data.get("sources", {"": data})


def _of_each(data: Mapping[str, Any], words: Callable[[Mapping[str, Any]], str]) -> str:
    """Return what is said of a data set; of a mix what is said of each."""
    said = (f"{name}: {words(one)}" for name, one in _data_sets(data).items())
    return "; ".join(said).removeprefix(": ")


def _data_set(data: Mapping[str, Any]) -> str:
    place = _place(data["name"], data.get("path") or "", data.get("revision"))
    return f"{place} ({_first_line(component_class(data, DataSpec, 'data'))})"


def _place(name: str, path: str, revision: str | None) -> str:
    if not path:
        return name
    if hub_id(path):
        return f"{name}, {path} on the hub" + (f" at {revision}" if revision else "")
    if path.startswith("builtin:"):
        return f"{name}, which rlexp makes itself"
    if ":" in path:  # registry:name/version
        return f"{name}, {path}"
    return f"{name}, from the folder {Path(path).name} of the machine where it was made"


def _training(config: Mapping[str, Any], weights: Weights) -> str:
    train, peft = config["train"], config["peft"]["kind"]
    through = "an adapter" if weights.adapter else "all weights"
    if peft not in ("none", "auto") and not weights.adapter:
        through = f"{peft}, merged into the base"
    steps = f"{weights.step} of {train['max_steps']} steps of {train['batch_size']}"
    return f"{steps}, learning rate {config['algo']['learning_rate']:g}, {through}."


def _limits(config: Mapping[str, Any], card: Card, weights: Weights) -> list[str]:
    limits = list(card.guards)
    count = config["eval"]["prompts"]
    limits.append(
        f"Measured on at most {count} held-out prompts of {config['data']['name']}, by the same "
        "reward that it was trained for: a higher reward is not by itself a better text."
    )
    limits.append("Not tested for safety, bias or facts.")
    if not card.after:
        limits.insert(0, f"Step {weights.step} was not evaluated: the table shows the start only.")
    if config["model"]["path"] == "builtin:tiny":
        limits.append("Its vocabulary is a few hundred words of film reviews: made for teaching.")
    return limits


def _first_line(kind: type) -> str:
    """Return the first sentence of the docstring of a component's module."""
    docstring = (sys.modules[kind.__module__].__doc__ or kind.__doc__ or "").strip()
    return " ".join(docstring.partition("\n\n")[0].split()).rstrip(".")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
