"""Tag lists (RFC 6376 §3.2): `name=value; name=value`. Called by `signature`, `key`, `arc` and `dmarc`."""

import base64
import binascii
import re

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_VALUE = re.compile(r"[\x21-\x3a\x3c-\x7e\s]*")
_WHITE = " \t\r\n"


class TagError(ValueError):
    """The text is no tag list, or a value is not what its tag wants; the argument says what."""


def parse_tags(text: str, *, unicode: bool = False) -> dict[str, str]:
    """Return the tags in order, values without white space around them; a name twice is an error (RFC 6376 §3.2).

    `unicode`: values may go beyond ASCII (RFC 6376 §3.6.1 `n=`; RFC 8616 §4 `i=`).
    """
    tags: dict[str, str] = {}
    pieces = text.split(";")
    if not pieces[-1].strip(_WHITE):
        pieces.pop()
    for piece in pieces:
        name, equals, value = piece.partition("=")
        name, value = name.strip(_WHITE), value.strip(_WHITE)
        if not equals or _NAME.fullmatch(name) is None:
            raise TagError(f"no tag: {piece.strip()[:40]!r}")
        if name in tags:
            raise TagError(f"tag {name[:40]} twice")
        if not unicode and _VALUE.fullmatch(value) is None:
            raise TagError(f"odd characters in tag {name[:40]}")
        tags[name] = value
    return tags


def require(tags: dict[str, str], *names: str) -> None:
    """TagError unless all these tags are there and say something."""
    for name in names:
        if not tags.get(name):
            raise TagError(f"no tag {name}")


def read_base64(text: str, name: str) -> bytes:
    """Return the bytes that a value stands for; white space in it means nothing (RFC 6376 §2.10)."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise TagError(f"tag {name} is no base64") from error


def read_number(tags: dict[str, str], name: str) -> int:
    """Return the value of a number of seconds or octets, 0 when it is absent; at most 12 digits (RFC 6376 §3.5)."""
    text = tags.get(name, "0")
    if not text.isdecimal() or not text.isascii() or len(text) > 76:
        raise TagError(f"tag {name} is no number")
    return min(int(text), 10**12)


def split_list(text: str) -> tuple[str, ...]:
    """Return the members of a colon-separated list, white space around them removed."""
    return tuple(each.strip(_WHITE) for each in text.split(":"))
