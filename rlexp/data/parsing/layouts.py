"""Which columns of a source mean what, and what kind of rows that makes.

Names are taken as they are where they are canonical, or where they belong to a form that many data
sets have: Alpaca's `instruction`, ShareGPT's `conversations`. What the config names always wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.part import Part

SHAPES: tuple[tuple[tuple[str, ...], Kind], ...] = (
    (("prompt", "chosen", "rejected"), "pairs"),
    (("messages", "chosen", "rejected"), "pairs"),
    (("chosen", "rejected"), "pairs"),
    (("prompt", "completions"), "pairs"),
    (("prompt", "completion", "label"), "unpaired"),
    (("prompt", "completion"), "demonstrations"),
    (("messages", "label"), "unpaired"),
    (("messages",), "demonstrations"),
    (("text", "label"), "unpaired"),
    (("text",), "demonstrations"),
    (("prompt",), "prompts"),
)
"""The sets of columns that make a data set; of those that fit, the first is taken."""


def joined_columns(shape: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that go into the prompt of such rows, where a row has a value in them."""
    if "prompt" in shape:
        return "system", "history", "input"
    return () if "text" in shape else ("system",)


_REFERENCES = ("completion", "chosen", "label")
"""What rewards may read under the source's name as well."""
_QUESTIONS = ("instruction", "question", "query", "input")


class Columns(Part):
    """What the source calls each canonical column."""

    prompt: str | None
    """What is asked: a text or a list of messages."""
    completion: str | None
    """The answer to the prompt."""
    chosen: str | None
    """The better answer; with the dialogue before it where there is no prompt column."""
    rejected: str | None
    """The worse answer; with the dialogue before it where there is no prompt column."""
    text: str | None
    """Whole texts, which are cut into prompt and completion."""
    label: str | None
    """Whether the completion or text is good."""
    messages: str | None
    """Whole conversations, the last turn of which is the answer."""
    completions: str | None
    """Several answers to the prompt with a score each: the best and the worst become a pair."""
    system: str | None
    """What the system says before the prompt."""
    history: str | None
    """Earlier turns before the prompt: pairs of what was asked and answered."""
    input: str | None
    """What the prompt is about, joined to it with an empty line."""


@dataclass(frozen=True)
class Layout:
    """Where a source keeps what a row needs."""

    kind: Kind
    names: dict[str, str]
    """Canonical column -> the source's name."""
    extra: dict[str, bool] = field(default_factory=dict)
    """Further columns kept for rewards -> whether a row must have a value."""
    repeated: frozenset[str] = frozenset()
    """Those of `extra` whose values are a canonical column's as well."""
    unused: tuple[str, ...] = ()
    """Columns that nobody said anything of, which are no part of a prompt or answer."""

    @property
    def note(self) -> str | None:
        """What is left out of the prompts, in words for the card."""
        if not self.unused:
            return None
        names = ", ".join(self.unused)
        return (
            f"columns that only rewards may read, being no part of prompt or answer: {names}. "
            "data.columns.input=NAME joins one to the prompt"
        )


def find_layout(
    header: Iterable[str],
    named: Mapping[str, str],
    extra: list[str] | None,
    place: str,
    guess: bool,
) -> Layout:
    """Return what the columns of a source mean.

    Args:
        header: the columns that the source has.
        named: what the config says of them: canonical -> the source's name.
        extra: further columns that the config wants; None keeps all.
        place: of the source, for what is said of a mistake.
        guess: whether columns that the config doesn't name are taken by their names.

    Raises:
        UserError: a column that the config names is not there, or no known set of columns is.
    """
    present = list(header)
    wanted = {f"data.columns.{column}": name for column, name in named.items()}
    missing = [
        _missing(key, name, present, place)
        for key, name in [*wanted.items(), *(("data.extra", name) for name in extra or [])]
        if name not in present
    ]
    if missing:
        raise UserError(missing)
    names = {**(_known_names(present, named, extra or []) if guess else {}), **named}
    for shape, kind in SHAPES:
        usable = (*shape, *joined_columns(shape))
        if set(named) <= set(usable) and set(shape) <= set(names):
            used = {column: names[column] for column in usable if column in names}
            return _complete(kind, used, present, extra)
    raise UserError(_no_shape(present, named, place))


