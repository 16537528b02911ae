"""A new model on the user's own texts: tokenizer and weights, their cache, and its first run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import SHORT, problems_of, run_here

from rlexp.builtin import scratch
from rlexp.data.load import load_data
from rlexp.spec.errors import UserError
from rlexp.spec.model import Shape

SHAPE = Shape(layers=1, hidden_size=16, heads=2, vocabulary=300, context=64)
TEXTS = ["the quick brown fox", "the lazy dog", "狐狸和狗"] * 5
SMALL = [
    "model=scratch",
    *["model.shape.layers=1", "model.shape.hidden_size=16", "model.shape.heads=2"],
    *["model.shape.vocabulary=400", "data.size=200"],
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_texts_shape_and_seed_make_the_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights or merges that depend on the caller's random state, threads or precision; a caller
    whose random state has moved."""
    first = scratch.ensure_scratch_model(SHAPE, TEXTS, 0)
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "other"))
    torch.manual_seed(17)
    state = torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        second = scratch.ensure_scratch_model(SHAPE, TEXTS, 0)
    assert torch.equal(torch.get_rng_state(), state)
    assert second != first and second.name == first.name
    assert files(second) == files(first)


def test_what_it_is_made_of_names_it() -> None:
    """A cache that gives the model of other texts, of another shape or of another seed."""
    changed = SHAPE.model_copy(update={"context": 65})
    asked: list[tuple[Any, ...]] = [
        (SHAPE, TEXTS, 0),
        (SHAPE, TEXTS, 1),
        (changed, TEXTS, 0),
        (SHAPE, [*TEXTS[1:], TEXTS[0] + "x"], 0),
        (SHAPE, ["".join(TEXTS)], 0),
    ]
    made = [scratch.ensure_scratch_model(*arguments) for arguments in asked]
    assert len(set(made)) == len(asked)
    weights = [(folder / "model.safetensors").read_bytes() for folder in made[:2]]
    assert weights[0] != weights[1]


def test_it_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that is trained anew for each attempt at a run."""
    folder = scratch.ensure_scratch_model(SHAPE, TEXTS, 0)
    monkeypatch.setattr(scratch, "new_tokenizer", None)
    assert scratch.ensure_scratch_model(SHAPE, TEXTS, 0) == folder


def test_it_has_the_shape_and_any_text_survives_its_tokenizer() -> None:
    """A knob of the shape that nothing reads; a character that the texts do not have."""
    from transformers import AutoConfig, AutoTokenizer

    folder = scratch.ensure_scratch_model(SHAPE, TEXTS, 0)
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    sizes = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads)
    assert sizes == (1, 16, 2) and config.max_position_embeddings == 64
    assert config.intermediate_size == 48
    assert 260 < config.vocab_size == len(tokenizer) <= 300
    for text in ["a fox, 狐狸", " é\n", "🦊"]:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("the quick brown fox")["input_ids"]) <= 5


def test_a_cache_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback from a lock file."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("RLEXP_CACHE", str(blocked))
    with pytest.raises(UserError, match="RLEXP_CACHE"):
        scratch.ensure_scratch_model(SHAPE, TEXTS, 0)


@pytest.mark.long
def test_it_is_pretrained_on_the_training_texts(tmp_path: Path) -> None:
    """A pre-training that learns nothing, or one that begins with what it should learn; a folder
    that no later run can begin from."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    sft = ["algo=sft", "reward=none", "algo.completion_only_loss=false", "algo.learning_rate=2e-2"]
    how = [*SHORT, *SMALL, *sft, "train.max_steps=12", "train.batch_size=16"]
    folder = run_here(tmp_path / "lm", *how)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    pieces = len(AutoTokenizer.from_pretrained(folder / "model"))
    assert pieces == 400
    assert pieces / 2 < card["before"]["perplexity"] < 2 * pieces  # as if all were as likely
    assert card["after"]["perplexity"] < 0.8 * card["before"]["perplexity"]
    (note,) = [note for note in card["notes"] if note.startswith("a new model")]
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert f"{model.num_parameters():,} random weights, {pieces} pieces" in note


def test_the_corpus_is_the_training_texts() -> None:
    """A tokenizer trained on held-out texts, on openings only, or on prompts without their
    answers where the algorithm reads prompts."""
    from runs import spec_of

    data = spec_of("data.size=200").data
    prompts, demonstrations = load_data(data, "prompts"), load_data(data, "demonstrations")
    corpus = prompts.corpus()
    assert corpus == demonstrations.corpus() and len(corpus) == len(prompts.train)
    assert not set(corpus) & set(prompts.texts)
    openings = [row["opening"] for row in prompts.train]
    pairs = zip(corpus, openings, strict=True)
    assert all(text.startswith(opening) and text != opening for text, opening in pairs)


@pytest.mark.parametrize(
    ("overrides", "key", "says"),
    [
        (["model=tiny", "model.path=builtin:scratch"], "model.shape", "Set model=scratch"),
        (["model=scratch", "model.path=builtin:tiny"], "model.shape", "Set model=local"),
        (["model=scratch", "model.shape.heads=3"], "model.shape.heads", "is the nearest"),
        (["model=scratch", "model.shape.hidden_size=33"], "model.shape.heads", "size even"),
        (["model=scratch", "model.shape.vocabulary=100"], "model.shape.vocabulary", "260"),
        (["model=scratch", "model.tokenizer=a/b"], "model.tokenizer", "trained on the data's"),
        (["model.path=builtin:scrtch"], "model.path", "builtin:tiny or builtin:scratch"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(overrides: list[str], key: str, says: str) -> None:
    """A shape that is ignored, or one that transformers would stumble over after a minute."""
    assert says in problems_of(*overrides)[key]
