"""Numbers as people read them, on the terminal and on pages alike."""

from __future__ import annotations

NOTHING = "–"


def number(value: float | None) -> str:
    """Return a number to three decimals below ten, fewer above: as much as evaluations can tell.

    >>> number(0.9412), number(47.31), number(12345.6), number(None)
    ('0.941', '47.3', '12346', '–')
    """
    if value is None:
        return NOTHING
    decimals = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:.{decimals}f}"


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
