"""Cards of a sound run and of one that games its reward."""

from dataclasses import replace

import yaml
from rich.console import Console

from rlexp.cards.card import Identity, build_card
from rlexp.cards.cost import Cost
from rlexp.cards.terminal import print_card
from rlexp.evaluation.results import Evaluation, Sample
from rlexp.runtime.paths import CONF
from rlexp.spec.guards import GuardsSpec

GUARDS = GuardsSpec.model_validate(yaml.safe_load((CONF / "guards" / "default.yaml").read_text()))
"""Their defaults."""

IDENTITY = Identity(
    run_id="3f2a9c81d0b54e7f",
    name="sentiment",
    status="FINISHED",
    algo="grpo",
    model="tiny",
    data="reviews",
    reward="sentiment",
    seed=3,
    folder="outputs/one",
    open="rlexp open outputs/one",
)
COST = Cost(21.7, 75.0, 4120.0, 1312.0, {"train_seconds": 21.7, "gpu_memory_mib": 2048.0})
SOUND = {
    "reward": 0.03,
    "reward_sentiment": 0.03,
    "kl": 0.0,
    "perplexity": 3.36,
    "grammatical": 0.98,
    "length": 34.0,
    "distinct_1": 0.03,
    "distinct_2": 0.21,
    "ended": 0.97,
}
BETTER = SOUND | {"reward": 0.94, "reward_sentiment": 0.94, "kl": 0.11, "grammatical": 0.968}
HACKED = SOUND | {"reward": 1.0, "kl": 2.3, "perplexity": 19.0, "grammatical": 0.0, "ended": 0.0}


def evaluation(metrics, completion="was fun.", rewards=(0.0, 0.5, 1.0, 0.25)):
    samples = [
        Sample(f"prompt {index}", f"{completion} {index}", reward, {}, 4, True, 1.0)
        for index, reward in enumerate(rewards)
    ]
    intervals = {name: (value - 0.01, value + 0.01) for name, value in metrics.items()}
    return Evaluation(metrics, intervals, list(rewards), samples)


def card(after=BETTER, completion="was fun.", **changes):
    before = evaluation(SOUND)
    trained = evaluation(after, completion, (0.9, 0.5, 1.1, 0.3)) if after else None
    return card_of(before, trained, **changes)


def card_of(before, after, **changes):
    return build_card(
        replace(IDENTITY, **changes),
        before,
        after,
        COST,
        notes=["answers left out"],
        guards=GUARDS,
        resamples=200,
        seed=0,
    )


def shown(some_card):
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        print_card(some_card, console)
    return captured.get()
