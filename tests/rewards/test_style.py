"""Whether style measures what it says: pairs that differ in nothing else, and real texts."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest
from reward_specs import DATA, mistakes, reward

from rlexp.rewards.style import grade
from rlexp.runtime.paths import CONF

LICENSE = CONF.parent / "LICENSE"
FORMAL_AND_NOT = [
    ("Please find the signed agreement enclosed.", "here's the signed thing, enjoy"),
    ("The meeting has been postponed until Thursday.", "so we're pushing the meeting to thursday"),
    ("I would be grateful for a prompt reply.", "get back to me asap ok?"),
    (
        "The results are inconsistent with the hypothesis.",
        "yeah the results don't really fit the idea",
    ),
    ("He has resigned from his position.", "he quit his job lol"),
    ("Children under twelve must be accompanied by an adult.", "kids can't come in by themselves"),
    ("We were disappointed by the quality of the service.", "the service totally sucked!!"),
    ("It is advisable to consult a physician.", "you should prob see a doc"),
    ("The applicant did not provide sufficient evidence.", "the guy didn't show us enough"),
    ("I am unable to attend the conference.", "can't make it to the conference, sorry"),
    ("The film was considerably longer than expected.", "that movie was sooo long"),
    ("She expressed her gratitude to the committee.", "she was like thanks guys"),
    ("May I ask where the station is located?", "hey where's the station"),
    ("The negotiations ended without an agreement.", "they talked and talked and got nowhere"),
    ("This product is no longer available.", "nah we don't have that anymore"),
    ("Payment is due within thirty days.", "you've got a month to pay up"),
    ("Several participants left before the conclusion.", "a bunch of people took off early"),
    ("The children were very excited.", "the kids were super psyched!"),
    ("I do not understand the question.", "huh? i don't get it"),
    ("The experiment was repeated three times.", "we did it like three times"),
]
POLITE_AND_NOT = [
    ("Could you please close the window?", "Close the window."),
    ("Would you mind waiting a moment?", "Wait."),
    ("I'm sorry to bother you, but I think this page has an error.", "You got this page wrong."),
    ("Thanks for the quick answer. Could you add a source?", "Why is there no source?"),
    (
        "Hi, nice work on the draft. Maybe the title could be shorter?",
        "The title is really too long.",
    ),
    ("I appreciate your help with this.", "You took long enough."),
    ("Perhaps we could look at it together?", "So look at it again."),
    (
        "By the way, I was wondering where you found this picture.",
        "Where did you get this picture? Tell me.",
    ),
    ("Excuse me, could I ask a question?", "What do you want?"),
    ("Thank you for your patience.", "Stop complaining."),
    (
        "I believe there may be a small mistake in line three.",
        "Obviously line three is wrong, you idiot.",
    ),
    ("Good point. I had not thought of that.", "And who asked you?"),
    ("Would you be able to send the file again, please?", "Send the file again."),
    ("I'm afraid I have to disagree, sorry.", "You are wrong."),
    ("Hello! We would be glad to have you with us.", "Come or don't, who cares."),
    ("It might be better to ask her first, I think.", "Ask her first, honestly."),
    ("We are grateful for everything you did.", "You did nothing."),
    ("Could I have the bill, please?", "Give me the bill."),
    ("Pardon me, I think this is my seat.", "Your seat is over there. Move."),
    ("Great question, thank you for raising it.", "How stupid is that question?"),
]
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside this checkout")


def style(measure: str, **knobs: Any) -> Any:
    return reward("style", measure=measure, **knobs)


def above(measure: str, first: list[str], second: list[str]) -> float:
    """How probably a text of the first kind has a higher value than one of the second (AUC)."""
    high, low = (style(measure)([""] * len(texts), texts) for texts in (first, second))
    return sum((a > b) + (a == b) / 2 for a in high for b in low) / len(high) / len(low)


@cache
def turns(speaker: str) -> list[str]:
    """Turns of 8 to 20 words, of Human or Assistant, in HH's dialogues."""
    file = DATA / "hh_harmless" / "test.jsonl"
    dialogues = [json.loads(line)["chosen"] for line in file.open(encoding="utf-8")]
    turn = re.compile(rf"\n\n{speaker}: (.*?)(?=\n\nHuman:|\n\nAssistant:|$)", re.DOTALL)
    texts = [text for dialogue in dialogues for text in turn.findall(dialogue)]
    return [text for text in texts if 8 <= len(text.split()) <= 20]


