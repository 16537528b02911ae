"""Pipelines as their folders tell them, without a training, for tests of what reads them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from runs import composed
from some_card import COST, GUARDS, IDENTITY

from rlexp.cards.card import build_card
from rlexp.evaluation.ranking.calibration import pair_measures
from rlexp.evaluation.ratios import averages, sample_ratios, sum_by_prompt
from rlexp.evaluation.results import ANSWERS, Evaluation, Sample

PROMPTS = tuple(f"The film number {index}" for index in range(40))
COMPLETIONS = 3
RESAMPLES = 100
GOLD = "+reward@eval.gold.sentiment=sentiment"

_composed = cache(composed)


def answers(
    mean: float,
    gold: Mapping[str, float] | None = None,
    *,
    follows: float = 1.0,
    kl: float = 0.0,
    text: str = "was fine",
    prompts: Sequence[str] = PROMPTS,
) -> Evaluation:
    """An evaluation of a policy.

    Args:
        mean: of its reward; prompts have an ease of their own.
        gold: means of the gold rewards, by name.
        follows: how far an answer's own quality decides its gold reward: 1 wholly, -1 turned round.
        kl: nats a token.
        text: that all its answers begin with.
        prompts: held out.
    """
    noise = random.Random(f"{mean} {gold} {text}")
    samples = []
    for place, prompt in enumerate(prompts):
        ease = random.Random(prompt).uniform(-0.3, 0.3)
        for index in range(COMPLETIONS):
            quality = noise.uniform(-0.1, 0.1)
            others = {
                name: value + ease + follows * quality + noise.uniform(-0.02, 0.02)
                for name, value in (gold or {}).items()
            }
            sample = Sample(prompt, f"{text} {index}", mean + ease + quality, {}, 4, True, 1.0)
            samples.append(replace(sample, gold=others, prompt_id=place))
    nats = [kl * 4.0] * len(samples)
    measured = sample_ratios(samples, nats, nats)
    ratios = sum_by_prompt(measured, [COMPLETIONS] * len(prompts))
    ratios["perplexity"] = ([1.2 + kl] * len(prompts), [1.0] * len(prompts))
    metrics, intervals = averages(ratios, RESAMPLES, 0)
    sums, counts = ratios["reward"]
    means: list[float | None] = [total / count for total, count in zip(sums, counts, strict=True)]
    return Evaluation(metrics, intervals, means, samples, 1.0, ratios)


def ranked(right: int, margin: float = 2.0, pairs: int = 50) -> Evaluation:
    """An evaluation of a reward model that has so many of its pairs in the right order."""
    margins = [margin if place < right else -margin for place in range(pairs)]
    samples = [
        Sample(f"pair {place}", answer, score, {}, 4, True, None, {}, place, answer)
        for place, difference in enumerate(margins)
        for answer, score in zip(ANSWERS, (difference, 0.0), strict=True)
    ]
    ratios = {name: (values, [1.0] * pairs) for name, values in pair_measures(margins).items()}
    metrics, intervals = averages(ratios, RESAMPLES, 0)
    return Evaluation(metrics, intervals, [], samples, 1.0, ratios)


class FakePipeline:
    """A pipeline's folder, to which stages are added in the order in which they run."""

    def __init__(self, place: Path, name: str = "rlhf") -> None:
        self.place, self.name = place, name
        self.folder = place / "outputs" / "pipelines" / "0123456789abcdef"
        self.folder.mkdir(parents=True)
        self.stages: list[dict[str, Any]] = []

    def stage(
        self,
        name: str,
        evaluations: Mapping[int, Evaluation] | None,
        *overrides: str,
        state: str = "finished",
        turn: int | None = None,
        edit: Callable[[dict[str, Any]], None] = lambda config: None,
        **parents: str,
    ) -> Path:
        """Add a stage, and return its run's folder.

        Args:
            name: the stage's.
            evaluations: by step; None for a stage without a run.
            overrides: of its config.
            state: as the pipeline tells it.
            turn: of a loop.
            edit: changes the config where no override can.
            parents: the stages that it uses, by its keys with `__` for the dots.
        """
        folder = self.place / "outputs" / "stages" / f"{len(self.stages):016x}"
        folder.mkdir(parents=True)
        config = json.loads(json.dumps(_composed("eval.bootstrap=100", *overrides)))
        edit(config)
        by_key = {key.replace("__", "."): used for key, used in parents.items()}
        self.stages.append(
            {
                "name": name,
                "key": folder.name,
                "folder": str(folder),
                "run_id": f"{len(self.stages):032x}",
                "algo": config["algo"]["name"],
                "state": state,
                "parents": by_key,
                "made": None,
                "chosen": None,
                "round": turn,
                "seconds": None if evaluations is None else 75.0,
            }
        )
        self._write()
        if evaluations is not None:
            _write_run(folder, config, evaluations)
        return folder

    def _write(self) -> None:
        content = {
            "name": self.name,
            "status": "FINISHED",
            "run_id": "f" * 32,
            "words": [f"pipeline={self.name}"],
            "stages": self.stages,
        }
        (self.folder / "pipeline.json").write_text(json.dumps(content), encoding="utf-8")


