"""Each shipped reward probed on its own kind of data: no cheap strategy earns over half of what the
references earn, unless the reward itself says why it must."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from reward_specs import reward
from reward_verdicts import Row, assert_holds, material, verdict, words_as_tokens
from runs import spec_of

from rlexp.data.load import load_data
from rlexp.probing.before_training import held_out_material
from rlexp.probing.probe import probe
from rlexp.runtime.paths import CONF
from rlexp.sandbox.choice import strongest
from rlexp.spec.errors import UserError

SUMS = [(28, 96), (17, 5), (40, 38), (63, 29), (8, 91), (55, 45), (12, 70), (33, 39)]
SUM_ROWS: list[Row] = [
    (f"What is {a} + {b}? Reply with the number only.", str(a + b)) for a, b in SUMS
]
SOLVED: list[Row] = [
    (
        f"Ann has {a} pears and buys {b}. How many are they?",
        f"{a} + {b} = {a + b} pears.\n#### {a + b}",
    )
    for a, b in SUMS
]
SUMS_RIGHT = [str(a + b) for a, b in SUMS]


class TestMath:
    def test_bare_numbers(self) -> None:
        """An echo of the sum, which equals its value; a list that holds the right number."""
        graded = reward("math")
        assert_holds(graded, material(SUM_ROWS, graded, answer=SUMS_RIGHT))

    def test_worked_solutions(self) -> None:
        """Numbers of the prompt, put together; another row's solution."""
        graded = reward("math")
        assert_holds(graded, material(SOLVED, graded, answer=[text for _, text in SOLVED]))

    def test_the_column_alone_has_the_references(self) -> None:
        """Prompts with a column of answers, of which no reference would be known."""
        graded = reward("math")
        rows: list[Row] = [(prompt, None) for prompt, _ in SUM_ROWS]
        assert_holds(graded, material(rows, graded, answer=SUMS_RIGHT))


FUNCTIONS = {"double": "2 * x", "square": "x * x", "half": "x / 2", "after": "x + 1", "minus": "-x"}
PROGRAMS: list[Row] = [
    (
        f"Complete:\n```python\ndef {name}(x):\n    ...\n```",
        f"```python\ndef {name}(x):\n    return {body}\n```",
    )
    for name, body in FUNCTIONS.items()
]
TESTS: list[Any] = [
    [f"assert {name}(6) == {eval(body, {'x': 6})}"] for name, body in FUNCTIONS.items()
]


@pytest.mark.skipif(strongest() is None, reason="neither bubblewrap nor namespaces work")
class TestCode:
    def test_asserts(self) -> None:
        """The prompt's own definition; a program that does nothing; another row's program."""
        graded = reward("code", workers=2, wall_seconds=30.0)
        assert_holds(graded, material(PROGRAMS, graded, tests=TESTS), 3)

    @pytest.mark.parametrize(
        "vacuous",
        [
            "def check(candidate):\n    assert candidate(6) == 12",
            "def test_f():\n    assert f(6) == 1",
        ],
    )
    def test_tests_that_assert_nothing_pay_for_nothing(self, vacuous: str) -> None:
        """Tests that every program passes, since nothing calls them: any text would earn."""
        graded = reward("code", workers=2, wall_seconds=30.0)
        given = material(PROGRAMS, graded, tests=[[vacuous]] * len(PROGRAMS))
        with suppress(UserError):  # they may be refused as well
            assert verdict(graded, given, 1).paid == []


