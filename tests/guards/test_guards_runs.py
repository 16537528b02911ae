"""Guards in whole runs: what fires is told everywhere, what stops can go on, and nothing moves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from runs import SMALL, composed, run_here

from rlexp.cards.card import Card
from rlexp.launch.launcher import launch
from rlexp.launch.resume_plan import plan_resume
from rlexp.registry.promote import last_step
from rlexp.runtime.checkpoints import complete_checkpoints
from rlexp.spec.errors import UserError
from rlexp.sweep.trial import card_metrics

TWITCHY = ("guards.every=2", "guards.prompts=8", "guards.perplexity_rise=1.00001")
"""Any rise of the perplexity of held-out texts is too much, two steps after the start."""


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "spool.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def numbers(folder: Path) -> dict[tuple[int, str], float]:
    """What training and evaluations said, without what the guards and the clock add."""
    return {
        (event["step"], name): value
        for event in events(folder, "metrics")
        for name, value in event["metrics"].items()
        if name.startswith(("train/", "rollout/", "eval/"))
        and name not in ("rollout/distinct_2", "rollout/grammatical")
    }


def resumed(folder: Path, *overrides: str) -> None:
    resumption = plan_resume(folder, overrides)
    (folder / "config.yaml").write_text(yaml.safe_dump(resumption.config), encoding="utf-8")
    launch(resumption.spec, folder, None, resumption.checkpoint)


@pytest.mark.long
def test_a_stopped_run_tells_and_goes_on_as_if_nobody_had_watched(tmp_path: Path) -> None:
    """A stop that is silent, or FAILED, or keeps a checkpoint of the bad step, or has no value for
    a sweep, or cannot be gone on from; and a guard that draws from the training's random numbers:
    a run that was watched, stopped and gone on with has the bits of one that was not."""
    small = [*SMALL, "train.max_steps=4"]
    alone = run_here(tmp_path / "alone", *small, "guards=off")
    assert not (alone / "looks").exists()

    folder = run_here(tmp_path / "watched", *small, *TWITCHY, "guards.forgetting=stop")
    card = Card.from_json(folder / "card.json")
    assert card.status == "FINISHED"
    assert [(each.guard, each.step, each.action) for each in card.firings] == [
        ("forgetting", 2, "stop")
    ]
    assert card.guards[0].startswith("forgetting at step 2, and stopped the run: the perplexity")
    assert "step-000001" in card.notes[-1] and "guards.forgetting=warn" in card.notes[-1]
    page = (folder / "card.html").read_text(encoding="utf-8")
    assert "<h2>Guards</h2>" in page and "forgetting at step 2" in page
    assert [each.name for each in complete_checkpoints(folder / "checkpoints")] == ["step-000001"]
    assert (folder / "model" / "model.safetensors").is_file()
    assert last_step(folder) == 2
    assert "eval/reward" in card_metrics(json.loads((folder / "card.json").read_text()))
    tags = {
        name: value for event in events(folder, "tags") for name, value in event["tags"].items()
    }
    assert tags["stopped"] == "forgetting at step 2"
    assert tags["guard.forgetting"].startswith("step 2: the perplexity of held-out texts rose")
    assert "guards/forgetting/step-000002.json" in [e["file"] for e in events(folder, "table")]

    resumed(folder, "guards.forgetting=warn")
    after = Card.from_json(folder / "card.json")
    assert [(each.step, each.action) for each in after.firings] == [(2, "warn")]
    assert last_step(folder) == 4
    fired = [each for each in events(folder, "event") if each["event"] == "guard"]
    assert len(fired) == 1
    watched = numbers(folder)
    del_at_stop = {key for key in watched if key[0] == 2 and key[1].startswith("eval/")}
    for key, value in numbers(alone).items():
        assert watched[key] == value, key
    assert set(watched) - set(numbers(alone)) <= del_at_stop | {(2, "train/mean_loss")}
    with pytest.raises(UserError, match="has finished"):
        plan_resume(folder, [])


@pytest.mark.long
@pytest.mark.parametrize("algo", ["dpo", "ppo"])
def test_every_kind_of_trainer_can_be_stopped(algo: str, tmp_path: Path) -> None:
    """A trainer that logs after it asks whether to stop, or that learns from the data's answers
    and is never looked at."""
    options = [*SMALL, "train.max_steps=4", *TWITCHY, "guards=stop", f"algo={algo}"]
    card = json.loads((run_here(tmp_path, *options) / "card.json").read_text())
    assert [(each["guard"], each["step"]) for each in card["firings"]] == [("forgetting", 2)]
    assert max(step for step, _ in numbers(tmp_path)) == 2


@pytest.mark.long
def test_hacking_is_shown_by_samples_and_gold_is_measured(tmp_path: Path) -> None:
    """A firing that people must take on trust: the samples are in the spool's event, the table for
    MLflow and the card; and a reward of `eval.gold` that the card does not know."""
    options = [*SMALL, "train.max_steps=3", "algo.learning_rate=1e-2", "guards.every=2"]
    options += ["guards.threshold=0.1", "guards.patience=0", "reward=length"]
    options += ["+reward@eval.gold.kind=sentiment"]
    folder = run_here(tmp_path, *options)
    card = Card.from_json(folder / "card.json")
    assert {"gold_kind", "reference_perplexity"} <= set(card.before) & set(card.after)
    (firing,) = [each for each in card.firings if each.guard == "reward_hacking"]
    assert len(firing.samples) == 3 and all(each.completion for each in firing.samples)
    (table,) = [e for e in events(folder, "table") if e["file"].startswith("guards/reward_hack")]
    assert len(table["data"]) == 3 and {"completion", "what", "reward"} <= set(table["columns"])
    assert firing.samples[0].completion.strip()[:20] in (folder / "card.html").read_text()


@pytest.mark.slow
def test_two_processes_stop_at_the_same_step(tmp_path: Path) -> None:
    """A decision that only the first process knows of: the other waits for ever."""
    many = ["hardware=ddp", "hardware.device=cpu", "hardware.processes=2"]
    options = [*SMALL, "train.max_steps=4", *TWITCHY, "guards=stop", *many]
    card = json.loads((run_here(tmp_path, *options) / "card.json").read_text())
    assert card["status"] == "FINISHED"
    assert [each["step"] for each in card["firings"]] == [2]


def test_what_the_guards_do_is_words_of_three(tmp_path: Path) -> None:
    """A bare `off` is False in yaml; a word that no guard knows."""
    from rlexp.spec.guards import GuardsSpec

    config = composed("guards.collapse=stop")["guards"]
    assert GuardsSpec.model_validate(config | {"forgetting": False}).forgetting == "off"
    assert GuardsSpec.model_validate(config).may_stop
    assert GuardsSpec.model_validate(composed("guards=off")["guards"]).watched() == ()
    with pytest.raises(ValueError, match="collapse"):
        GuardsSpec.model_validate(config | {"collapse": "shout"})
