"""Where in a text its final answer stands.

The strongest marks that a text has decide: an `<answer>` block, a `\\boxed{…}` or what follows
`####` (GSM8K's form, Cobbe et al. 2021, arXiv:2110.14168); then "the final answer is"; then "the
answer is". Of several marks of the strongest kind all are answers, so that guesses exclude each
other. Without marks it is the result that the last statement gives, provided that the text ends
there and that the statement is none in a list of guesses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rlexp.rewards.common.notation import (
    CURRENCY,
    PROSE,
    without_delimiters,
    without_separators,
)

_TAG = re.compile(r"<answer>(.*?)(</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*(?=\{)")
_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*\n?([^\n]*)")
_IS = r"(?:\bis\b|['’]s\b|:|=|\b(?:would|should|must) be\b)"
_SAID = (
    re.compile(
        r"\b(?:final|correct)\s+(?:answer|option|choice|result)\b"
        rf"[^.:\n]{{0,60}}?(?:{_IS}|\n)\s*{_IS}?\s*([^\n]*)",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\banswer\b(?:\s+to\s[^.:\n]{{1,60}}?)?\s*{_IS}\s*{_IS}?\s*([^\n]*)", re.IGNORECASE
    ),
)
"""How an answer is announced, the stronger way first."""
_SENTENCE = re.compile(
    r"(?<=[!?])\s+|(?<=[^\W\d]{2}\.)\s+|(?<=[\d)$}%\"]\.)\s+(?=[A-Z(\\$*\[])|\n+"
)
_HEADING = re.compile(r"\d+[.):]\s+[^\W\d_]")
_NUMBER = rf"(?:{CURRENCY}\s*)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*\\?%)?"
_COMMAND = (
    r"\\(?:frac|sqrt|pi|times|cdot|infty|div|text|mathrm|circ|%)(?:\s*\{(?:[^{}]|\{[^{}]*\})*\})*"
)
_RUN = re.compile(
    rf"(?:[-+(=^/*!)]|{_NUMBER}|{_COMMAND}|(?<![^\W_])[a-zA-Z](?=\s*[=^+*/-]\s*[\d\w\\(-])|(?<=[\d=+*/^-])[a-zA-Z](?![a-zA-Z])|\s)+"
)
_GUESSES = re.compile(r"\b(?:or|maybe|perhaps|possibly|alternatively|either)\b|\.\.\.|\\[cl]?dots")
_UNFINISHED = re.compile(
    r"\b(?:and|or|so|then|which|that|we|i|she|he|they|it|the|a|an|now|is|are|was|of|to|by|from|with|"
    r"for|if|but|because|as|at|in|on|let|therefore|thus|this)[,:]?$",
    re.IGNORECASE,
)
_LIST_GLUE = re.compile(r"(?:[\s,;:/|.&()-]|\b(?:and|or|to)\b)*")
_MOST_CLOSING_SENTENCES = 2
_MOST_TRAILING_WORDS = 8


def marked_answers(text: str) -> list[str]:
    """Return what the strongest marks of a text mark; [""] where a mark is left open.

    Args:
        text: in plain notation.
    """
    strong = [*_in_tags(text), *_in_boxes(text), *_behind_hashes(text)]
    if strong:
        return strong
    for pattern in _SAID:
        said = [_first_sentence(match) for match in pattern.finditer(text)]
        if said := [answer for answer in said if has_mathematics(answer) or _is_choice(answer)]:
            return said
    return []


def ends_with_mark(text: str) -> bool:
    """Return whether a text ends with its marked answer, or one sentence behind it."""
    ends = [match.end() for match in _TAG.finditer(text)]
    ends += [end for _, end in _boxes(text)]
    ends += [match.end() for pattern in (_HASHES, *_SAID) for match in pattern.finditer(text)]
    tail = text[max(ends, default=0) :].strip(" \n$*.})\\]")
    return len(_SENTENCE.split(tail)) == 1


def has_mathematics(text: str) -> bool:
    """Return whether there is a digit, a command of LaTeX or an operation in a text."""
    return re.search(r"\d|\\[a-zA-Z]+|[A-Za-z]\s*[=+*/^-]\s*\w|^\W*[a-zA-Z]\W*$", text) is not None


def _is_choice(text: str) -> bool:
    return re.search(r"^\W*[A-J](?:[).:,]|\W*$)|(?<![\w'])[A-J]\W*$", text) is not None


def _in_tags(text: str) -> Iterator[str]:
    for content, end in _TAG.findall(text):
        if not _BOX.search(content):  # which is a mark of its own
            yield content.strip() if end else ""


def _boxes(text: str) -> Iterator[tuple[str, int]]:
    """Yield the content of each box and where it ends; "" for one that is never closed."""
    for box in _BOX.finditer(text):
        depth, start = 0, box.end()
        for position in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                yield text[start + 1 : position], position + 1
                break
        else:
            yield "", len(text)


def _in_boxes(text: str) -> list[str]:
    return [content for content, _ in _boxes(text)]


def _behind_hashes(text: str) -> Iterator[str]:
    """Yield what follows ####, but where that is the heading of a section."""
    for match in _HASHES.finditer(text):
        content = match[1].strip()
        is_last = not text[match.end() :].strip()
        if _BOX.search(content):
            continue
        starts_mathematically = re.match(r"\W*\d|\W*\\|.{1,3}$", content) is not None
        if is_last or (starts_mathematically and not _HEADING.match(content)):
            yield content


def _first_sentence(match: re.Match[str]) -> str:
    """Return the sentence behind "the answer is"; of the next line where this one ends."""
    if has_mathematics(match[1]) or PROSE.search(match[1]) or _is_choice(match[1]):
        return _SENTENCE.split(match[1])[0]
    behind = match.string[match.end() :].strip().split("\n")
    return _SENTENCE.split(behind[0])[0]


