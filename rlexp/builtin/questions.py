"""Short questions with short right answers, made by a seed: what a small chat model can learn.

Each task is a function that draws a question and its answer. A chat model of 135 M weights is right
in some of its samples and wrong in others: without both, a policy gradient has nothing to learn
from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import NamedTuple


class Question(NamedTuple):
    """A question, and the right answer to it or, where none is the only one, a plain one."""

    text: str
    answer: str
    choices: tuple[str, ...] = ()
    """What may be answered, where that is one of a few words."""
    fact: str = ""
    """What is to be known, where several questions ask for it: they are held out together."""


_LISTS = """
names: Anna, Ben, Clara, David, Emma, Felix, Grace, Henry, Iris, Jack, Lucy, Maria, Paul, Rosa, Tom
colours: red, blue, green, yellow, black, white, brown, orange, purple, pink
things: car, house, shirt, flower, box, door, hat, ball, boat, chair, cup, bag
cities: Athens, Berlin, Boston, Cairo, Dublin, London, Madrid, Moscow, Oslo, Paris, Rome, Tokyo
skills: cook, swim, dance, draw, paint, sing, juggle, ski, knit, dive, code, type, sail
chores: clean, fix, store, wash, paint, move, wrap, carry, sell, pack
items: a bike, a coffee pot, an old radio, a garden hose, a guitar, a lamp, a rug, a vase, a mirror
guests: my aunt, my boss, a neighbour, my teacher, a friend, my doctor, a child, my coach
meals: soup, a salad, rice, pasta, pancakes, an omelette, bread, a pie, tea, a stew
"""
_SLOTS = {
    name: tuple(words.split(", "))
    for name, words in (line.split(": ") for line in _LISTS.strip().splitlines())
}
NAMES, COLOURS, THINGS = _SLOTS["names"], _SLOTS["colours"], _SLOTS["things"]
CITIES = _SLOTS["cities"]


def _sum(draw: Random) -> Question:
    a, b = draw.randint(1, 9), draw.randint(1, 9)
    asked = draw.choice(["What is {} + {}?", "What is {} plus {}?", "How much is {} and {}?"])
    text = f"{asked.format(a, b)} Reply with the number only."
    return Question(text, str(a + b), fact=f"{min(a, b)} + {max(a, b)}")


def _colour(draw: Random) -> Question:
    name, colour, thing = draw.choice(NAMES), draw.choice(COLOURS), draw.choice(THINGS)
    text = f"{name} has {_with_article(colour)} {thing}. What colour is the {thing}?"
    return Question(f"{text} Reply with one word.", colour, COLOURS)


def _city(draw: Random) -> Question:
    name, city = draw.choice(NAMES), draw.choice(CITIES)
    day = draw.choice(["today", "yesterday", "on Monday", "last week", "this morning"])
    text = f"{name} flew to {city} {day}. In which city is {name} now?"
    return Question(f"{text} Reply with one word.", city, CITIES)


def _age(draw: Random) -> Question:
    name, age, count = draw.choice(NAMES), draw.randint(6, 90), draw.randint(2, 5)
    facts = [f"is {age} years old", f"has {count} {draw.choice(['books', 'cups', 'hats'])}"]
    text = f"{name} {' and '.join(draw.sample(facts, 2))}. How old is {name}?"
    return Question(f"{text} Reply with the number only.", str(age))


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _person(draw: Random) -> Question:
    name, age, city = draw.choice(NAMES), draw.randint(5, 90), draw.choice(CITIES)
    sentence = draw.choice(
        [
            f"{name} is {age} years old.",
            f"{name} from {city} is {age} years old.",
            f"In {city} lives {name}, aged {age}.",
            f"{name}, {age}, lives in {city}.",
        ]
    )
    asked = 'Write as JSON with the keys "name" and "age", and nothing else:'
    return Question(f"{asked} {sentence}", json.dumps({"name": name, "age": age}))


def _everyday(draw: Random) -> Question:
    slots = ("items", "guests", "meals", "skills", "chores")
    item, guest, meal, skill, chore = (draw.choice(_SLOTS[slot]) for slot in slots)
    return draw.choice(
        [
            Question(
                f"How do I {chore} {item}?", f"Take some time and a cloth to {chore} it with."
            ),
            Question(
                f"Is {item} a good present for {guest}?", f"It depends on what {guest} likes."
            ),
            Question(f"Can I learn to {skill} in a month?", f"Whoever practises can {skill} then."),
            Question(f"What goes well with {meal}?", f"Bread and a glass of water go with {meal}."),
            Question(f"Should I cook {meal} for {guest}?", f"Ask whether {guest} eats {meal}."),
            Question(f"Where can I buy {item}?", f"A shop in town will have {item}."),
        ]
    )


TASKS: dict[str, Callable[[Random], Question]] = {
    "sums": _sum,
    "colours": _colour,
    "cities": _city,
    "ages": _age,
    "people": _person,
    "everyday": _everyday,
}
"""By the word that is typed."""
_DRAWS_EACH = 20
"""Draws a question at most, before a task is taken to have no more questions."""


def sample_questions(task: str, size: int, seed: int) -> list[Question]:
    """Return so many questions of a task, all different; all that there are where these are fewer.

    >>> sample_questions("sums", 1, seed=0)[0].answer
    '14'
    """
    draw, questions = Random(seed), dict[str, Question]()
    for _ in range(_DRAWS_EACH * size):
        question = TASKS[task](draw)
        questions.setdefault(question.text, question)
        if len(questions) == size:
            break
    return [*questions.values()]
