"""A reward model from its training to its use as a reward."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import problems_of, run_of

from rlexp.builtin import tiny
from rlexp.models.locate import local_folder
from rlexp.rewards.model import Model
from rlexp.spec.reward import Text

PROMPTS: list[Text] = ["The acting was", "This film", "I found the plot"]
COMPLETIONS: list[Text] = [" wonderful and moving.", " is a disaster.", ""]


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that trained one."""
    tiny.ensure_tiny_model()
    folder = tmp_path_factory.mktemp("runs") / "outputs" / "day" / "reward"
    run_of(folder, "algo=reward", "train.max_steps=10", "train.batch_size=32", "eval.prompts=64")
    return folder


def reward_model(path: Path, **changes: Any) -> Model:
    knobs = {"revision": None, "device": "policy", "batch_size": 64, "max_length": 1024}
    model = Model(name="model", path=[str(path)], disagreement=1.0, **{**knobs, **changes})
    model.prepare(torch.device("cpu"), local_folder)
    return model


def test_its_card_tells_accuracy_and_margin_on_held_out_pairs(trained: Path) -> None:
    """Pairs learnt the wrong way round; held-out pairs that were trained on; a card that speaks of
    samples, which a model that scores cannot give."""
    card = json.loads((trained / "card.json").read_text(encoding="utf-8"))
    losses = {"log_loss", "brier", "calibration_error"}
    assert set(card["after"]) == {"accuracy", "margin"} | losses
    assert losses <= card["intervals"].keys()
    assert card["after"]["accuracy"] > 0.75 > card["before"]["accuracy"]
    assert card["after"]["margin"] > 0
    low, high = card["intervals"]["accuracy"]
    assert low <= card["after"]["accuracy"] <= high
    assert any("held out: " in note for note in card["notes"])
    assert "pairs in the right order" in (trained / "card.html").read_text(encoding="utf-8")


def test_its_scores_do_not_depend_on_their_neighbours(trained: Path) -> None:
    """Padding that is scored, or scores that come back in the order of their lengths."""
    together = reward_model(trained)(PROMPTS, COMPLETIONS)
    small = reward_model(trained, batch_size=1)(PROMPTS, COMPLETIONS)
    assert together == pytest.approx(small, abs=1e-5)
    assert len(set(together)) == 3
    assert reward_model(trained)(PROMPTS[::-1], COMPLETIONS[::-1]) == pytest.approx(together[::-1])


def test_it_scores_what_it_was_trained_on(trained: Path) -> None:
    """A text that ends without the end token here and with it there."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained / "model")
    model = AutoModelForSequenceClassification.from_pretrained(trained / "model").eval()
    ids = tokenizer("The acting was wonderful and moving." + tokenizer.eos_token)["input_ids"]
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits.item()
    assert reward_model(trained)(PROMPTS[:1], COMPLETIONS[:1]) == pytest.approx([expected])


def test_conversations_go_through_its_template(trained: Path) -> None:
    """Messages scored as the text of a Python list."""
    said = [{"role": "user", "content": "How was the film?"}]
    answers: list[Text] = [[{"role": "assistant", "content": each}] for each in ("Good", "Bad")]
    first, second = reward_model(trained)([said, said], answers)
    assert first != second


def test_it_is_pickled_without_its_weights(trained: Path) -> None:
    """A reward that carries a model to each process that it is sent to."""
    model = reward_model(trained)
    scores = model(PROMPTS, COMPLETIONS)
    sent = pickle.dumps(model)
    assert len(sent) < 10_000
    assert pickle.loads(sent)(PROMPTS, COMPLETIONS) == scores


@pytest.mark.parametrize("as_term", [False, True], ids=["alone", "in a mix"])
def test_it_rewards_a_run(
    as_term: bool, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reward model that training cannot call, that a mix does not prepare, or that a run's id
    does not find."""
    run_id = "f" * 32
    card = json.loads((trained / "card.json").read_text(encoding="utf-8"))
    (trained / "card.json").write_text(json.dumps({**card, "run_id": run_id}), encoding="utf-8")
    monkeypatch.chdir(trained.parents[2])
    chosen = ["reward=model", f"reward.path=run:{run_id[:8]}"]
    if as_term:
        chosen = [
            "reward=mix",
            "+reward@reward.terms.model=model",
            "+reward.terms.model.weight=0.5",
            f"reward.terms.model.path={trained}",
        ]
    found = run_of(tmp_path / "run", "algo=rloo", "algo.num_generations=4", *chosen)
    assert ("reward_model" in found["after"]) == as_term
    assert found["after"]["reward"] is not None


def test_an_adapter_is_a_reward_too(trained: Path, tmp_path: Path) -> None:
    """A head that is trained beside the adapter, and lost when it is saved or loaded."""
    folder = tmp_path / "lora"
    card = run_of(folder, "algo=reward", "peft=lora", "eval.prompts=8")
    assert (folder / "model" / "adapter_model.safetensors").is_file()
    model = reward_model(folder)
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").open(encoding="utf-8")]
    scores = model([pair["prompt"] for pair in pairs], [pair["chosen"] for pair in pairs])
    again = reward_model(folder, batch_size=2)
    assert scores == pytest.approx(
        again([pair["prompt"] for pair in pairs], [pair["chosen"] for pair in pairs]), abs=1e-5
    )
    samples = card["samples"]
    assert samples and all(sample["reward_after"] is not None for sample in samples)
    sample = next(sample for sample in samples if sample["answer"] == "chosen")
    score = model([sample["prompt"]], [sample["after"]])
    assert score == pytest.approx([sample["reward_after"]], abs=1e-4)


class TestMistakes:
    def folder(self, tmp_path: Path, **config: Any) -> Path:
        made = tmp_path / "model"
        made.mkdir()
        (made / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return made

    def said(self, path: Path) -> str:
        return problems_of("reward=model", f"reward.path={path}")["reward.path"]

    def test_a_language_model(self, tmp_path: Path) -> None:
        """A policy given as a reward: transformers would add a random head to it."""
        folder = self.folder(tmp_path, architectures=["Qwen2ForCausalLM"])
        said = self.said(folder)
        assert "Qwen2ForCausalLM" in said and "algo=reward" in said

    def test_a_classifier_of_two_classes(self, tmp_path: Path) -> None:
        """The logit of the first class taken as a reward."""
        folder = self.folder(tmp_path, architectures=["BertForSequenceClassification"])
        assert "2 classes" in self.said(folder)

    def test_a_tokenizer_of_another_model(self, trained: Path, tmp_path: Path) -> None:
        """An index error in the middle of the training."""
        folder = tmp_path / "model"
        shutil.copytree(trained / "model", folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 500}))
        assert "embeds 500" in self.said(folder)

    def test_a_folder_that_is_not_there(self) -> None:
        """A typo that is looked up on the hub."""
        assert "not there" in self.said(Path("./rewrad"))

    def test_a_run_that_did_not_finish(self, tmp_path: Path) -> None:
        """A run's folder without a model in it."""
        assert "without a model" in self.said(tmp_path)

    def test_a_mix_tells_which_term(self) -> None:
        """Several rewards, and a mistake in 'the' reward."""
        found = problems_of(
            "reward=mix",
            "+reward@reward.terms.model=model",
            "+reward.terms.model.weight=1",
            "reward.terms.model.path=./nowhere",
        )
        assert "reward.terms.model.path" in found


def test_it_wants_a_path() -> None:
    """`reward=model` alone, found out in the middle of the run."""
    assert "got nothing" in problems_of("reward=model")["reward.path"]
