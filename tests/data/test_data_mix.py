"""Several data sets as one: what is read of each, what is refused, and what a run sees of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mixes import demonstrations, labelled, mix_of, pairs, source_of
from runs import problems_of, spec_of

from rlexp.data.load import Splits, load_data
from rlexp.data.prompt_templates import frame
from rlexp.spec.data import Kind
from rlexp.spec.errors import UserError

SFT = ("algo=sft", "reward=none")


def loaded(words: list[str], needs: Kind = "demonstrations", *more: str) -> Splits:
    return load_data(spec_of(*SFT, *words, *more).data, needs)


def sources(rows: list[dict[str, Any]]) -> list[str]:
    return [row["source"] for row in rows]


class TestConfig:
    def test_a_source_is_a_choice_of_the_group_with_a_weight(self, tmp_path: Path) -> None:
        """Sources that no command line can add; a weight that is taken for the data set's key."""
        words = mix_of(tmp_path, {"b": "[[0,0],[10,2]]"}, a=pairs("A", 20), b=pairs("B", 20))
        data = spec_of("algo=dpo", *words, "data.sources.a.max_rows=5").data
        assert data.source_names == ["a", "b"] and data.name == "mix"
        assert {name: weight.at(5) for name, weight in data.weights().items()} == {"a": 1, "b": 1}
        assert [source.name for source in data.sources_by_name().values()] == ["file", "file"]

    def test_all_mistakes_come_at_once_by_their_keys(self, tmp_path: Path) -> None:
        """The first mistake hiding the others; `data.path`, which a mix does not have."""
        a = source_of(tmp_path, "a", demonstrations("A", 9), weight=-1)
        b = source_of(tmp_path, "b", demonstrations("B", 9), weight="lots")
        problems = problems_of(
            *SFT, "data=mix", *a, *b,
            "data.sources.a.path=nowhere.jsonl", "data.sources.b.max_rows=0",
            "+data@data.sources.c=reviews", "+data@data.sources.d=reviews",
            "+data.sources.d.weight=1", "+data.sources.d.sise=3",
        )  # fmt: skip
        assert set(problems) == {
            "data.sources.a.path",
            "data.sources.b.max_rows",
            "data.sources.b.weight",
            "data.sources.c.weight",
            "data.sources.d.sise",
        }
        assert "Set +data.sources.c.weight=1" in problems["data.sources.c.weight"]
        assert "data.sources.d.size" in problems["data.sources.d.sise"]

    @pytest.mark.parametrize(
        ("weights", "key"),
        [
            ({"a": -1}, "data.sources.a.weight"),
            ({"a": "[[0,1],[9,-1]]"}, "data.sources.a.weight"),
            ({"a": 0, "b": 0}, "data.sources"),
            ({"a": "[[0,1],[9,0]]", "b": "[[9,0],[12,1]]"}, "data.sources"),
        ],
    )
    def test_weights_are_shares(self, tmp_path: Path, weights: dict[str, Any], key: str) -> None:
        """Shares below 0; a step of the training without any rows."""
        words = mix_of(tmp_path, weights, a=pairs("A", 20), b=pairs("B", 20))
        assert list(problems_of("algo=dpo", *words)) == [key]

    def test_a_mix_needs_sources_and_holds_no_mix(self, tmp_path: Path) -> None:
        """A mix of mixes, whose rows would have two sources; an empty one that fails later."""
        assert "+data@data.sources.chat=hh_rlhf" in problems_of(*SFT, "data=mix")["data.sources"]
        nested = ("+data@data.sources.a=mix", "+data.sources.a.weight=1")
        assert "a single data set" in problems_of(*SFT, "data=mix", *nested)["data.sources.a"]

    def test_answers_of_a_source_are_not_cut_shorter_than_it_says(self, tmp_path: Path) -> None:
        """A source's own length of completions, silently ignored."""
        words = mix_of(tmp_path, a=demonstrations("A", 20))
        problems = problems_of(*SFT, *words, "data.sources.a.max_completion_length=300")
        assert "Set data.max_completion_length=300" in problems["data.max_completion_length"]
        longer = "data.max_completion_length=300"
        spec = spec_of(*SFT, *words, "data.sources.a.max_completion_length=300", longer)
        assert spec.eval.max_completion_length == 300

    def test_each_source_must_feed_the_algorithm(self, tmp_path: Path) -> None:
        """A source without pairs among those that have some: sampled for one, read of the other."""
        words = mix_of(tmp_path, a=demonstrations("A", 20), b=pairs("B", 20))
        assert "demonstrations" in problems_of("algo=dpo", "reward=none", *words)["data.sources.a"]
        both = problems_of("algo=dpo", *words)
        assert "one way for all sources" in both["data.sources.b"]
        assert spec_of(*SFT, *words).data.kind() == "demonstrations"

    def test_a_reward_finds_its_column_in_every_source(self, tmp_path: Path) -> None:
        """A training that stops at the first row of the source that lacks the column."""
        words = mix_of(tmp_path, a=demonstrations("A", 20, answer="1"), b=demonstrations("B", 20))
        problem = problems_of("algo=grpo", "reward=math", *words)["reward"]
        assert "data.sources.b" in problem and "data.sources.a" not in problem

    def test_a_reward_may_read_the_source(self, tmp_path: Path) -> None:
        """The mix's own column, called absent because no file has it."""
        words = mix_of(tmp_path, a=demonstrations("A", 20), b=demonstrations("B", 20))
        by_source = ("reward=format", "reward.column=source", "eval.slices=[source]")
        assert spec_of("algo=grpo", *words, *by_source).reward.columns() == {"source"}

    def test_a_column_that_is_called_source_is_refused(self, tmp_path: Path) -> None:
        """A user's column, overwritten with the name of the data set."""
        words = mix_of(tmp_path, a=demonstrations("A", 20, source="web", level=1))
        remedy = "Set data.sources.a.extra=[level]"
        assert remedy in problems_of(*SFT, *words)["data.sources.a.extra"]
        assert spec_of(*SFT, *words, "data.sources.a.extra=[level]")