def stated_answer(text: str, prompt: str) -> str | None:
    """Return the last statement of a text without marks; None where it is no answer of its own.

    Args:
        text, prompt: in plain notation.
    """
    sentences = [sentence.strip() for sentence in _SENTENCE.split(text) if sentence.strip()]
    for distance, sentence in enumerate(reversed(sentences)):
        index = len(sentences) - 1 - distance
        if not (has_mathematics(sentence) or _is_choice(sentence)):
            is_ended = re.search(r"[.!?:)\"*|>-]$", sentence) is not None
            if distance >= _MOST_CLOSING_SENTENCES or not is_ended:
                return None
            continue
        if sentence.endswith("?") or _is_echo(sentence, prompt) or _is_cut(sentence):
            return None
        is_listed = any(_skeleton(sentence) == _skeleton(other) for other in sentences[:index])
        return None if is_listed else sentence
    return None


def _is_echo(sentence: str, prompt: str) -> bool:
    """Return whether a statement, more than a number, stands in the prompt."""
    return PROSE.search(sentence) is not None and _squeezed(sentence) in _squeezed(prompt)


def _squeezed(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text).strip().casefold()


def _is_cut(sentence: str) -> bool:
    """Return whether a sentence breaks off, as far as that can be seen from its words."""
    if re.search(r"[.!:)\]}$%\"*|>]$", sentence):
        return False
    behind = PROSE.findall(re.split(r"\d", sentence)[-1])
    return len(behind) > _MOST_TRAILING_WORDS or _UNFINISHED.search(sentence) is not None


def _skeleton(text: str) -> str:
    """Return a statement with its numbers, and the plural, taken out; a calculation is its own."""
    if re.search(r"[-+*/]|\\(?:times|cdot|frac)", text) and "=" in text:
        return text
    return re.sub(r"\b(\w{3,}?)s\b", r"\1", re.sub(r"[-+]?\d[\d.,]*", "0", _squeezed_numbers(text)))


def _squeezed_numbers(text: str) -> str:
    return re.sub(r"[^\w.\s-]|(?<!\d)\.|\.(?!\d)", "", text).strip().casefold()


def formula_in(statement: str) -> str:
    """Return the formula that a statement gives as its result; a list of guesses is given whole.

    >>> formula_in("so she makes 9 * 2 = 18 dollars a day"), formula_in("Therefore, x = 3")
    ('9 * 2 = 18', 'x = 3')
    >>> formula_in("it is 17 or 18")
    '17 or 18'
    """
    text = without_separators(without_delimiters(statement)).strip()
    if not PROSE.search(_without_commands(text)):
        return text
    words = list(PROSE.finditer(_blanked(text)))
    behind = text[words[-1].end() :].strip(" .,;:!")
    if re.match(r"[+*/]|-\s", behind):  # the sum of a number in words
        return text
    runs = [run for run in _RUN.finditer(_blanked_words(text, words)) if _counts(run[0])]
    if has_mathematics(behind) and not _is_rest(behind, text):
        last, start = behind, text.rfind(behind)
    elif runs:
        last, start = _with_unit(text, runs[-1]), runs[-1].start()
    else:
        return text
    equations = [run for run in runs if re.search(r"\d.*=.*\d", run[0])]
    if equations and equations[-1].end() <= start and behind != text:
        rest = text[equations[-1].end() :]
        if not _GUESSES.search(rest) and re.match(r"\s*[^\W\d_]{3,}", rest):
            last, start = _with_unit(text, equations[-1]), equations[-1].start()
    earlier = [run for run in runs if run.end() <= start]
    if earlier:
        between = text[earlier[-1].end() : start]
        clauses = [clause for clause in re.split(r"[,;]|\band\b", text) if re.search(r"\d", clause)]
        listed = len(clauses) > 1 and _skeleton(clauses[-1]) in map(_skeleton, clauses[:-1])
        if _GUESSES.search(between) or _LIST_GLUE.fullmatch(between) or listed:
            return text[earlier[0].start() :].strip()
    denied = re.search(r"(?:\bnot|n't)\s+\W*$", text[:start])
    return "" if denied else last


def _counts(run: str) -> bool:
    return re.search(r"^(?!\s*\^).*(?:\d|\\(?:pi|sqrt|frac|infty))", run, re.DOTALL) is not None


def _is_rest(behind: str, text: str) -> bool:
    """Return whether what follows the last word is a unit's power or the end of an expression."""
    return re.match(r"\^|/|\)", behind) is not None and behind != text


def _with_unit(text: str, run: re.Match[str]) -> str:
    """Return a run of mathematics with the words behind it that may be its unit or its size."""
    unit = re.match(
        r"\s*(?:%|per ?cent|hundred|thousand|million|billion|trillion|k\b)", text[run.end() :]
    )
    return run[0].strip().rstrip("(").strip() + (unit[0] if unit else "")


def _without_commands(text: str) -> str:
    return re.sub(r"\\(?:text|mathrm|textbf|mbox|textrm)\s*\{[^{}]*\}|\\[a-zA-Z]+", " ", text)


def _blanked(text: str) -> str:
    """Return a text of the same length without LaTeX's commands and the words inside of them."""
    pattern = r"\\(?:text|mathrm|textbf|mbox|textrm)\s*\{[^{}]*\}|\\[a-zA-Z]+"
    return re.sub(pattern, lambda match: " " * len(match[0]), text)


def _blanked_words(text: str, words: list[re.Match[str]]) -> str:
    letters = list(text)
    for word in words:
        letters[word.start() : word.end()] = "#" * (word.end() - word.start())
    return "".join(letters)
