"""From what a policy wrote to the text and the words that a reward scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import TOKENS, DataColumn
from rlexp.spec.text import UNSPACED, Text, content_of, joined

_LETTER = rf"[^\W_{UNSPACED}]"
_REASONING = "think|thinking|thought|reasoning|scratchpad"
_REASONED = re.compile(rf"<({_REASONING})>.*?(?:</\1>|\Z)|\A.*</(?:{_REASONING})>", re.I | re.S)
_WORD = re.compile(rf"[{UNSPACED}]|{_LETTER}+(?:['’-]{_LETTER}+)*")


def words_of(text: str) -> list[str]:
    """Return the words of a text, punctuation left out.

    A character of a script without spaces counts as a word.

    >>> words_of("It's well-made, 很好!")
    ["It's", 'well-made', '很', '好']
    """
    return _WORD.findall(text)


def column_of(
    columns: Mapping[str, DataColumn], name: str, key: str = "reward.column"
) -> DataColumn:
    """Return the column of the data that a key of the config names.

    Raises:
        UserError: the data lacks it.
    """
    if name not in columns:
        has = ", ".join(sorted(columns)) or "it has no extra ones"
        raise UserError(Problem(key, name, f"a column of the data ({has})"))
    return columns[name]


def token_lengths(columns: Mapping[str, DataColumn]) -> list[int]:
    """Return the tokens of each completion, its end token included.

    Raises:
        UserError: called without them, which a run gives to every reward that `reads_tokens`.

    >>> token_lengths({"completion_ids": [[5, 6, 1], []]})
    [3, 0]
    """
    if TOKENS not in columns:
        want = "completions with the column completion_ids: a list of token ids each"
        raise UserError(Problem("reward", "completions without their tokens", want))
    return [len(ids) for ids in columns[TOKENS]]


def texts_of(
    completions: Sequence[Text], openings: Iterable[str | None] | None = None
) -> list[str]:
    """Return the text of each completion; with `openings`, of the whole that it completes.

    Of a list of messages it is the assistant's last turn, empty where there is none. A space goes
    between opening and completion only where two words would otherwise run together.

    Raises:
        ValueError: there are not as many openings as completions.

    >>> texts_of([" was fun.", "fun."], openings=["The plot", "It was"])
    ['The plot was fun.', 'It was fun.']
    """
    texts = [last_turn(completion, "assistant") for completion in completions]
    if openings is None:
        return texts
    return [joined(opening or "", text) for opening, text in zip(openings, texts, strict=True)]


def last_turn(text: Text, role: str) -> str:
    """Return a string as it is; of messages the last one of a role, empty where there is none."""
    if isinstance(text, str):
        return text
    turns = [message for message in text if message.get("role") == role]
    return content_of(turns[-1]) if turns else ""


def without_reasoning(text: str) -> str:
    """Return a text without its reasoning: what stands in `<think>` and its like.

    A block that is not closed goes to the end; one that the prompt has opened begins the text.

    >>> without_reasoning("<think>17?</think> 18"), without_reasoning("17? </think>18")
    (' 18', '18')
    >>> without_reasoning("<think>17, or is it 18")
    ''
    """
    return _REASONED.sub("", text)
