"""Numbers as people read them, on the terminal and on pages alike."""

from __future__ import annotations

import math
from typing import Any

NOTHING = "–"


SCIENTIFIC = 1e-5
"""Below it numbers are written with an exponent."""


def finite(value: Any) -> Any:
    """Return a value with None in the place of each number in it that is not finite, as JSON wants.

    >>> finite({"a": math.inf, "b": (1.0, math.nan)})
    {'a': None, 'b': [1.0, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def number(value: float | None) -> str:
    """Return a number to three decimals below ten, or three digits where it is near 0; fewer above.

    >>> number(0.9412), number(47.31), number(12345.6), number(None)
    ('0.941', '47.3', '12346', '–')
    >>> number(0.0), number(0.0543), number(-0.00043219), number(0.00000012345)
    ('0.000', '0.0543', '-0.000432', '1.23e-07')
    """
    if value is None:
        return NOTHING
    if abs(value) < 10:
        return _near_zero(value, 3)
    return f"{value:.{1 if abs(value) < 1000 else 0}f}"


def short(value: float, sign: str = "") -> str:
    """Return a number to two decimals, or two digits where it is near 0; `+` shows every sign.

    >>> short(0.9412), short(0.0043), short(0.05, "+"), short(0.0)
    ('0.94', '0.0043', '+0.05', '0.00')
    """
    if not abs(value) < 0.01:  # also where it is no number
        return f"{value:{sign}.2f}"
    text = _near_zero(value, 2)
    return f"+{text}" if sign and not text.startswith("-") else text


def _near_zero(value: float, digits: int) -> str:
    """Return a number below ten with so many decimals, and no fewer significant digits."""
    if value == 0:
        return f"{0:.{digits}f}"
    if abs(value) < SCIENTIFIC:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def brief(value: object) -> str:
    """Return a setting, with as many digits as people read.

    >>> brief(0.00123456), brief(8), brief("[ipo]")
    ('0.00123', '8', '[ipo]')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def interval(low: float | None, high: float | None) -> str:
    """Return `[low, high]`, or nothing where an end is not known."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def share(part: float) -> str:
    """Return a share in percent.

    >>> share(1), share(0.87512), share(0.004)
    ('100%', '87.5%', '0.4%')
    """
    return f"{100 * part:.3g}%"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours.

    >>> duration(4.21), duration(75), duration(7384)
    ('4.2 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def memory(mib: float) -> str:
    """Return an amount of memory in MiB or GiB.

    >>> memory(812.3), memory(4096)
    ('812 MiB', '4.0 GiB')
    """
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"
