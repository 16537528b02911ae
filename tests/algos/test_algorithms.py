"""Every algorithm that TRL lends: what it asks of the rest, and that a run of it does its work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from runs import problems_of, run_of, spec_of
from safetensors.torch import load_file

from rlexp.builtin import tiny
from rlexp.config.hydra import choice_files
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import UserError

ALGORITHMS = sorted(file.stem for file in (CONF / "algo").glob("*.yaml"))
MODELS = sorted(file.stem for file in choice_files("model") if "path: ???" not in file.read_text())
"""All but those that want a path to be named."""


@pytest.fixture(scope="module")
def tiny_model() -> Path:
    return tiny.ensure_tiny_model()


@pytest.mark.parametrize(
    "overrides",
    [
        ["algo=rloo", "algo.num_generations=4"],
        pytest.param(["algo=kto"], marks=pytest.mark.long),
        ["algo=kto", "algo.labels=reward"],
        ["algo=orpo"],
        pytest.param(["algo=cpo"], marks=pytest.mark.long),
        pytest.param(
            ["algo=cpo", "algo.loss_type=simpo", "algo.beta=2", "algo.nll_weight=0"],
            marks=pytest.mark.long,
        ),
        ["algo=online_dpo"],
        pytest.param(["algo=online_dpo", "peft=lora"], marks=pytest.mark.slow),
        pytest.param(["algo=rloo", "algo.num_generations=4", "peft=lora"], marks=pytest.mark.slow),
        pytest.param(["algo=orpo", "peft=lora"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_run_trains_and_ends_with_its_card(
    overrides: list[str], tiny_model: Path, tmp_path: Path
) -> None:
    """A trainer that is built with a wrong argument, trains nothing, or takes other words than the
    rest of the algorithms."""
    card = run_of(tmp_path / "run", *overrides)
    assert card["status"] == "FINISHED"
    assert {"reward", "kl", "perplexity"} <= set(card["after"])
    assert card["before"]["kl"] == 0 < card["after"]["kl"]
    saved = next((tmp_path / "run" / "model").glob("*.safetensors"))
    assert ("peft=lora" in overrides) == (saved.name == "adapter_model.safetensors")
    if "peft=lora" not in overrides:
        weights, initial = load_file(saved), load_file(tiny_model / "model.safetensors")
        assert any(not torch.equal(weights[name], initial[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.long
def test_the_card_tells_whether_labels_and_reward_agree(tiny_model: Path, tmp_path: Path) -> None:
    """Labels that ask for something else than the reward that the card shows, unsaid."""
    for reward, low, high in (("sentiment", 80, 100), ("length", 30, 70)):
        card = run_of(tmp_path / reward, "algo=kto", f"reward={reward}")
        (note,) = [note for note in card["notes"] if note.startswith("labels: ")]
        assert low <= int(note.split("%")[0].rsplit(" ", 1)[1]) <= high


@pytest.mark.slow
@pytest.mark.long
def test_ktos_order_follows_the_seed(tiny_model: Path, tmp_path: Path) -> None:
    """Rows that are taken in the data's order whatever the seed says, pairs side by side."""
    losses = []
    for seed in (0, 1):
        folder = tmp_path / f"{len(losses)}"
        run_of(folder, "algo=kto", f"seed={seed}", "train.max_steps=2")
        events = [json.loads(line) for line in (folder / "spool.jsonl").open(encoding="utf-8")]
        losses.append([e["metrics"].get("train/logp_chosen") for e in events if "metrics" in e])
    assert losses[0] != losses[1]