def _known_names(present: list[str], named: Mapping[str, str], extra: list[str]) -> dict[str, str]:
    """Return canonical -> the source's name, for names that can mean one thing only."""
    taken = set(named.values())
    free = [name for name in present if name not in taken]
    names = {column: column for column in Columns.model_fields if column in free}
    if "label" not in names and "kto_tag" in free:
        names["label"] = "kto_tag"
    asked = names.get("prompt", named.get("prompt"))
    conversations = [name for name in ("conversations", "conversation") if name in free]
    if "messages" not in names and len(conversations) == 1:
        names["messages"] = conversations[0]
    if "system" not in names and "system_prompt" in free:
        names["system"] = "system_prompt"
    questions = [name for name in _QUESTIONS if name in free]
    pairs = {"chosen", "rejected"} <= {*names, *named}
    if asked is None and ("instruction" in free or (pairs and len(questions) == 1)):
        asked = names["prompt"] = "instruction" if "instruction" in free else questions[0]
    answers = [name for name in ("output", "response") if name in free]
    if asked == "instruction" and "completion" not in names and len(answers) == 1:
        names["completion"] = answers[0]
    for column in ("system", "input", "history"):
        # elsewhere than in Alpaca's form the last two may mean anything
        if names.get(column) in extra or (column != "system" and asked != "instruction"):
            names.pop(column, None)
    return names


def _complete(
    kind: Kind, used: dict[str, str], present: list[str], extra: list[str] | None
) -> Layout:
    others = tuple(name for name in present if name not in used.values())
    if extra is not None:
        return Layout(kind, used, dict.fromkeys(extra, True))
    again = frozenset(
        name for column, name in used.items() if column in _REFERENCES and name != column
    )
    again -= set(Columns.model_fields)
    return Layout(kind, used, dict.fromkeys((*others, *sorted(again)), False), again, others)


def _missing(key: str, name: str, present: list[str], place: str) -> Problem:
    near = get_close_matches(name, present, n=1)
    remedy = f"Did you mean {near[0]!r}?" if near else ""
    return Problem(key, f"{name!r}, no column of {place}", f"one of {', '.join(present)}", remedy)


_USUAL = {
    "prompt": ("question", "query", "problem", "instruction", "input", "title"),
    "completion": ("answer", "response", "output", "solution", "target", "summary"),
    "text": ("content", "body", "review", "sentence", "document"),
    "chosen": ("accepted", "preferred", "better"),
    "rejected": ("worse", "dispreferred"),
}
"""What such columns are often called: for a proposal, not for a guess."""


def _no_shape(present: list[str], named: Mapping[str, str], place: str) -> Problem:
    fitting = [shape for shape, _ in SHAPES if set(named) <= {*shape, *joined_columns(shape)}]
    fitting = fitting or [shape for shape, _ in SHAPES]
    want = "one of these sets: " + "; ".join(" + ".join(shape) for shape in fitting)
    proposed = {}
    for column in Columns.model_fields:
        usual = [name for name in _USUAL.get(column, ()) if name in present]
        near = usual or get_close_matches(column, present, n=1, cutoff=0.75)
        if near and column not in present and column not in named:
            proposed.setdefault(near[0], f"data.columns.{column}={near[0]}")
    remedy = "Say which column is which, e.g. data.columns.prompt=NAME."
    if proposed:
        remedy = f"If these are meant: {' '.join(proposed.values())}."
    configured = f", of which the config names {', '.join(named)}" if named else ""
    return Problem(place, f"the columns {', '.join(present)}{configured}", want, remedy)
