"""Mathematics as people and models write it, brought to one notation.

Full-width digits, signs of other alphabets, emphasis of Markdown, separators of thousands,
currencies and units are notation: none of them makes an answer another one.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from rlexp.spec.text import UNSPACED

WORD = "word"
"""Stands for a run of characters of a script without spaces, so that it reads as prose."""

_SIGNS = {
    "−–‐‑﹣": "-",
    "\u3000\u00a0\u2007": " ",
    "\u2009\u202f": r"\,",  # thin spaces, which stand between thousands
    "\u200b\u200c\u200d\u2060\ufeff": "",
    "·⋅∙": r"\cdot ",
    "⁄∕": "/",
    "×": r"\times ",
    "÷": r"\div ",
    "π": r"\pi ",
    "∞": r"\infty ",
    "≈": r"\approx ",
    "±": r"\pm ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "∪": r"\cup ",
    "∈": r"\in ",
    "°": r"^\circ ",
    "…": "...",
    "、": ", ",
    "。": ". ",
    "或": " or ",
    "和": " and ",
    **{sign: f"^{{{digit}}}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_CHARACTERS = _FULL_WIDTH | {ord(sign): new for signs, new in _SIGNS.items() for sign in signs}
_VULGAR = {
    "½": (1, 2),
    "⅓": (1, 3),
    "⅔": (2, 3),
    "¼": (1, 4),
    "¾": (3, 4),
    "⅕": (1, 5),
    "⅛": (1, 8),
}
_REWRITTEN = [
    (re.compile(r"</s>\s*\Z"), ""),  # an end token that was not taken for one
    (re.compile(r"<<[^<>\n]*>>"), ""),  # what GSM8K's solutions had a calculator compute
    *((re.compile(sign), rf"\\frac{{{a}}}{{{b}}}") for sign, (a, b) in _VULGAR.items()),
    (re.compile(r"√\s*\(([^()]*)\)|√\s*(\w+)"), r"\\sqrt{\1\2}"),
    (re.compile(rf"[{UNSPACED}]+"), f" {WORD} "),
    (re.compile(r"(?<=[\d)])\s*[xX]\s*(?=\$?[\d(])"), r" \\times "),
    (re.compile(r"(?<![\w)}])\*\*|\*\*(?![\w(\\])|(?<!\w)__(?=\w)|(?<=\w)__(?!\w)|`+"), ""),
    (re.compile(r"(?<![\w)*])\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*(?![\w(*])"), r"\1"),
    (re.compile(r"(?<=[\w)])\*\*(?=[\w(])"), "^"),
    (re.compile(r"\\(?:left|right|displaystyle|,(?!\d)|!|;|quad|qquad|thinspace)(?![a-zA-Z])"), ""),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:mathrm|text)\s*\{\s*([ei])\s*\}"), r"\1"),
]
_TABLE_ROW = re.compile(r"^[ \t]*\|(.*\|.*)\|[ \t]*$", re.MULTILINE)
_SEPARATED = [
    (re.compile(r"(?<=\d)(?:\\[,;:! ]|\{,\}|['’_])\s?(?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<![\d.,(\[{])\d{1,3}(?:,\d{3})+(?![\d,])"), ","),
    (re.compile(r"(?<![\d.,(\[{])\d{1,2}(?:,\d{2})+,\d{3}(?![\d,])"), ","),
    (re.compile(r"(?<![\d.,(\[{])(?<!\d )\d{1,3}(?: \d{3})+(?! ?[\d/])"), " "),
]
CURRENCY = (
    r"(?:(?:US|CA|AU|HK|R)?\\?\$|[£€¥₹₽₩₪฿₫₴₺₦]|\\(?:pounds|euro|yen)\b"
    r"|\b(?:USD|EUR|GBP|RMB|CNY|Rs\.?)(?![a-z]))"
)
"""A currency, before or behind an amount."""
_CURRENCY = re.compile(rf"{CURRENCY}\s*(?=[-+]?[\d.])|(?<=\d)\s*{CURRENCY}")
_SPAN = re.compile(
    r"\$\$(.+?)\$\$|(?<!\\)\$((?:\\\$|[^$\n])+?)(?<!\\)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]",
    re.DOTALL,
)
PROSE = re.compile(
    r"(?<![\\A-Za-z])(?!(?:sqrt|frac|pi|sin|cos|tan|log|ln|exp|inf|infty|mod)\b)[^\W\d_]{2,}"
)
"""A word: two letters or more that name no function and no command of LaTeX."""
_WRAPPED = re.compile(
    r"\\(?:text|textbf|mathbf|mathrm|mathit|boxed|fbox)\s*\{([^{}]*)\}|"
    r"\(\s*([-+]?[\w.\\%/ ]+)\s*\)|[\"“']([^\"”']*)[\"”']|\{([^{}]*)\}"
)
_POWERS = {"hundred": 2, "thousand": 3, "k": 3, "million": 6, "billion": 9, "trillion": 12}
_AMOUNT = re.compile(
    r"([-+]?\d[\d,]*(?:\.\d+)?)\s?(hundred|thousand|k|million|billion|trillion)\b", re.I
)
_UNIT = re.compile(
    r"(?<=[\d}%])\s*(?:\\(?:text|mathrm|mbox|textrm|rm)\s*\{[^{}]*\}|\^\{?\\circ\s*\}?|[^\W\d_]{1,}\.?"
    r"|(?<=[^\W\d_]|\})\^\{?\d\}?|(?<=[^\W\d_]|\})/(?=[^\W\d_\\]|\\(?:text|mathrm)))+(?:\s+[^\W\d_/.-]+\.?)*\s*$"
)


def plain_notation(text: str) -> str:
    """Return a text in ASCII's notation of mathematics, without Markdown's emphasis."""
    text = _TABLE_ROW.sub(lambda row: row[1].replace("|", " ; "), text.translate(_CHARACTERS))
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    return text


def without_separators(text: str) -> str:
    """Return a text whose numbers are written without separators of thousands.

    >>> without_separators(r"9\\,500 or 1,234,567 or (1,200)")
    '9500 or 1234567 or (1,200)'
    """
    for pattern, sign in _SEPARATED:
        text = pattern.sub(
            lambda number, sign=sign: number[0].replace(sign, "") if sign else "", text
        )
    return text


def without_delimiters(text: str) -> str:
    """Return a text without LaTeX's signs around formulas; the $ of a price is none."""

    def unwrapped(match: re.Match[str]) -> str:
        content = next(group for group in match.groups() if group is not None)
        return (
            match[0] if PROSE.search(re.sub(r"\\\w+\s*\{[^{}]*\}", "", content)) else f" {content} "
        )

    return _SPAN.sub(unwrapped, text)


