"""Bytes of a file as lines of text: UTF-8, what a byte order mark says, or what the config names.

Nothing is decoded by guess. What a file that is no UTF-8 probably is, `charset_normalizer` says,
and the message shows how its first words would read.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from rlexp.spec.errors import Problem

_LIKELY = (
    *("gb18030", "big5", "cp932", "euc_jp", "cp949"),
    *("cp1252", "cp1251", "koi8_r", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256"),
)
"""Encodings that data sets are found in: Chinese, Japanese, Korean, and one byte a character."""
_SAMPLE_BYTES = 65_536
_WORDS_SHOWN = 30
_MUCH_HIRAGANA = 0.2
_MARKS = re.compile("^\ufeff+|\ufeff+(?=\r?\n?$)")
"""Byte order marks around a line: files that were put together from several have them inside."""
_OTHER_ENCODING = "Does data.encoding name its encoding? Null takes UTF-8."
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f][^\"\\]*")


def _known_encoding(name: str | None) -> str | None:
    try:
        "".encode(name or "utf-8")
    except LookupError as error:
        raise ValueError("an encoding of texts that Python knows, e.g. gb18030") from error
    return name


Encoding = Annotated[str | None, AfterValidator(_known_encoding)]


def decoded_lines(
    file: Path, shown: str, problems: list[Problem], encoding: str | None
) -> Iterator[str]:
    """Yield the lines of a file with their ends.

    Args:
        file: where it is.
        shown: its path as the user wrote it.
        problems: where bytes that are no text are added; what stands around them is yielded, so
            that other mistakes are found as well.
        encoding: what the config says; None is UTF-8, or what a byte order mark says.
    """
    with file.open("rb") as stream:
        encoding = encoding or json.detect_encoding(stream.read(4))
    encoding = "utf-8" if encoding == "utf-8-sig" else encoding
    read = _lines if "\n".encode(encoding) == b"\n" else _wide_lines
    for line in read(encoding, file, shown, problems):
        yield _MARKS.sub("", line)


def _wide_lines(encoding: str, file: Path, shown: str, problems: list[Problem]) -> Iterator[str]:
    """Yield lines of an encoding whose line breaks are more than the byte of ASCII."""
    try:
        with file.open(encoding=encoding, newline="\n") as stream:
            yield from stream
    except UnicodeError as error:
        got = f"bytes that are no {encoding}: {error}"
        problems.append(Problem(shown, got, f"text in {encoding}", _OTHER_ENCODING))


def _lines(encoding: str, file: Path, shown: str, problems: list[Problem]) -> Iterator[str]:
    broken: list[tuple[int, str]] = []
    sample, elsewhere = bytearray(), False
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                line = raw.decode(encoding)
                elsewhere = elsewhere or not raw.isascii()
            except UnicodeDecodeError as error:
                byte, position = raw[error.start], error.start + 1
                broken.append((number, f"byte 0x{byte:02x} at position {position}"))
                sample += raw[: max(0, _SAMPLE_BYTES - len(sample))]
                line = raw.decode(encoding, errors="replace")
            yield line
    if not broken:
        return
    number, got = broken[0]
    if more := broken[1:]:
        got += f", and such bytes in {len(more)} more lines, the last at {shown}:{more[-1][0]}"
    remedy, want = _OTHER_ENCODING, f"text in {encoding}"
    if encoding == "utf-8":
        remedy = _mixed(shown) if elsewhere else _remedy(bytes(sample), shown)
        want = "text in UTF-8"
    problems.append(Problem(f"{shown}:{number}", got, want, remedy))


def _mixed(shown: str) -> str:
    name = shlex.quote(shown)
    return (
        "Other lines are UTF-8, so these are damaged or came from elsewhere; this shows them: "
        f"LC_ALL=C.UTF-8 grep -naxv '.*' {name}"
    )


def _remedy(sample: bytes, shown: str) -> str:
    guess = likely_encoding(sample)
    if guess is None:
        return "Which encoding is it? data.encoding=NAME reads it."
    decoded = sample.decode(guess, errors="replace")
    match = _BEYOND_ASCII.search(decoded)
    words = match.group()[:_WORDS_SHOWN] if match else decoded[:_WORDS_SHOWN]
    path = Path(shown)
    new = shlex.quote(str(path.with_name(f"{path.stem}.utf8{path.suffix}")))
    return (
        f"Probably {guess}, in which it reads {words!r}. If that is right: data.encoding={guess}, "
        f"or iconv -f {guess.replace('_', '-').upper()} -t UTF-8 {shlex.quote(shown)} > {new}"
    )


def _share_of_hiragana(sample: bytes, encoding: str) -> float:
    try:
        decoded = sample.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    foreign = [character for character in decoded if not character.isascii()]
    return sum("\u3041" <= character <= "\u309f" for character in foreign) / max(1, len(foreign))


def likely_encoding(sample: bytes) -> str | None:
    """Return the encoding in which bytes read most like a language; None where none does."""
    from charset_normalizer import from_bytes

    for japanese in ("cp932", "euc_jp"):  # short texts of kana pass for rare Korean syllables
        if _share_of_hiragana(sample, japanese) > _MUCH_HIRAGANA:
            return japanese
    matches = from_bytes(sample, cp_isolation=list(_LIKELY))
    best = matches.best()
    if best is None:
        return None
    # western texts read the same in several encodings, of which this is the usual one
    try:
        western = sample.decode("cp1252")
    except UnicodeDecodeError:
        return best.encoding
    same = western == str(best) or any(match.encoding == "cp1252" for match in matches)
    return "cp1252" if same else best.encoding
