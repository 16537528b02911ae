"""An evaluation small enough for tests."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from rlexp.spec.reward import RewardSpec, Scores

SPEC: dict[str, Any] = dict(
    name="test",
    prompts=6,
    completions=2,
    every=0,
    texts=3,
    max_completion_length=12,
    temperature=1.0,
    batch_size=4,
    seed=7,
    bootstrap=200,
    judge=None,
    judge_prompts=6,
    gold={},
    texts_path=None,
    slices=[],
    best_of=0,
    best_of_prompts=6,
    benchmarks=dict(
        tasks=[], limit=None, num_fewshot=None, batch_size=3, apply_chat_template=False
    ),
    budget=None,
)


ROWS = [{"prompt": f"w{i} w{i + 1}", "wanted": i, "opening": f"w{i} w{i + 1}"} for i in range(10)]


class FewWords(RewardSpec):
    """Rewards few different words; draws from each global generator, as users' code may."""

    def __call__(self, prompts, completions, **columns):
        draws()
        return [-float(len(set(str(completion).split()))) for completion in completions]

    def score(self, prompts, completions, columns):
        values = self(prompts, completions)
        return Scores(
            values, {"few": values, "wanted": [float(each) for each in columns["wanted"]]}
        )


def draws():
    """The next number of each global generator."""
    return random.random(), np.random.rand(), torch.rand(1).item()


REWARD = FewWords(name="few")
