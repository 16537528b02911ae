"""What of a completion a reward judges: its text, and the words of it."""

from __future__ import annotations

import pytest

from rlexp.rewards.base import texts_of, words_of


class TestTexts:
    def test_takes_the_last_turn_of_the_assistant(self) -> None:
        """Judging the user's words, or an earlier answer, as the policy's."""
        dialogue = [
            {"role": "assistant", "content": "first"},
            {"role": "user", "content": "question"},
            {"role": "assistant", "content": "second"},
        ]
        assert texts_of([dialogue, "plain"]) == ["second", "plain"]

    def test_a_turn_without_text_is_empty(self) -> None:
        """A tool call has content null; that must not become the text "None"."""
        assert texts_of([[{"role": "assistant", "content": None}], []]) == ["", ""]

    def test_joins_the_text_parts_of_a_turn(self) -> None:
        """Content as typed parts, as multimodal templates have it."""
        parts = [
            {"type": "text", "text": "good"},
            {"type": "image"},
            {"type": "text", "text": " fun"},
        ]
        assert texts_of([[{"role": "assistant", "content": parts}]]) == ["good fun"]

    @pytest.mark.parametrize(
        ("opening", "completion", "whole"),
        [
            ("The plot", " was fun", "The plot was fun"),
            ("The plot", "was fun", "The plot was fun"),
            ("The plot ", "was fun", "The plot was fun"),
            ("The plot", ", they say", "The plot, they say"),
            ("The plot", "", "The plot"),
            ("", "Fun", "Fun"),
            (None, "Fun", "Fun"),
            ("这部电影", "很好", "这部电影很好"),
        ],
    )
    def test_two_words_never_run_together(
        self, opening: str | None, completion: str, whole: str
    ) -> None:
        """A chat model's stripped answer glued to the opening, or Chinese torn apart."""
        assert texts_of([completion], [opening]) == [whole]

    def test_openings_must_be_as_many_as_completions(self) -> None:
        """A silent zip would leave completions unjudged."""
        with pytest.raises(ValueError, match="longer than"):
            texts_of(["a", "b"], ["only one"])

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Don't stop—now, well-known!", ["Don't", "stop", "now", "well-known"]),
            ("snake_case 3.5", ["snake", "case", "3", "5"]),
            ("GPT很好 用", ["GPT", "很", "好", "用"]),
            (" \n", []),
        ],
    )
    def test_words(self, text: str, words: list[str]) -> None:
        """Punctuation counted as words; Chinese counted as one word a sentence."""
        assert words_of(text) == words
