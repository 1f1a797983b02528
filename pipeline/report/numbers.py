"""Numbers as they stand on the page."""

from __future__ import annotations

# A number and its sign stay on one line.
_PERCENT = "\u00a0%"


def count_text(number: int) -> str:
    """Return a count with thousands set apart."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """Return a count with its noun, in the plural where there is not exactly one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def share_text(part: float, whole: float) -> str:
    """Return a percentage that says 100 % and 0 % only when that is exact."""
    if whole <= 0:
        return "–"
    percent = 100 * part / whole
    if percent in (0, 100):
        return f"{percent:.0f}{_PERCENT}"
    shown = f"{percent:.1f}"
    if shown in ("0.0", "100.0"):
        shown = "<\u00a00.1" if shown == "0.0" else ">\u00a099.9"
    return f"{shown}{_PERCENT}"


def seconds_text(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def size_text(num_bytes: float) -> str:
    """Return a size with its unit."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while num_bytes >= 1024 and power < len(units) - 1:
        num_bytes /= 1024
        power += 1
    return f"{num_bytes:.1f} {units[power]}" if power else f"{num_bytes:.0f} B"


def decimal_text(value: float | None) -> str:
    """Return a number with three significant digits, a dash where there is none."""
    if value is None or value != value:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def shortened(text: str, limit: int = 300) -> str:
    """Return ``text`` cut to ``limit`` characters, with an ellipsis where something is gone."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
