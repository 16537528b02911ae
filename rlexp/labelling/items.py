"""Items that people judged: who said what of each, repeated, contradicted, and in circles.

An item is a prompt with an answer, or with two. The order in which two were shown does not tell
items apart; an item has them in the order of its first judgement, so that verdicts which follow the
place and not the answer agree by chance alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

from rlexp.data.derived.split import canonical_json
from rlexp.data.parsing.conversations import stripped
from rlexp.data.parsing.values import Row
from rlexp.labelling.reading import Judgement
from rlexp.spec.text import Text


@dataclass(frozen=True)
class Vote:
    """One person's verdict on an item."""

    annotator: str | None
    value: float
    """The score; of two answers 1 for the item's first, -1 for its second, 0 for a tie."""
    as_shown: float
    """The same for the order in which this person was shown them."""
    place: str


@dataclass
class Item:
    """What was judged."""

    prompt: Text | None
    answers: tuple[Text, ...]
    extra: Row
    prompt_key: bytes
    """What tells prompts apart."""
    answer_keys: tuple[bytes, ...]
    """What tells answers apart."""
    votes: list[Vote] = field(default_factory=list)


@dataclass(frozen=True)
class Contradiction:
    """Different verdicts of one person on one item."""

    annotator: str
    places: tuple[str, ...]


@dataclass
class Collected:
    """The items of an export, with at most one vote of each person whose name is known."""

    items: list[Item]
    repeated: list[str] = field(default_factory=list)
    """Places where a person says of an item what was said before."""
    contradictions: list[Contradiction] = field(default_factory=list)


def collect_items(judgements: Iterable[Judgement], keep_last: bool) -> Collected:
    """Return judgements by item.

    Args:
        judgements: in the order of the file.
        keep_last: whether the last of a person's different verdicts on an item counts, or none.
    """
    items: dict[bytes, Item] = {}
    for judgement in judgements:
        prompt, answers = _key(judgement.prompt), tuple(map(_key, judgement.answers))
        key = b"\0".join([prompt, *sorted(answers)])
        item = items.get(key)
        if item is None:
            texts = judgement.prompt, judgement.answers, judgement.extra
            item = items[key] = Item(*texts, prompt, answers)
        swapped = answers != item.answer_keys
        value = 0 - judgement.value if swapped else judgement.value
        vote = Vote(judgement.annotator, value, judgement.value, judgement.place)
        item.votes.append(vote)
    collected = Collected(list(items.values()))
    for item in collected.items:
        item.votes = _one_each(item.votes, keep_last, collected)
    return collected


def _one_each(votes: list[Vote], keep_last: bool, collected: Collected) -> list[Vote]:
    """Return one vote of each known person, or none where they contradict each other."""
    by_person: dict[str, list[Vote]] = {}
    for vote in votes:
        if vote.annotator is not None:
            by_person.setdefault(vote.annotator, []).append(vote)
    kept = {id(vote) for vote in votes if vote.annotator is None}
    for annotator, own in by_person.items():
        if len({vote.value for vote in own}) == 1:
            collected.repeated += [vote.place for vote in own[1:]]
            kept.add(id(own[0]))
        else:
            places = tuple(vote.place for vote in own)
            collected.contradictions.append(Contradiction(annotator, places))
            kept |= {id(own[-1])} if keep_last else set()
    return [vote for vote in votes if id(vote) in kept]


def by_annotator(items: Iterable[Item]) -> dict[str, list[Item]]:
    """Return each known annotator's items, with that annotator's votes alone."""
    own: dict[str, list[Item]] = {}
    for item in items:
        for vote in item.votes:
            if vote.annotator is not None:
                own.setdefault(vote.annotator, []).append(replace(item, votes=[vote]))
    return own


def preference_circles(items: Sequence[Item]) -> list[list[str]]:
    """Return circles such as A > B > C > A: for each, a judgement's place on every step of it.

    At most one a prompt is found. A step is what most say of two answers.

    Args:
        items: pairs.
    """
    by_prompt: dict[bytes, dict[bytes, dict[bytes, str]]] = {}
    for item in items if len(items) > 2 else ():
        balance = sum(vote.value for vote in item.votes)
        if not balance:
            continue
        first, second = item.answer_keys
        better, worse = (first, second) if balance > 0 else (second, first)
        place = next(vote.place for vote in item.votes if vote.value * balance > 0)
        beaten = by_prompt.setdefault(item.prompt_key, {}).setdefault(better, {})
        beaten[worse] = place
    circles = []
    for graph in by_prompt.values():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # each node of the circle is beaten by the next one
            worse_first: list[bytes] = error.args[1]
            steps = zip(worse_first[1:], worse_first, strict=False)
            circles.append([graph[better][worse] for better, worse in steps])
    return circles


def value_counts(items: Iterable[Item]) -> Counter[float]:
    """Return how often each verdict was given."""
    return Counter(vote.value for item in items for vote in item.votes)


def _key(text: Text | None) -> bytes:
    return canonical_json(None if text is None else stripped(text))
