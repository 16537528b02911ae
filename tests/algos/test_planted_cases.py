"""Plain trainings that learn nothing: most prompts teach nothing, or terms cancel in their sum."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from bandit import FIRST_ARM, ONE_TOKEN, bandit_spec, save_bandit, trained
from transformers import AutoModelForCausalLM

from rlexp.spec.reward import RewardSpec, Term

COMMON = (
    f"{ONE_TOKEN} algo.beta=0 algo.num_generations=8 algo.learning_rate=1e-2 "
    "train.batch_size=16 train.max_steps=4"
)
TAUGHT = "p a7"
PAID = ("a0", "a1", "a2", "a3")
IDLE = [{"prompt": f"p a{first} a{second}"} for first in range(8) for second in range(8)]


class OnePrompt(RewardSpec):
    """1 for the first four arms, at one prompt of many."""

    def __call__(self, prompts: Any, completions: Any, **columns: Any) -> list[float]:
        pairs = zip(prompts, completions, strict=True)
        return [float(prompt == TAUGHT and text.strip() in PAID) for prompt, text in pairs]


class Pays(RewardSpec):
    """What an arm pays."""

    arms: dict[str, float]

    def __call__(self, prompts: Any, completions: Any, **columns: Any) -> list[float]:
        return [self.arms.get(text.strip(), 0.0) for text in completions]


class Cancels(RewardSpec):
    """Three terms whose sum is 0 for every arm."""

    scale: Literal["none", "group"]

    def terms_by_name(self) -> dict[str, Term]:
        terms = {"x": {"a0": 1.0}, "y": {"a0": -1.0, "a1": 1.0}, "z": {"a1": -1.0}}
        return {
            name: Term(Pays(name=name, arms=arms), normalize=self.scale)
            for name, arms in terms.items()
        }


def first_arms(model: Any, *prompt: int) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor([prompt])).logits[0, -1].double().softmax(-1)[FIRST_ARM:]


@pytest.mark.long
@pytest.mark.parametrize("algo", ["grpo", pytest.param("rloo", marks=pytest.mark.slow)])
def test_dynamic_sampling_learns_what_few_prompts_teach(algo: str, tmp_path: Path) -> None:
    """Steps on groups that all earn the same; answers rewarded as those of the replaced rows."""
    folder = save_bandit(tmp_path / "bandit", seed=0)
    taught = (2, FIRST_ARM + 7)
    before = first_arms(AutoModelForCausalLM.from_pretrained(folder), *taught)[:4].sum()
    gains = {}
    for attempts in (0, 32):
        words = f"algo={algo} algo.dynamic_sampling={attempts} {COMMON}"
        spec = bandit_spec(folder, words).model_copy(update={"reward": OnePrompt(name="one")})
        model = trained(spec, [*IDLE, {"prompt": TAUGHT}], tmp_path / str(attempts))
        gains[attempts] = float(first_arms(model, *taught)[:4].sum() - before)
    assert abs(gains[0]) < 0.01 and gains[32] > 0.1, gains


@pytest.mark.long
@pytest.mark.parametrize("algo", ["grpo", pytest.param("rloo", marks=pytest.mark.slow)])
def test_gdpo_learns_where_a_sum_says_nothing(algo: str, tmp_path: Path) -> None:
    """A total that is summed before its terms are scaled, or scaled once more by its group."""
    folder = save_bandit(tmp_path / "bandit", seed=0)
    before = first_arms(AutoModelForCausalLM.from_pretrained(folder), 2)
    moved = {}
    for scale in ("none", "group"):
        spec = bandit_spec(folder, f"algo={algo} {COMMON}")
        spec = spec.model_copy(update={"reward": Cancels(name="cancels", scale=scale)})
        moved[scale] = first_arms(trained(spec, [{"prompt": "p"}] * 8, tmp_path), 2) - before
    assert moved["none"].abs().max() < 1e-6
    assert moved["group"][0] > 0.02 and moved["group"][1] < -0.01