class TestFormat:
    def test_an_answer_behind_a_mark(self) -> None:
        """The mark with any number."""
        graded = reward("format", column="answer")
        assert_holds(graded, material(SOLVED, graded, answer=[text for _, text in SOLVED]))

    def test_tags_with_an_answer(self) -> None:
        """Tags around nothing, which have the form."""
        rows = [
            (prompt, f"<think>So.</think>\n<answer>{right}</answer>") for prompt, right in SUM_ROWS
        ]
        graded = reward("format", kind="tags", column="answer")
        assert_holds(graded, material([*rows], graded, answer=SUMS_RIGHT))

    def test_json_with_an_answer(self) -> None:
        """An object with the key that is asked for, and nothing in it."""
        schema = {"type": "object", "required": ["sum"], "properties": {"sum": {"type": "number"}}}
        rows = [(prompt, f'{{"sum": {right}}}') for prompt, right in SUM_ROWS]
        graded = reward("format", kind="json", json_schema=schema, json_key="sum", column="answer")
        assert_holds(graded, material([*rows], graded, answer=SUMS_RIGHT))

    @pytest.mark.parametrize(
        "knobs",
        [
            {"kind": "tags"},
            {"kind": "json", "json_schema": {"type": "object", "required": ["a"]}},
            {"kind": "pattern"},
        ],
        ids=lambda knobs: knobs["kind"],
    )
    def test_the_form_alone_is_paid_by_design(self, knobs: dict[str, Any]) -> None:
        """A form whose own empty text is not tried: nobody would learn that it pays."""
        graded = reward("format", **knobs)
        rows = [
            (prompt, graded.empty_forms()[0] if graded.empty_forms() else "#### 7")
            for prompt, _ in SUM_ROWS
        ]
        judged = verdict(graded, material([*rows], graded))
        assert "a form without content" in {earned.name for earned in judged.by_design}
        assert judged.warnings == []


class TestWords:
    @pytest.mark.parametrize("choice", ["sentiment", "mix"])
    def test_praise_of_films(self, choice: str) -> None:
        """Echoes, forms and evasions that are praise; words said again, behind the penalty."""
        spec = spec_of(f"reward={choice}")
        splits = load_data(spec.data, "prompts")
        assert_holds(spec.reward, held_out_material(spec, splits, 24, False, "</s>"))

    @pytest.mark.parametrize("measure", ["formality", "politeness", "readability"])
    def test_style(self, measure: str) -> None:
        """Prompts that are formal themselves: an echo would do."""
        references = {
            "formality": "We hereby acknowledge receipt of the aforementioned correspondence. "
            "Furthermore, the committee shall therefore commence its assessment accordingly.",
            "politeness": "Thank you so much for asking! Could you please tell me a bit more? "
            "I would be glad to help, if you don't mind.",
            "readability": "The cat went out to play. It saw a small bird near the garden wall. "
            "The bird flew up into a tall tree, and the cat ran home to its warm bed.",
        }
        graded = reward("style", measure=measure)
        rows = [
            (f"yo whats {thing} lol", references[measure]) for thing in ("up", "that", "it", "so")
        ]
        assert_holds(graded, material([*rows], graded))

    def test_a_summary(self) -> None:
        """The whole text, its last sentence, or another text's summary."""
        graded = reward("summary")
        texts = {
            "harbour": "Ferries and barges crowded its wooden cranes all day.",
            "orchard": "Pickers emptied crooked ladders of apples by noon.",
            "station": "Tired porters waited while engines cooled.",
            "market": "Hawkers sold spices under lanterns.",
        }
        story = (
            "Old people came first, and stood about for hours, talking of the weather, of prices "
            "and of their knees. Later it grew loud, and in the evening, when the lamps were lit, "
            "nobody wanted to leave although it rained and the wind blew from the sea. Children "
            "were carried home asleep by uncles."
        )
        rows = [
            (f"{summary} The {place} opened before dawn. {story}", summary)
            for place, summary in texts.items()
        ]
        assert_holds(graded, material([*rows], graded, summary=[text for _, text in rows]))

    def test_verse(self) -> None:
        """Words of one syllable, which keep any metre; a line said twice, which is no rhyme."""
        graded = reward("verse")
        stanza = (
            "I think that I shall never see\na poem lovely as a tree\n"
            "a tree that may in summer wear\na nest of robins in her hair"
        )
        rows = [
            (f"Write four lines of verse about {thing}.", stanza)
            for thing in ("a tree", "the sea", "rain")
        ]
        assert_holds(graded, material([*rows], graded))

    @pytest.mark.parametrize(("choice", "text"), [
        ("overlong", "What a wonderful film."),
        ("keyword", "What a wonderful film."),
        ("length", " ".join(["It was quiet and slow, though nobody minded that,"] * 2)),
        ("repetition", "It was quiet and slow, though nobody minded."),
    ])  # fmt: skip
    def test_what_sees_no_content_says_so(self, choice: str, text: str) -> None:
        """A strategy that pays without a word of the reward's own on why it must."""
        graded = reward(choice)
        judged = verdict(graded, material([("The film", text), ("A book", text)], graded))
        assert judged.warnings == [] and judged.by_design
        assert all(graded.by_design().values())

    def test_a_length_in_tokens(self) -> None:
        """An empty answer, an echo or a constant that earns the target, or bears the penalty."""
        graded = reward("length", unit="tokens", target=20, width=5)
        text = " ".join(["word"] * 19)
        judged = verdict(graded, material([("The film", text), ("A book", text)], graded))
        assert judged.warnings == [] and judged.by_design
        penalty = reward("overlong", limit=20, cache=10)
        probed = probe(penalty, material([("The film", "Good.")], penalty), 8, (), None,
                       words_as_tokens)  # fmt: skip
        earned = {each.name: each.mean for each in probed.earnings}
        assert earned["an empty answer"] == earned["echo of the prompt"] == 0.0
        assert min(mean for mean in earned.values() if mean is not None) == -1.0

    def test_safety(self) -> None:
        """A refusal of everything, or of nothing; an echo of what is harmful."""
        asked = {"How do I build a bomb?": True, "How do I build a boat?": False,
                 "Help me steal a car.": True, "Help me wash a car.": False}  # fmt: skip
        rows = [
            (prompt, "I cannot help with that." if harmful else "Take planks, and plenty of soap.")
            for prompt, harmful in asked.items()
        ]
        graded = reward("safety", column="harmful")
        assert_holds(graded, material([*rows], graded, harmful=[*asked.values()]))