def bare_formula(answer: str, has_letters: bool) -> str:
    """Return an answer as a formula alone: no signs around it, no currency, no unit.

    Args:
        answer: in plain notation.
        has_letters: whether its letters are unknowns, and so no units.

    >>> [bare_formula(answer, has_letters=False) for answer in (r"\\$18.50.", "(16) apples")]
    ['18.50', '16']
    """
    text, before = without_delimiters(answer), None
    while text != before:
        before = text
        text = text.strip().rstrip(".,;:").strip().removeprefix("=").strip()
        if (whole := _WRAPPED.fullmatch(text)) is not None:
            text = next(group for group in whole.groups() if group is not None)
        text = without_separators(_CURRENCY.sub("", text))
        text = re.sub(r"\\?%|\s*\bper ?cent(?:age)?\b|\s*\bpct\b|\\text\{ ?percent ?\}", "%", text)
        text = _AMOUNT.sub(_multiplied, text)
        if not has_letters:
            text = re.sub(r"^\(\s*([-+]?[\d.]+)\s*\)(?=\s*[^\W\d_])", r"\1", text)
            text = _UNIT.sub("", text)
    return text


def _multiplied(amount: re.Match[str]) -> str:
    value = Fraction(amount[1].replace(",", "")) * 10 ** _POWERS[amount[2].lower()]
    return str(value) if value.denominator == 1 else f"{float(value)}"


class PlainNumber(NamedTuple):
    """A number that is written out."""

    value: Fraction
    is_percentage: bool


_DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
_FORMS = {
    "decimal": re.compile(rf"({_DECIMAL})"),
    "scientific": re.compile(
        rf"({_DECIMAL})(?:[eE]([-+]?\d{{1,3}})|\s*(?:\\times|\\cdot|\*|x)\s*10\^\{{?([-+]?\d{{1,3}})\}}?)"
    ),
    "fraction": re.compile(
        r"(?:(\d+)\s*/\s*(\d+)|\\frac\s*\{(\d+)\}\s*\{(\d+)\}|\\frac\s*(\d)\s*(\d))"
    ),
    "mixed": re.compile(r"(\d+)(?:\s+(\d+)\s*/\s*(\d+)|\s*\\frac\s*\{(\d+)\}\s*\{(\d+)\})"),
}
_SIGN = re.compile(r"([-+]?)\s*(.*?)\s*(%?)", re.DOTALL)
_SIGNED_FRACTION = re.compile(r"\\frac\s*\{\s*-\s*(\d+)\s*\}\s*\{(\d+)\}")


def plain_number(formula: str) -> PlainNumber | None:
    """Return the number that a formula writes out, None for anything that is left to be computed.

    A number is a decimal, a fraction in lowest terms, a whole number and such a fraction, or a
    decimal with a power of ten; a fraction that can be reduced is a division.

    >>> plain_number("1 1/2").value, plain_number("248/2"), plain_number("28 + 96")
    (Fraction(3, 2), None, None)
    """
    sign, body, percent = _SIGN.fullmatch(_SIGNED_FRACTION.sub(r"-\1/\2", formula.strip())).groups()  # pyright: ignore[reportOptionalMemberAccess] - it matches all
    value = _unsigned(body)
    if value is None:
        return None
    return PlainNumber(-value if sign == "-" else value, bool(percent))


def _unsigned(body: str) -> Fraction | None:
    for form, pattern in _FORMS.items():
        if (match := pattern.fullmatch(body)) is None:
            continue
        parts = [group for group in match.groups() if group is not None]
        if form == "decimal":
            return Fraction(parts[0].rstrip(".") or "0")
        if form == "scientific":
            return Fraction(parts[0].rstrip(".")) * Fraction(10) ** int(parts[1])
        whole = int(parts[0]) if form == "mixed" else 0
        above, below = int(parts[-2]), int(parts[-1])
        if below < 2 or Fraction(above, below).denominator != below:
            return None
        return whole + Fraction(above, below)
    return None
