"""Answers of a milter: packets a filter sends at the end of a message.

Called by `service.milter_plan`. Promises: a text cannot end a packet or a line early, whatever it holds; values are in
the form in which the mail system told its own (`exact_values`).
"""

import struct
from collections.abc import Iterator
from typing import Final

from gatepost.model.reply import Reply

BODY_PIECE: Final = 65535
"""Octets of a new body in one packet (MILTER_CHUNK_SIZE)."""
REPLY_LINES: Final = 10
"""Lines of a refusal: Sendmail takes 32."""
REPLY_LINE_BYTES: Final = 400
"""Octets of one of them: of a reply line RFC 5321 §4.5.3.1.5 allows 512, with code and CRLF."""

_HEAD: Final = struct.Struct("!Ic")
_INDEX: Final = struct.Struct("!I")
_DEFAULT_ENHANCED: Final = {4: "4.7.1", 5: "5.7.1"}

CONTINUE: Final = _HEAD.pack(1, b"c")
DISCARD: Final = _HEAD.pack(1, b"d")
PROGRESS: Final = _HEAD.pack(1, b"p")


def _packet(command: bytes, data: bytes) -> bytes:
    return _HEAD.pack(len(data) + 1, command) + data


def build_refusal(reply: Reply) -> bytes:
    """Return the packet that refuses a message with a 4xx or 5xx reply. Its enhanced code must be of the same class."""
    code = reply.code if 400 <= reply.code <= 599 else 451
    enhanced = reply.enhanced if reply.enhanced.startswith(str(code)[0] + ".") else _DEFAULT_ENHANCED[code // 100]
    texts = [_clean(line) for line in reply.lines[:REPLY_LINES]] or [b""]
    start = f"{code}-{enhanced} ".encode()
    lines = [start + text for text in texts[:-1]]
    lines.append(start.replace(b"-", b" ", 1) + texts[-1])
    return _packet(b"y", b"\r\n".join(lines) + b"\0")


def build_insert(name: str, value: bytes, *, exact_values: bool) -> bytes:
    """Return the packet that puts a field in front of all others."""
    return _packet(b"i", _INDEX.pack(0) + _name(name) + _value(value, exact_values=exact_values))


def build_append(name: str, value: bytes, *, exact_values: bool) -> bytes:
    """Return the packet that puts a field behind all others."""
    return _packet(b"h", _name(name) + _value(value, exact_values=exact_values))


def build_change(name: str, index: int, value: bytes, *, exact_values: bool) -> bytes:
    """Return the packet that gives the `index`-th field of this name, from 1, another value."""
    return _packet(b"m", _INDEX.pack(index) + _name(name) + _value(value, exact_values=exact_values))


def build_delete(name: str, index: int) -> bytes:
    """Return the packet that deletes the `index`-th field of this name, from 1."""
    return _packet(b"m", _INDEX.pack(index) + _name(name) + b"\0")


def build_body(body: bytes) -> Iterator[bytes]:
    """Yield the packets that replace the body."""
    for start in range(0, max(len(body), 1), BODY_PIECE):
        yield _packet(b"b", body[start : start + BODY_PIECE])


def build_add_recipient(address: bytes) -> bytes:
    """Return the packet that adds a recipient. `address` as in RCPT, with the angle brackets."""
    return _packet(b"+", address.replace(b"\0", b"") + b"\0")


def build_delete_recipient(address: bytes) -> bytes:
    """Return the packet that takes a recipient away. `address` as the mail system told it."""
    return _packet(b"-", address + b"\0")


def build_hold(reason: str) -> bytes:
    """Return the packet that has the mail system keep the message until an operator decides."""
    return _packet(b"q", _clean(reason) + b"\0")


def _name(name: str) -> bytes:
    return name.encode("ascii", "replace").replace(b"\0", b"") + b"\0"


def _value(value: bytes, *, exact_values: bool) -> bytes:
    """Return a value as mail systems want it: lines end with LF alone."""
    text = value.replace(b"\r\n", b"\n").replace(b"\0", b"")
    return (b" " if exact_values else b"") + text + b"\0"


def _clean(text: str) -> bytes:
    """Return text for a reply line: printable ASCII, percent signs doubled, for which both mail systems ask."""
    shown = "".join(c if " " <= c <= "~" else "?" for c in text[:REPLY_LINE_BYTES])
    return shown.replace("%", "%%").encode()