class TestRows:
    def test_each_row_knows_its_source_and_has_all_columns(self, tmp_path: Path) -> None:
        """Tables whose first row decides the columns of all; a source's columns lost."""
        a, b = demonstrations("A", 30, level=1), pairs("B", 30, topic="lamps")
        splits = loaded(mix_of(tmp_path, a=a, b=b))
        assert {*splits.train[0]} == {*splits.train[-1]}
        assert {(row["source"], row["level"], row["topic"]) for row in splits.train} == {
            ("a", 1, None),
            ("b", None, "lamps"),
        }
        assert splits.kind == "demonstrations" and splits.train[-1]["completion"].startswith("good")
        assert any(note.startswith("b: ") and "chosen answers" in note for note in splits.notes)

    def test_held_out_rows_come_in_turn(self, tmp_path: Path) -> None:
        """An evaluation of 20 prompts that is of the larger source alone."""
        splits = loaded(
            mix_of(tmp_path, {"a": 9}, a=demonstrations("A", 400), b=demonstrations("B", 90))
        )
        fewest = sources(splits.heldout).count("b")
        assert fewest > 2
        assert sources(splits.heldout)[: 2 * fewest] == ["a", "b"] * fewest
        assert set(sources(splits.heldout)[2 * fewest :]) == {"a"}
        assert splits.text_sources == sources(splits.heldout)
        assert all(
            row["prompt"] in text for row, text in zip(splits.heldout, splits.texts, strict=True)
        )

    def test_a_prompt_that_one_source_holds_out_is_trained_on_in_none(self, tmp_path: Path) -> None:
        """A held-out prompt that another source, split otherwise, trains on: it measures memory."""
        same = demonstrations("A", 200)
        words = mix_of(tmp_path, a=same, b=[*same, *demonstrations("B", 50)])
        splits = loaded(words, "demonstrations", "data.sources.a.eval_fraction=0.4")
        held = {row["prompt"] for row in splits.heldout}
        assert len(held) > 60 and not held & {row["prompt"] for row in splits.train}
        (note,) = [note for note in splits.notes if "another source" in note]
        assert note.startswith("b: ") and int(note.split()[-1]) > 30

    def test_a_source_that_others_hold_out_altogether_is_refused(self, tmp_path: Path) -> None:
        """A source of which nothing is left, without a word."""
        same = demonstrations("A", 60)
        words = mix_of(tmp_path, a=same, b=same)
        with pytest.raises(UserError, match=r"data\.sources\.b: .* all held out"):
            loaded(
                words, "demonstrations", "data.sources.a.heldout_path=" + str(tmp_path / "b.jsonl")
            )

    def test_a_weight_of_0_is_evaluated_and_not_trained_on(self, tmp_path: Path) -> None:
        """Rows of a source that was switched off; held-out prompts that change with the weights."""
        rows = {"a": demonstrations("A", 90), "b": demonstrations("B", 90)}
        off, on = loaded(mix_of(tmp_path, {"b": 0}, **rows)), loaded(mix_of(tmp_path, None, **rows))
        assert set(sources(off.train)) == {"a"} and set(sources(on.train)) == {"a", "b"}
        assert off.heldout == on.heldout and off.digest == on.digest
        assert any("not trained on" in note for note in off.notes)

    def test_the_digest_follows_the_rows_of_every_source(self, tmp_path: Path) -> None:
        """A run that goes on though a source has changed; weights that make it another data set."""
        b = demonstrations("B", 60)
        first = loaded(mix_of(tmp_path, a=demonstrations("A", 60), b=b)).digest
        assert loaded(mix_of(tmp_path, {"a": 5}, a=demonstrations("A", 60), b=b)).digest == first
        other = loaded(mix_of(tmp_path, a=demonstrations("A", 61), b=b)).digest
        assert other != first and len(other) == 32

    def test_mistakes_in_all_files_are_told_at_once(self, tmp_path: Path) -> None:
        """The second file's mistakes, found when the first file's are mended."""
        broken = {"prompt": 7, "completion": "x"}
        words = mix_of(
            tmp_path, a=[*demonstrations("A", 20), broken], b=[*demonstrations("B", 20), broken]
        )
        with pytest.raises(UserError) as caught:
            loaded(words)
        assert [problem.key.rpartition("/")[2] for problem in caught.value.problems] == [
            "a.jsonl:21",
            "b.jsonl:21",
        ]

    def test_labels_may_be_of_one_kind_in_one_source(self, tmp_path: Path) -> None:
        """A source of good answers alone, refused although another has bad ones."""
        good = [{**row, "label": True} for row in labelled("A", 40)]
        words = mix_of(tmp_path, a=good, b=labelled("B", 40))
        assert {row["label"] for row in loaded(words, "unpaired").train} == {True, False}
        with pytest.raises(UserError, match=r"data\.sources\.NAME\.labels"):
            loaded(mix_of(tmp_path, a=good), "unpaired")