@pytest.mark.parametrize(
    "words",
    [
        "experiment=real_sums",
        "experiment=real_colours",
        "experiment=real_cities",
        "experiment=real_ages",
        "data=reasoning_gym reward=reasoning_gym data.size=60",
    ],
)
def test_questions_that_are_made(words: str) -> None:
    """An echo of a sentence that holds the answer; a constant, of answers that are few."""
    if "reasoning_gym" in words and not (find_spec("reasoning_gym") and strongest()):
        pytest.skip("wants the extra `reasoning` and a sandbox")
    spec = spec_of(*words.split(), "model=tiny", "model.dtype=auto")
    given = held_out_material(spec, load_data(spec.data, "prompts"), 16, True, "")
    assert_holds(spec.reward, given)


def test_a_users_function_that_compares_holds(here: Path) -> None:
    """A sound function accused: the probe would be switched off."""
    code = """def exact(prompts, completions, answer):
    return [float(text.strip() == right) for text, right in zip(completions, answer)]
"""
    (here / "my_exact.py").write_text(code, encoding="utf-8")
    graded = reward("python", function="my_exact:exact")
    assert_holds(graded, material(SUM_ROWS, graded, answer=SUMS_RIGHT))


def test_every_choice_is_probed_here() -> None:
    """A new reward that nobody has probed. `none` scores nothing, and what `model` pays for its
    training decides."""
    probed_above = {
        "code", "constitution", "format", "judge", "keyword", "length", "math", "mix", "one_of",
        "overlong", "python", "reasoning_gym", "repetition", "safety", "sentiment", "style",
        "summary", "verse",
    }  # fmt: skip
    assert {file.stem for file in (CONF / "reward").glob("*.yaml")} - {
        "none",
        "model",
    } == probed_above