@pytest.mark.long
def test_sampled_labels_are_said_in_the_card(tiny_model: Path, tmp_path: Path) -> None:
    """Labels of the data taken where the reward's were asked for."""
    card = run_of(tmp_path / "run", "algo=kto", "algo.labels=reward", "reward=length")
    assert any("good, mean reward" in note for note in card["notes"])
    lines = (tmp_path / "run" / "unpaired.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["label"] for line in lines} == {True, False}


@pytest.mark.long
def test_micro_batches_of_online_dpo_are_averaged(tiny_model: Path, tmp_path: Path) -> None:
    """Gradients that add up over the micro-batches: four times as large in four parts."""
    norms = []
    for micro in (32, 8):
        folder = tmp_path / str(micro)
        run_of(
            folder,
            "algo=online_dpo",
            "train.batch_size=32",
            f"train.micro_batch_size={micro}",
            "algo.max_completion_length=16",
            "train.max_grad_norm=0",
        )
        events = [json.loads(line) for line in (folder / "spool.jsonl").open(encoding="utf-8")]
        norms += [
            event["metrics"]["train/grad_norm"]
            for event in events
            if "train/grad_norm" in event.get("metrics", {})
        ][:1]
    assert 0.5 < norms[1] / norms[0] < 2  # the samples differ, as they come in other batches


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_each_algorithm_takes_each_model(algo: str, tiny_model: Path) -> None:
    """A recommendation of a model that an algorithm's checks refuse."""
    teacher = [f"algo.teacher={tiny_model}"] if algo == "distill" else []
    for model in MODELS:
        assert spec_of(f"algo={algo}", f"model={model}", *teacher).model.name == model


@pytest.mark.parametrize(
    ("overrides", "key", "says"),
    [
        (["algo=rloo", "algo.num_generations=7"], "algo.num_generations", "8 is the nearest"),
        (["algo=rloo", "reward=none"], "reward", "algo=rloo learns from one"),
        (["algo=online_dpo", "reward=none"], "reward", "algo=online_dpo learns from one"),
        (["algo=kto", "algo.labels=reward", "reward=none"], "data", "Choose a reward"),
        (["algo=kto", "data=gsm8k", "reward=none"], "data", "Choose a reward"),
        (["algo=kto", "train.micro_batch_size=1"], "train.micro_batch_size", "2 or more"),
        (["algo=orpo", "reward=none"], "data", "judges answers sampled from the model"),
        (["algo=cpo", "algo.loss_type=simpoo"], "algo.loss_type", "simpo"),
        (["algo=cpo", "+algo.trl.cpo_alpha=2"], "algo.trl.cpo_alpha", "algo.nll_weight"),
        (["algo=distill"], "algo.teacher", "got nothing"),
        (["algo=distill", "algo.teacher=./no/where"], "algo.teacher", "not there"),
        (["algo=distill", "algo.teacher=run:1234"], "algo.teacher", "names no finished run here"),
    ],
)
def test_mistakes_are_found_before_anything_is_loaded(
    overrides: list[str], key: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake that shows only once the model is loaded, or without its remedy."""
    monkeypatch.chdir(tmp_path)
    assert says in problems_of(*overrides)[key]


def test_sampling_needs_no_labels_in_the_data() -> None:
    """KTO refused where the reward could label samples (GSM8K holds demonstrations)."""
    assert spec_of("algo=kto", "data=gsm8k", "reward=length").algo.name == "kto"


class TestDistillation:
    @pytest.mark.long
    def test_it_moves_towards_the_teacher(self, tiny_model: Path, tmp_path: Path) -> None:
        """Policy and teacher exchanged, or a divergence with the wrong sign."""
        student = noisy_copy(tiny_model, tmp_path / "student")
        card = run_of(
            tmp_path / "run",
            "algo=distill",
            f"algo.teacher={tiny_model}",
            "model=local",
            f"model.path={student}",
            "model.chat=false",
            "algo.learning_rate=1e-3",
            "train.max_steps=8",
            "train.batch_size=32",
            "train.micro_batch_size=16",
        )
        assert card["after"]["perplexity"] < 0.9 * card["before"]["perplexity"]

    def test_the_teachers_vocabulary_must_be_the_policys(
        self, tiny_model: Path, tmp_path: Path
    ) -> None:
        """Probabilities of different tokens compared with each other."""
        teacher = tmp_path / "teacher"
        shutil.copytree(tiny_model, teacher)
        file = teacher / "tokenizer.json"
        tokenizer = json.loads(file.read_text(encoding="utf-8"))
        vocabulary = tokenizer["model"]["vocab"]
        first, second = list(vocabulary)[300:302]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
        file.write_text(json.dumps(tokenizer), encoding="utf-8")
        with pytest.raises(UserError, match="the policy's tokenizer"):
            run_of(tmp_path / "run", "algo=distill", f"algo.teacher={teacher}")


def noisy_copy(model: Path, folder: Path) -> Path:
    """The model with half of each weight's spread added as noise."""
    from safetensors.torch import save_file

    shutil.copytree(model, folder)
    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(0)
    noisy = {name: w + 0.5 * w.std() * torch.randn_like(w) for name, w in weights.items()}
    save_file(noisy, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_the_page_on_algorithms_says_what_the_code_says() -> None:
    """A default or a meaning that has moved on since the page was rendered; an algorithm that is
    not on it."""
    import runpy

    script = runpy.run_path(str(CONF.parent / "docs" / "render_algorithms.py"))
    page = script["PAGE"].read_text(encoding="utf-8")
    assert page == script["rendered"](page), "python docs/render_algorithms.py"
    assert {match[0] for match in script["BLOCK"].findall(page)} == set(ALGORITHMS)