class TestFraming:
    def test_each_source_has_its_own_wording(self, tmp_path: Path) -> None:
        """All prompts in the words of one source."""
        words = mix_of(tmp_path, a=demonstrations("A", 60), b=demonstrations("B", 60))
        own = (
            "data.sources.a.text_prompt='Q: {prompt}'",
            "data.sources.b.chat_prompt='({prompt})'",
        )
        data = spec_of(*SFT, *words, *own).data
        rows = load_data(data, "demonstrations").train
        first, last = rows[0], rows[-1]
        as_text, as_chat = frame([first, last], data, False), frame([first, last], data, True)
        assert [row["prompt"] for row in as_text] == [f"Q: {first['prompt']}", last["prompt"]]
        contents = [row["prompt"][0]["content"] for row in as_chat]
        assert contents == [first["prompt"], f"({last['prompt']})"]

    def test_texts_that_were_cut_and_questions_have_the_same_columns(self, tmp_path: Path) -> None:
        """A table without the column `opening`, or a reward that joins None and a text."""
        texts = [{"text": f"Film {n} was long and I left it early on."} for n in range(30)]
        words = mix_of(tmp_path, a=texts, b=demonstrations("B", 30))
        data = spec_of(*SFT, *words).data
        rows = frame(load_data(data, "demonstrations").train, data, chat=False)
        assert {tuple(sorted(row)) for row in rows} == {
            ("completion", "opening", "prompt", "source")
        }
        assert {row["source"]: row["opening"] is None for row in rows} == {"a": False, "b": True}
