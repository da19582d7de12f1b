"""What rules change in a message, as bytes: fields in front of it, fields taken out, values lengthened. Pure.

Used by `relay.editing`. Where fields stand a filter says, which has read hostile bytes: only what is a whole field of
the header, with the name that the rule names, is taken for one. What is not changed stays byte for byte.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from gatepost.mime.signatures import DKIM
from gatepost.model.finding import Analysis
from gatepost.model.spam import FieldSpot
from gatepost.model.verdict import Splice
from gatepost.notices.scan_field import header_end
from gatepost.notices.spam_label import label_subject
from gatepost.notices.text import clean_text
from gatepost.notices.words import encode_words
from gatepost.policy.profile_header import HeaderView, Line
from gatepost.relay.spam_editing import believe, is_signed

LINE_LIMIT: Final = 998
"""Characters of a line without its CRLF (RFC 5322 §2.1.1)."""
VALUE_LIMIT: Final = 900
"""Bytes of one value: with the longest name it fits a line."""


class RuleEdits(msgspec.Struct, frozen=True):
    """Changes of one copy."""

    prefix: bytes
    """All that we write in front, in place of what the group's verdict has put there."""
    splices: tuple[Splice, ...] = ()
    breaks_dkim: bool = False


def touches_content(view: HeaderView, analysis: Analysis | None) -> bool:
    """Tell whether there is more to do than to write fields in front of a message."""
    if view.cut or any(line.changed and line.spot is not None for line in view.lines):
        return True
    return _breaks((line for line in view.lines if line.spot is None and not line.raw), analysis)


def build_prefix(view: HeaderView) -> bytes:
    """Return the fields that are in front of the content."""
    return b"".join(_build(line) for line in view.lines if line.spot is None)


def plan_rule_edits(content: bytes, view: HeaderView, analysis: Analysis | None) -> RuleEdits:
    """Return the changes of a message."""
    end = header_end(content)
    splices = [
        Splice(line.spot.start, line.spot.end, b"")
        for line in view.cut
        if line.spot is not None and _is_real(content, line, line.spot, end)
    ]
    for line in view.lines:
        if line.spot is not None and line.changed and _is_real(content, line, line.spot, end):
            splices += _lengthen(content, line, line.spot)
    new = (line for line in view.lines if line.spot is None and not line.raw)
    changed = (line for line in view.lines if line.spot is not None and line.changed)
    return RuleEdits(build_prefix(view), tuple(splices), _breaks((*new, *changed, *view.cut), analysis))


def _is_real(content: bytes, line: Line, spot: FieldSpot, end: int) -> bool:
    return bool(believe(content, (spot,), end, line.name.encode("ascii").__eq__))


def _lengthen(content: bytes, line: Line, spot: FieldSpot) -> list[Splice]:
    splices = []
    label = label_subject(content, spot, line.labels) if line.labels else None
    if label is not None:
        splices.append(label)
    if line.tail:
        raw = content[spot.value : spot.end].rstrip(b"\r\n")
        at = spot.value + len(raw)
        tail = clean_text(line.tail, VALUE_LIMIT)
        written = encode_words(tail if tail.isascii() else tail.lstrip()).encode("ascii")
        if not tail.isascii():
            written = b"\r\n " + written  # an encoded word stands by itself (RFC 2047 §5)
        elif len(raw.rpartition(b"\n")[2]) + len(line.shown) + 2 + len(written) > LINE_LIMIT:
            written = b"\r\n " + written.lstrip()
        splices.append(Splice(at, at, written))
    return splices


def _build(line: Line) -> bytes:
    if line.raw and not line.changed:
        return line.raw
    value = clean_text(line.value, VALUE_LIMIT)
    return f"{line.shown}: {encode_words(value)}\r\n".encode("ascii", "replace")


def _breaks(lines: Iterable[Line], analysis: Analysis | None) -> bool:
    """Tell whether a signature covers one of these fields."""
    if analysis is None or not is_signed(analysis):
        return False
    names = {line.name for line in lines}
    if not names:
        return False
    if analysis.spam is None or not analysis.spam.authn.signatures:
        return DKIM in analysis.signatures
    return any(not names.isdisjoint(signature.fields) for signature in analysis.spam.authn.signatures)