def _write_run(
    folder: Path, config: Mapping[str, Any], evaluations: Mapping[int, Evaluation]
) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    for step, evaluation in evaluations.items():
        evaluation.to_json(folder / "evaluations" / f"step-{step:06d}.json")
    card = build_card(
        replace(IDENTITY, algo=config["algo"]["name"]),
        evaluations.get(0),
        evaluations[max(evaluations)],
        COST,
        notes=[],
        guards=GUARDS,
        resamples=RESAMPLES,
        seed=0,
    )
    card.to_json(folder / "card.json")


def evaluate_against(path: str) -> Callable[[dict[str, Any]], None]:
    """What makes of a config that of an evaluation of a model against the one that it names."""

    def edit(config: dict[str, Any]) -> None:
        config["algo"] = {
            "_target_": "rlexp.algos.evaluate.Evaluate",
            "name": "evaluate",
            "learning_rate": None,
            "model": path,
            "of_run": False,
            "trl": {},
        }

    return edit


def rlhf(place: Path) -> FakePipeline:
    """SFT, a reward model, PPO that over-optimises it, DPO from the same stem."""
    pipeline = FakePipeline(place)
    base, tuned = answers(0.05, text="was there"), answers(0.4, kl=0.2, text="was good")
    pipeline.stage("sft", {0: base, 30: tuned}, "algo=sft", "reward=sentiment")
    rm = pipeline.stage("rm", {0: ranked(27), 40: ranked(47)}, "algo=reward", model__path="sft")
    along = ((0, 0.0, 0.4), (10, 1.0, 0.7), (20, 2.0, 0.9), (30, 3.0, 0.7), (40, 4.0, 0.5))
    pipeline.stage(
        "ppo",
        {
            step: answers(
                learned,
                {"sentiment": gold},
                follows=1.0 - step / 20,
                kl=step / 100,
                text="was good" if step == 0 else f"was great at {step}",
            )
            for step, learned, gold in along
        },
        "algo=ppo",
        "eval.every=10",
        GOLD,
        "reward=model",
        f"reward.path={rm}",
        model__path="sft",
        reward__path="rm",
    )
    pipeline.stage(
        "dpo", {0: tuned, 20: answers(0.8, text="was fun")}, "algo=dpo", model__path="sft"
    )
    pipeline.stage(
        "ppo@base",
        {0: base, 40: answers(0.5, kl=0.7, text="was great at 40")},
        "algo=sft",
        "reward=sentiment",
        edit=evaluate_against("somewhere"),
        algo__model="ppo",
    )
    return pipeline
