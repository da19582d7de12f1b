"""From what a file says to what the gateway uses: one value of one parameter. Pure; ValueError says what is wrong.

Results are plain values (bool, int, float, str, tuple of str): the assembler turns them into the schema's types.
"""

import re
from collections.abc import Sequence

from gatepost.config.items import COMMA_ITEMS, PARSERS
from gatepost.config.parameter import Item, Kind, Parameter
from gatepost.config.sender_entry import split_entries
from gatepost.config.units import parse_size, parse_time

Value = bool | int | float | str | tuple[str, ...]

TRUE_WORDS = frozenset(("true", "yes", "y", "1", "on"))
FALSE_WORDS = frozenset(("false", "no", "n", "0", "off"))

_COMMA = re.compile(r"\s*,\s*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")


class OutOfRange(ValueError):  # noqa: N818 - a kind of complaint, and its name says which
    """The value has the right form but lies outside the range."""


def parse_flag(raw: object) -> bool:
    """Return a truth value: the words of F-CONF-02 in any case."""
    if isinstance(raw, bool):
        return raw
    word = str(raw).strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ValueError(f"{str(raw)[:40]!r} is neither true nor false")


def _parse_count(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and _INTEGER.match(raw.strip()):
        return int(raw)
    raise ValueError(f"{str(raw)[:40]!r} is not a whole number")


def _quantity_text(raw: object) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return str(raw)
    raise ValueError(f"{str(raw)[:40]!r} is not a number")


def parse_number(parameter: Parameter, raw: object) -> int | float:
    """Return an integer, bytes or seconds, not yet compared with the range."""
    if parameter.kind is Kind.COUNT:
        return _parse_count(raw)
    if parameter.kind is Kind.SIZE:
        return parse_size(_quantity_text(raw), parameter.unit)
    return parse_time(_quantity_text(raw), parameter.unit)


def check_range(parameter: Parameter, value: float, *, wide: bool) -> None:
    """Raise OutOfRange when a number lies outside the documented, or the wide, range."""
    low, high = parameter.bounds(wide=wide)
    if (low is not None and value < low) or (high is not None and value > high):
        raise OutOfRange(f"{parameter.describe_value(value)} is out of range")


def split_items(parameter: Parameter, text: str) -> list[str]:
    """Return the elements that one line of a list parameter holds."""
    if parameter.kind is Kind.STATUSES or parameter.item in COMMA_ITEMS:
        return [part for part in _COMMA.split(text.strip()) if part]
    if parameter.item is Item.SENDER:
        return split_entries(text)
    return [text.strip()] if text.strip() else []


def parse_item(parameter: Parameter, text: str) -> str:
    """Return one element of a list in canonical form."""
    return PARSERS[parameter.item](text)


def parse_statuses(parameter: Parameter, tokens: Sequence[str]) -> tuple[str, ...]:
    """Return status tokens in the schema's order; `all` and `none` stand alone."""
    words = {token.lower() for token in tokens}
    unknown = sorted(words - set(parameter.choices) - {"all", "none"})
    if unknown:
        raise ValueError(f"unknown status {', '.join(repr(word[:40]) for word in unknown)}")
    if "none" in words and len(words) > 1:
        raise ValueError("none stands alone")
    if "all" in words:
        return parameter.choices
    return tuple(choice for choice in parameter.choices if choice in words)


def parse_scalar(parameter: Parameter, raw: object) -> Value:
    """Return the value of a parameter that is no list; numbers are not yet compared with their range."""
    kind = parameter.kind
    if kind is Kind.FLAG:
        return parse_flag(raw)
    if kind in (Kind.COUNT, Kind.SIZE, Kind.TIME):
        return parse_number(parameter, raw)
    if not isinstance(raw, str):
        raise ValueError(f"{str(raw)[:40]!r} is not text")  # noqa: TRY004 - one family of complaints
    if kind is Kind.CHOICE:
        word = raw.strip().lower()
        if word not in parameter.choices:
            raise ValueError(f"unknown word {raw[:40]!r}")
        return word
    if "\0" in raw:
        raise ValueError("contains a NUL character")
    if raw and parameter.item is not Item.TEXT:
        return PARSERS[parameter.item](raw.strip())
    return raw