@cache
def clauses() -> list[str]:
    """Paragraphs of the licence."""
    paragraphs = re.split(r"\n\s*\n", LICENSE.read_text(encoding="utf-8"))
    return [" ".join(paragraph.split()) for paragraph in paragraphs if len(paragraph.split()) >= 25]


@cache
def school_problems() -> list[str]:
    file = DATA / "gsm8k" / "test.jsonl"
    return [json.loads(line)["question"] for line in file.open(encoding="utf-8")]


@pytest.mark.parametrize(
    ("measure", "pairs"), [("formality", FORMAL_AND_NOT), ("politeness", POLITE_AND_NOT)]
)
def test_tells_pairs_of_the_same_content_apart(measure: str, pairs: list[tuple[str, str]]) -> None:
    """A measure of topic or length, which pairs on the same matter do not differ in."""
    high, low = ([pair[side] for pair in pairs] for side in (0, 1))
    score, none = style(measure), [""] * len(pairs)
    wrong = [
        pair
        for pair, a, b in zip(pairs, score(none, high), score(none, low), strict=True)
        if a <= b
    ]
    assert len(wrong) <= len(pairs) // 10, wrong
    assert above(measure, high, low) > 0.95


@needs_data
def test_contracts_are_more_formal_than_chat() -> None:
    """Words of a test's own making, which real texts do not use."""
    assert above("formality", clauses(), turns("Human")) > 0.9


@needs_data
def test_assistants_are_politer_than_those_who_bait_them() -> None:
    """The same for politeness, weakly: nobody labelled these turns. The texts are as long."""
    assert above("politeness", turns("Assistant"), turns("Human")) > 0.57


@needs_data
@pytest.mark.parametrize("formula", ["coleman_liau_index", "automated_readability_index"])
def test_school_problems_are_for_children_and_licences_are_not(formula: str) -> None:
    """Grades that run backwards, or of another scale than school years."""
    easy, hard = (
        sorted(grade(text, formula) for text in texts) for texts in (school_problems(), clauses())
    )
    assert 3 < easy[len(easy) // 2] < 7
    assert hard[len(hard) // 2] > 11


def test_readability_is_the_published_formula() -> None:
    """Another unit: textstat's ARI of 12 words, 2 sentences and 45 characters, by hand."""
    text = "The old man sat down. He was tired after his long walk."
    characters = sum(len(word) for word in text.split())
    by_hand = 4.71 * characters / 12 + 0.5 * 12 / 2 - 21.43
    assert grade(text, "automated_readability_index") == pytest.approx(max(0, by_hand), abs=0.01)
    long = (
        "Consideration of international regulations necessitates extraordinary administrative care."
    )
    assert grade(long, "coleman_liau_index") == 18.0


def test_readability_is_the_distance_from_the_target() -> None:
    """A reward that grows with difficulty, or that pays for silence."""
    text = clauses()[0]
    level = grade(text, "coleman_liau_index")
    at, near, far = (
        style("readability", target=max(0.0, level - off), width=4)([""], [text])[0]
        for off in (0, 2, 8)
    )
    assert (at, near, far) == (pytest.approx(1.0), pytest.approx(0.5), 0.0)
    assert style("readability", target=0)([""] * 2, ["", "..."]) == [0.0, 0.0]


@pytest.mark.parametrize("measure", ["formality", "politeness"])
def test_no_words_are_neither(measure: str) -> None:
    """Silence that is called informal, or polite."""
    assert style(measure)([""] * 2, ["", " \n"]) == [0.0, 0.0]


def test_mistakes_are_told_with_their_key() -> None:
    """A measure or a formula that is not there."""
    problems = mistakes("style", measure="polite", formula="flesch")
    assert set(problems) == {"reward.measure", "reward.formula"}
