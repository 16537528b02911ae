"""Knobs that mean nothing together are refused before anything heavy is loaded, all at once."""

from __future__ import annotations

import math
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import yaml
from runs import composed

from rlexp.algos.common.pairings import CISPO_CAP
from rlexp.algos.grpo import Grpo
from rlexp.spec.errors import UserError
from rlexp.spec.run import RunSpec


@cache
def composed_once(choice: str) -> dict[str, Any]:
    return composed(choice)


def spec_of(*words: str) -> RunSpec:
    """As `runs.spec_of`, of an `algo=` and its knobs alone, without Hydra for each of them."""
    choices = [word for word in words if word.startswith("algo=")]
    config = deepcopy(composed_once(choices[0] if choices else "algo=grpo"))
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        *parts, name = key.split(".")
        if parts:
            part = config["algo"]["trl"] if "trl" in parts else config["algo"]
            part[name] = yaml.safe_load(value)
    return RunSpec.parse(config)


def problems_of(*words: str) -> dict[str, str]:
    with pytest.raises(UserError) as caught:
        spec_of(*words)
    return {problem.key: str(problem) for problem in caught.value.problems}


def loss_arguments(*words: str) -> dict[str, Any]:
    algo = spec_of(*words).algo
    assert isinstance(algo, Grpo)
    return algo.loss_arguments()


def test_what_trl_is_told_of_a_loss() -> None:
    """A cap of 0.2, which makes a fifth of every token's weight; a sequence's loss over tokens'
    ratios; a clip beside a trust region; an entropy target that TRL does not look at."""
    token = {"importance_sampling_level": "token"}
    assert loss_arguments("algo.loss_type=cispo") == {**token, "epsilon_high": CISPO_CAP}
    assert loss_arguments("algo.loss_type=cispo", "algo.epsilon_high=3") == token
    assert loss_arguments("algo.loss_type=dapo", "algo.epsilon_high=0.28") == token
    sequence = {"importance_sampling_level": "sequence"}
    assert loss_arguments("algo.loss_type=luspo") == sequence
    gspo = ["algo.loss_type=grpo", "algo.importance_sampling_level=sequence"]
    assert loss_arguments(*gspo) == sequence
    region = loss_arguments("algo.trust_region=tv", "algo.num_iterations=2")
    assert region == {**token, "epsilon": math.inf, "epsilon_high": math.inf}
    target = {"use_adaptive_entropy": True, "entropy_target": 2.0}
    assert loss_arguments("algo.entropy_target=2") == {**token, **target}


AGAIN = "algo.num_iterations=2"


