"""Sizes and times: bare numbers in the documented unit, or a number with its unit ("10 MiB", "5 min", "2 days").

KB and MB mean 1024 and 1024² bytes, as the documented parameters always have.
"""

import enum
import re

_QUANTITY = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\Z")


class Unit(enum.Enum):
    """Unit of a bare number: (word in the manual, how much one is in bytes or seconds)."""

    NONE = ("", 1.0)
    PERCENT = ("%", 1.0)
    BYTES = ("bytes", 1.0)
    KB = ("KB", 1024.0)
    MB = ("MB", 1024.0**2)
    SECONDS = ("s", 1.0)
    DAYS = ("days", 86400.0)

    @property
    def word(self) -> str:
        """Word shown to people."""
        return self.value[0]

    @property
    def scale(self) -> float:
        """Bytes or seconds in one."""
        return self.value[1]


_SIZES: dict[str, float] = {"b": 1, "byte": 1, "bytes": 1}
_SIZES |= {
    spelling: 1024.0**power
    for power, letter in enumerate("kmgt", start=1)
    for spelling in (letter, f"{letter}b", f"{letter}ib")
}
_TIMES: dict[str, float] = {
    spelling: scale
    for scale, spellings in (
        (0.001, "ms millisecond milliseconds"),
        (1.0, "s sec second seconds"),
        (60.0, "m min minute minutes"),
        (3600.0, "h hour hours"),
        (86400.0, "d day days"),
        (604800.0, "w week weeks"),
    )
    for spelling in spellings.split()
}

_SIZE_WORDS = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_TIME_WORDS = ((86400, "days"), (3600, "h"), (60, "min"))


def _parse(text: str, unit: Unit, table: dict[str, float], example: str) -> float:
    found = _QUANTITY.match(text.strip())
    if found is None:
        raise ValueError(f"{text[:60]!r} is not a number with an optional unit, like {example}")
    number, word = found.groups()
    scale = table.get(word.lower()) if word else unit.scale
    if scale is None:
        raise ValueError(f"unknown unit {word[:20]!r}; use one like in {example}")
    return float(number) * scale


def parse_size(text: str, unit: Unit) -> int:
    """Return bytes; a bare number counts in `unit`. ValueError says what is wrong."""
    return round(_parse(text, unit, _SIZES, '"10 MiB" or "64 KiB"'))


def parse_time(text: str, unit: Unit) -> float:
    """Return seconds; a bare number counts in `unit`. ValueError says what is wrong."""
    return _parse(text, unit, _TIMES, '"30 s", "5 min" or "2 days"')


def format_size(value: int) -> str:
    """Return bytes in the largest unit that divides them, readable by `parse_size` without loss."""
    for scale, word in _SIZE_WORDS:
        if value and value % scale == 0:
            return f"{value // scale} {word}"
    return f"{value} B"


def format_time(value: float) -> str:
    """Return seconds in the largest unit that divides them, readable by `parse_time` without loss."""
    if value != int(value):
        return f"{value:.9f}".rstrip("0") + " s"
    for scale, word in _TIME_WORDS:
        if value and value % scale == 0:
            return f"{int(value) // scale} {word}"
    return f"{int(value)} s"
