"""Rewards that ask sequence classifiers, against transformers' own pipeline and by hand."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from reward_specs import mistakes, reward

from rlexp.models.locate import local_folder
from rlexp.rewards.common.classifier import class_indices, class_names
from rlexp.spec.errors import UserError
from rlexp.spec.reward import Text

WORDS = ["good", "bad", "film", "the", "was", "a", "very", "gun"]
TEXTS = ["good film", "the film was very bad", "", "a gun", "good " * 40, "unknown words"]


def classifier(folder: Path, *names: str, outputs: int = 0, seed: int = 0) -> Path:
    """A small BERT with random weights and an own vocabulary, saved as people publish them."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces = {word: index for index, word in enumerate([*special, *WORDS])}
    raw = Tokenizer(WordLevel(pieces, unk_token="[UNK]"))
    raw.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    raw.post_processor = TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        model_max_length=16,
        **{f"{name.lower()}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")},
        eos_token="[SEP]",
    )
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    named: dict[str, Any] = (
        {"id2label": dict(enumerate(names))} if names else {"num_labels": outputs}
    )
    config = BertConfig(
        vocab_size=len(pieces),
        intermediate_size=16,
        max_position_embeddings=16,
        initializer_range=1.0,
        **sizes,
        **named,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ready(choice: str, path: Any, **knobs: Any) -> Any:
    prepared = reward(choice, path=path, **knobs)
    prepared.prepare(torch.device("cpu"), local_folder)
    return prepared


def piped(folder: Path, texts: list[str]) -> list[dict[str, float]]:
    """Each class's probability by transformers' text-classification pipeline."""
    from transformers import pipeline

    ask: Any = pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
    ask.tokenizer.truncation_side = "left"
    return [
        {answer["label"]: answer["score"] for answer in row} for row in ask(texts, truncation=True)
    ]


class TestSentiment:
    def test_is_the_pipelines_difference(self, tmp_path: Path) -> None:
        """Logits taken for probabilities, classes exchanged, a neutral class counted, texts longer
        than the model can read, padding that changes neighbours."""
        folder = classifier(tmp_path / "model", "NEG", "neutral", "POS")
        expected = [row["POS"] - row["NEG"] for row in piped(folder, TEXTS)]
        for batch_size in (64, 2):
            sentiment = ready("sentiment", str(folder), batch_size=batch_size)
            assert sentiment([""] * 6, TEXTS) == pytest.approx(expected, abs=1e-5)
        assert max(expected) - min(expected) > 0.1

    def test_classes_that_belong_together_are_summed(self, tmp_path: Path) -> None:
        """Five stars, of which four are not half good."""
        folder = classifier(tmp_path / "model", *(f"{n} stars" for n in range(1, 6)))
        knobs = {"positive": ["4 stars", "5 STARS"], "negative": ["1 stars", "2 stars"]}
        rows = piped(folder, TEXTS)
        expected = [
            row["4 stars"] + row["5 stars"] - row["1 stars"] - row["2 stars"] for row in rows
        ]
        sentiment = ready("sentiment", str(folder), **knobs)
        assert sentiment([""] * 6, TEXTS) == pytest.approx(expected, abs=1e-5)

    def test_judges_the_opening_in_the_scope_whole(self, tmp_path: Path) -> None:
        """A classifier that is shown the completion alone."""
        sentiment = ready("sentiment", str(classifier(tmp_path / "model", "neg", "pos")))
        whole = sentiment([""], [" bad"], opening=["the film was"])
        assert whole == sentiment([""], ["the film was bad"])
        assert whole != sentiment([""], [" bad"])

    def test_classes_that_no_list_names_are_refused(self, tmp_path: Path) -> None:
        """`very positive`, which counts nothing beside `positive`: the best earn least."""
        five = ["very negative", "negative", "neutral", "positive", "Very_Positive"]
        problems = reward("sentiment", path=str(classifier(tmp_path, *five))).problems()
        assert [problem.key for problem in problems] == ["reward.positive", "reward.negative"]
        assert "also has Very_Positive" in problems[0].got
        assert problems[1].remedy.endswith("reward.negative='[negative,very negative]'")
        lists = {"positive": five[3:], "negative": five[:2]}
        assert reward("sentiment", path=str(tmp_path), **lists).problems() == []

    def test_generic_names_have_to_be_told(self, tmp_path: Path) -> None:
        """LABEL_1 taken for positive, which in some models is negative."""
        folder = classifier(tmp_path / "model", outputs=2)
        assert class_names(folder) == ["LABEL_0", "LABEL_1"]
        problems = reward("sentiment", path=str(folder)).problems()
        assert [problem.key for problem in problems] == ["reward.positive", "reward.negative"]
        assert "LABEL_0, LABEL_1" in problems[0].want
        names = {"positive": ["LABEL_1"], "negative": ["LABEL_0"]}
        assert reward("sentiment", path=str(folder), **names).problems() == []
        assert class_indices(folder, ["label_1"]) == [1]

    def test_where_it_runs_and_how_it_is_sent(self, tmp_path: Path) -> None:
        """A model loaded again in each worker process, or pickled with its weights."""
        sentiment = ready("sentiment", str(classifier(tmp_path / "model", "neg", "pos")))
        assert (sentiment.runs_in(), reward("sentiment").runs_in()) == ("here", "workers")
        sent = pickle.dumps(sentiment)
        assert len(sent) < 5_000
        assert pickle.loads(sent)([""], ["good"]) == sentiment([""], ["good"])
        assert sentiment([], []) == []

    def test_a_reward_model_is_none(self, tmp_path: Path) -> None:
        """One output, whose softmax is always 1."""
        problems = reward("sentiment", path=str(classifier(tmp_path / "m", outputs=1))).problems()
        assert "reward=model" in problems[0].remedy

    def test_one_name_in_both_lists(self) -> None:
        """A class that cancels itself: the reward would be 0 for all."""
        assert list(mistakes("sentiment", positive=["pos"], negative=["POS"])) == [
            "reward.negative"
        ]


class TestSafety:
    def test_what_the_classifier_finds_unsafe_is_not_paid(self, tmp_path: Path) -> None:
        """Probabilities compared with the wrong class, or with the threshold the wrong way."""
        folder = classifier(tmp_path / "model", "fine", "Toxic")
        toxic = [row["Toxic"] for row in piped(folder, TEXTS)]
        border = sorted(toxic)[len(toxic) // 2]
        safety = ready("safety", str(folder), column="h", threshold=border - 1e-4)
        values = safety([""] * 6, TEXTS, h=[False] * 6)
        rows = zip(toxic, TEXTS, strict=True)
        assert values == [float(p < border - 1e-4 and bool(text)) for p, text in rows]
        assert {0.0, 1.0} == set(values)
        assert safety.runs_in() == "here" and safety([], [], h=[]) == []

    def test_its_classes_are_looked_for(self, tmp_path: Path) -> None:
        """A classifier none of whose classes is unsafe: everything would be paid."""
        folder = classifier(tmp_path / "model", "spam", "ham")
        with pytest.raises(UserError, match=r"reward\.unsafe_classes: .*\n.*spam, ham"):
            ready("safety", str(folder))


class TestEnsemble:
    PROMPTS: tuple[Text, ...] = ("the film", "a film", "the film")
    SAID: tuple[Text, ...] = (" was good", " was bad", "")

    def test_disagreement_is_subtracted(self, tmp_path: Path) -> None:
        """Variance for standard deviation, n - 1 for n, one model asked twice."""
        folders = [classifier(tmp_path / f"{seed}", outputs=1, seed=seed) for seed in range(3)]
        asked = list(self.PROMPTS), list(self.SAID)
        alone = [ready("model", str(folder))(*asked) for folder in folders]
        ensemble = ready("model", [str(folder) for folder in folders], disagreement=0.5)(*asked)
        for scores, value in zip(zip(*alone, strict=True), ensemble, strict=True):
            mean = sum(scores) / 3
            deviation = (sum((score - mean) ** 2 for score in scores) / 3) ** 0.5
            assert value == pytest.approx(mean - 0.5 * deviation)
            assert deviation > 0.01
        means = ready("model", [str(folder) for folder in folders], disagreement=0)(*asked)
        assert means == pytest.approx([sum(column) / 3 for column in zip(*alone, strict=True)])

    def test_a_single_model_is_its_score(self, tmp_path: Path) -> None:
        """A list of one, or a factor that changes what has nothing to disagree with."""
        folder = str(classifier(tmp_path / "model", outputs=1))
        asked = list(self.PROMPTS), list(self.SAID)
        assert ready("model", folder)(*asked) == ready("model", [folder], disagreement=9)(*asked)

    def test_each_members_problems_are_told(self, tmp_path: Path) -> None:
        """The first mistake hiding the second; one model twice, which agrees with itself."""
        two = classifier(tmp_path / "two", outputs=2)
        problems = reward("model", path=[str(two), "./nowhere", str(two)]).problems()
        message = "\n".join(str(problem) for problem in problems)
        assert all(problem.key == "reward.path" for problem in problems)
        assert "twice" in message and "2 classes" in message and "nowhere" in message

    @pytest.mark.parametrize("path", [[], [""], ""])
    def test_no_model_is_told(self, path: Any) -> None:
        """An ensemble of nobody, whose mean is no number."""
        assert [key.split(".")[1] for key in mistakes("model", path=path)] == ["path"]