@pytest.mark.parametrize(
    ("words", "key", "says"),
    [
        ("algo.loss_type=cispo algo.epsilon_high=0.28", "epsilon_high", "algo.epsilon_high=5"),
        (
            "algo.loss_type=luspo algo.importance_sampling_level=token",
            "importance_sampling_level",
            "sequence with",
        ),
        ("algo.importance_sampling_level=sequence", "importance_sampling_level", "token with"),
        ("algo.loss_type=sapo algo.epsilon_high=0.3", "epsilon_high", "does not read it"),
        (f"algo.loss_type=sapo algo.delta=4 {AGAIN}", "delta", "algo.loss_type=grpo"),
        (f"algo.delta=1.1 {AGAIN}", "delta", "above 1.2"),
        ("algo.delta=4", "delta", "algo.num_iterations=2"),
        ("+algo.trl.sapo_temperature_pos=2", "trl.sapo_temperature_pos", "algo.loss_type=sapo"),
        ("+algo.trl.vespo_k_neg=1", "trl.vespo_k_neg", "algo.loss_type=vespo"),
        ("algo.trust_region=kl", "trust_region", "algo.num_iterations=2"),
        (f"algo.trust_region=kl algo.loss_type=cispo {AGAIN}", "trust_region", "bounds of its own"),
        (f"algo.trust_region=kl algo.loss_type=luspo {AGAIN}", "trust_region", "whole answers"),
        (f"algo.trust_region=kl algo.delta=4 {AGAIN}", "delta", "never clips"),
        ("algo.off_policy_mask_threshold=1", "off_policy_mask_threshold", "has not moved yet"),
        ("algo.entropy_control=kl_cov", "entropy_control", "algo.num_iterations=2"),
        ("algo.entropy_control=clip_cov algo.loss_type=vespo", "entropy_control", "none with"),
        ("algo.cov_share=0.01", "cov_share", "algo.entropy_control=clip_cov"),
        ("algo.entropy_control=clip_cov algo.clip_cov_low=6", "clip_cov_low", "algo.clip_cov_high"),
        ("algo.kl_estimator=k1 algo.kl_importance_weights=false", "kl_estimator", "k2"),
        ("algo=rloo algo.kl_in=loss algo.kl_importance_weights=false", "kl_estimator", "k2"),
        ("algo.kl_estimator=k2", "kl_estimator", "algo.kl_importance_weights=false"),
        ("+algo.trl.sync_ref_model=true", "trl.sync_ref_model", "algo.sync_reference instead"),
        ("+algo.trl.entropy_coef=0.1", "trl.entropy_coef", "algo.entropy_coefficient instead"),
        (
            "algo=dpo algo.sync_reference=2 +algo.trl.precompute_ref_log_probs=true",
            "sync_reference",
            "null",
        ),
        ("algo=reinforce algo.sync_reference=2 algo.beta=0", "sync_reference", "algo.beta=0.05"),
        ("algo=dpo algo.label_smoothing=0.1", "label_smoothing", "algo.loss_type=[robust]"),
        ("algo=dpo algo.loss_type=[robust]", "label_smoothing", "above 0 for robust"),
        ("algo=dpo algo.loss_type=[exo_pair]", "label_smoothing", "above 0 for exo_pair"),
        ("algo=dpo +algo.trl.discopop_tau=0.1", "trl.discopop_tau", "discopop"),
        (
            "algo=dpo algo.loss_type=[aot] +algo.trl.f_divergence_type=forward_kl",
            "trl.f_divergence_type",
            "reverse_kl",
        ),
        ("algo=cpo algo.loss_type=ipo algo.label_smoothing=0.1", "label_smoothing", "sigmoid"),
    ],
    ids=lambda value: value if "=" in value else "",
)
def test_what_is_refused(words: str, key: str, says: str) -> None:
    """A knob that is turned and turns nothing, or something else than it says."""
    assert says in problems_of(*words.split())[f"algo.{key}"]


def test_all_mistakes_are_told_at_once() -> None:
    """One mistake after the other, each with a start of its own."""
    words = "algo.loss_type=sapo algo.epsilon_high=0.3 algo.delta=4 algo.entropy_control=kl_cov"
    assert {"algo.epsilon_high", "algo.delta", "algo.entropy_control"} <= set(
        problems_of(*words.split(), "+algo.trl.vespo_k_neg=1", "algo.kl_estimator=k1")
    )


@pytest.mark.parametrize(
    "words",
    [
        "algo.loss_type=sapo +algo.trl.sapo_temperature_pos=2",
        f"algo.delta=4 {AGAIN}",
        f"algo.trust_region=tv {AGAIN}",
        "algo.trust_region=tv +algo.trl.steps_per_generation=2",
        "algo.entropy_control=clip_cov algo.cov_share=0.01",
        f"algo.entropy_control=kl_cov {AGAIN}",
        "algo.kl_estimator=k1",
        "algo.kl_estimator=k2 algo.kl_importance_weights=false",
        "algo.kl_estimator=k1 algo.kl_importance_weights=false algo.beta=0",
        "algo.kl_in=reward algo.kl_estimator=k1 algo.kl_importance_weights=false",
        "algo=dpo algo.loss_type=[aot,sigmoid] algo.label_smoothing=0.1",
        "algo=kto algo.sync_reference=5",
    ],
)
def test_what_is_not(words: str) -> None:
    """A pairing refused that means what it says."""
    assert spec_of(*words.split()).algo
