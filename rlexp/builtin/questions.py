"""Short questions with short right answers, made by a seed: what a small chat model can learn.

Each task is a function that draws a question and its answer. They are chosen so that a chat model of
135 M weights is right in some of its samples and wrong in others: without both, a policy gradient
has nothing to learn from.
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


NAMES = "Anna Ben Clara David Emma Felix Grace Henry Iris Jack Lucy Maria Oscar Paul Rosa Tom".split()
COLOURS = "red blue green yellow black white brown orange purple pink".split()
THINGS = "car house shirt flower box door hat ball boat chair cup bag".split()
WORDS = """apple bread chair dance earth fruit glass house island jungle kitchen lemon mountain night
ocean paper queen river summer table umbrella village window zebra garden music""".split()
CITIES = "Athens Berlin Boston Cairo Dublin London Madrid Moscow Oslo Paris Rome Tokyo".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = """January February March April May June July August September October November
December""".split()
SKILLS = "cook swim dance draw paint sing juggle ski knit dive code type sail".split()
CHORES = "clean fix store wash paint move wrap carry sell pack".split()
ITEMS = """a bike|a coffee pot|a wool sweater|an old radio|a garden hose|a guitar|a lamp|a rug|a
kitchen knife|a wooden table|a mirror|a suitcase|a tent|a toaster|a vase""".replace("\n", " ")
GUESTS = "my aunt|my boss|a neighbour|my teacher|a friend|my doctor|a child|my coach".split("|")
MEALS = "soup|a salad|rice|pasta|pancakes|an omelette|bread|a pie|tea|a stew".split("|")


def _sum(draw: Random) -> Question:
    a, b = draw.randint(1, 20), draw.randint(1, 9)
    return Question(f"What is {a} + {b}? Reply with the number only.", str(a + b))


def _difference(draw: Random) -> Question:
    b, rest = draw.randint(1, 9), draw.randint(1, 20)
    return Question(f"What is {b + rest} - {b}? Reply with the number only.", str(rest))


def _colour(draw: Random) -> Question:
    first, second = draw.sample(COLOURS, 2)
    thing, other = draw.sample(THINGS, 2)
    text = f"{draw.choice(NAMES)} has a {first} {thing} and a {second} {other}."
    asked, answer = draw.choice([(thing, first), (other, second)])
    return Question(f"{text} What colour is the {asked}? Reply with one word.", answer)


def _owner(draw: Random) -> Question:
    first, second = draw.sample(NAMES, 2)
    thing, other = draw.sample(THINGS, 2)
    asked, answer = draw.choice([(thing, first), (other, second)])
    text = f"{first} has a {thing}. {second} has a {other}."
    return Question(f"{text} Who has the {asked}? Reply with the name only.", answer)


def _count(draw: Random) -> Question:
    listed = draw.sample(WORDS, draw.randint(1, 6))
    text = f"How many words are in this list: {', '.join(listed)}?"
    return Question(f"{text} Reply with the number only.", str(len(listed)))


def _larger(draw: Random) -> Question:
    a, b = draw.sample(range(1, 100), 2)
    text = f"Which number is larger, {a} or {b}?"
    return Question(f"{text} Reply with the number only.", str(max(a, b)))


def _first_letter(draw: Random) -> Question:
    word = draw.choice(WORDS)
    return Question(f'What is the first letter of the word "{word}"? Reply with one letter.', word[0])


def _position(draw: Random) -> Question:
    listed, place = draw.sample(WORDS, 4), draw.randrange(4)
    which = ("first", "second", "third", "last")[place]
    text = f"What is the {which} word of this list: {', '.join(listed)}?"
    return Question(f"{text} Reply with one word.", listed[place])


def _person(draw: Random) -> Question:
    name, age, city = draw.choice(NAMES), draw.randint(5, 90), draw.choice(CITIES)
    text = draw.choice(
        [
            f"{name} is {age} years old and lives in {city}.",
            f"{name}, who lives in {city}, is {age} years old.",
            f"In {city} lives {name}, aged {age}.",
        ]
    )
    asked = 'Write this as JSON with the keys "name", "age" (a number) and "city"'
    answer = json.dumps({"name": name, "age": age, "city": city})
    return Question(f"{asked}, and nothing else: {text}", answer)


def _everyday(draw: Random) -> Question:
    item, guest = draw.choice(ITEMS.split("|")), draw.choice(GUESTS)
    meal, skill, chore = draw.choice(MEALS), draw.choice(SKILLS), draw.choice(CHORES)
    return draw.choice(
        [
            Question(f"How do I {chore} {item}?", f"Take some time and a cloth to {chore} it with."),
            Question(f"Is {item} a good present for {guest}?", f"It depends on what {guest} likes."),
            Question(f"Can I learn to {skill} in a month?", f"Whoever practises can {skill} then."),
            Question(f"What goes well with {meal}?", f"Bread and a glass of water go with {meal}."),
            Question(f"Should I cook {meal} for {guest}?", f"Ask whether {guest} eats {meal}."),
            Question(f"Where can I buy {item}?", f"A shop in town will have {item}."),
        ]
    )


TASKS: dict[str, Callable[[Random], Question]] = {
    "sums": _sum,
    "differences": _difference,
    "colours": _colour,
    "owners": _owner,
    "counts": _count,
    "larger": _larger,
    "letters": _first_letter,
    "positions": _position,
    "people": _person,
    "everyday": _everyday,
}
"""By the word that is typed."""
_DRAWS_EACH = 20
"""Draws a question at most, before a task is taken to have no more questions."""


def sample_questions(task: str, size: int, seed: int) -> list[Question]:
    """Return so many questions of a task, all different; all that there are where these are fewer.

    >>> sample_questions("sums", 1, seed=0)
    [Question(text='What is 13 + 9? Reply with the number only.', answer='22')]
    """
    draw, questions = Random(seed), dict[str, Question]()
    for _ in range(_DRAWS_EACH * size):
        question = TASKS[task](draw)
        questions.setdefault(question.text, question)
        if len(questions) == size:
            break
    return [*questions.values()]
