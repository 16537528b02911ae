"""Whether a chat template has written all that a conversation says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

from rlexp.data.rendering.findings import Findings, quoted
from rlexp.spec.text import Message, content_of

REASONING = re.compile(r"<think>(.*?)</think>", re.DOTALL)
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
_SPACE = re.compile(r"\s+")
PLAIN_REMEDY = (
    "Set model.chat_template=plain, which writes every turn, or a Jinja file of your own that does."
)
FILE_REMEDY = "Set model.chat_template=FILE, a Jinja file of your own that writes it."
ON_PURPOSE = (
    "Templates of reasoning models do so on purpose: the model reads its earlier answers so when "
    "it is used, too."
)


def check_turns(
    number: int, text: str, asked: Sequence[Message], answer: Sequence[Message], findings: Findings
) -> bool:
    """Look for each turn's text in what the template wrote; return whether an answer is there.

    Args:
        number: of the row.
        text: the conversation as the template writes it.
        asked: the prompt's turns.
        answer: the turns that are learnt; none of a prompt alone.
        findings: where missing turns are added.
    """
    written = _Written(text)
    answered = not answer
    # answers first, and from the end: an earlier turn may say the same
    turns = [*((turn, True) for turn in reversed(answer)), *((turn, False) for turn in asked)]
    for turn, learnt in turns:
        lost = list(_lost(turn, written.from_end if learnt else written.from_beginning))
        for part in lost:
            kind, what, detail, remedy = _described(turn, part, learnt)
            findings.add(kind, number, what, detail, remedy)
        answered |= learnt and "content" not in lost
    return answered


class _Written:
    """A rendered text in which the turns' texts are looked for, each in a place of its own."""

    def __init__(self, text: str) -> None:
        self.text = _squeezed(text)
        self.taken: list[tuple[int, int]] = []

    def from_beginning(self, piece: str) -> bool:
        """Return whether a text stands where no other has been found; its first place is taken."""
        return self._takes(piece, lambda places: places)

    def from_end(self, piece: str) -> bool:
        """Return the same; its last place is taken."""
        return self._takes(piece, lambda places: places[::-1])

    def _takes(self, piece: str, ordered: Callable[[list[int]], list[int]]) -> bool:
        for form in dict.fromkeys([_squeezed(piece), _squeezed(json.dumps(piece)[1:-1])]):
            places = [found.start() for found in re.finditer(re.escape(form), self.text)]
            for start in ordered(places):
                end = start + len(form)
                if all(end <= first or last <= start for first, last in self.taken):
                    self.taken.append((start, end))
                    return True
        return False


def _squeezed(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


def _lost(turn: Message, holds: Callable[[str], bool]) -> Iterator[str]:
    """Yield the parts of a turn that a text does not hold: content, reasoning, tool_calls."""
    content = content_of(turn)
    reasoning = [str(turn[key]) for key in REASONING_KEYS if turn.get(key)]
    if any(not holds(text) for text in reasoning):
        yield "reasoning"
    thoughts = REASONING.search(content)
    if thoughts and not holds(content):
        spoken = REASONING.sub("", content).strip()
        if thoughts.group(1).strip() and not holds(thoughts.group(1)):
            yield "reasoning"
        if spoken and not holds(spoken):
            yield "content"
    elif content.strip() and not thoughts and not holds(content):
        yield "content"
    names = [call.get("function", call).get("name", "") for call in turn.get("tool_calls") or ()]
    if any(not holds(str(name)) for name in names):
        yield "tool_calls"


def _described(turn: Message, part: str, learnt: bool) -> tuple[str, str, str, str]:
    """Return kind, words, example and remedy of what a template has left out."""
    role, content = turn["role"], quoted(content_of(turn))
    writes_none = "the template leaves out"
    if part == "tool_calls":
        return f"tool_calls:{role}", f"{writes_none} tool_calls of {role} turns", "", FILE_REMEDY
    if part == "content":
        whose = "the answer" if learnt else f"the {role} turn"
        return f"content:{role}:{learnt}", f"{writes_none} {whose}", content, PLAIN_REMEDY
    if learnt:
        what = f"{writes_none} the reasoning of the answer, which is not learnt then"
        remedy = PLAIN_REMEDY if "<think>" in content_of(turn) else FILE_REMEDY
        return "reasoning:answer", what, content, remedy
    return "reasoning:before", f"{writes_none} the reasoning of earlier answers", "", ON_PURPOSE
