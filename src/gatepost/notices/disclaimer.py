"""The disclaimer as it is written into one spot of a message (rows F-AV-23, F-GRP-09). Called by `relay.editing`. Pure.

The spot comes from a filter and is not believed beyond its ranges: whatever it says, the text is written in an encoding
and a charset in which it can neither end a part of the message nor begin another.
"""

import binascii
import codecs
import html
import re
from typing import Final

from gatepost.mime.edit import CRLF
from gatepost.model.finding import TextSpot
from gatepost.model.verdict import Splice
from gatepost.notices.parts import encode_base64

_DELIMITER_LIKE = re.compile(rb"^--(?=[^\r\n \t])", re.MULTILINE)
"""A line of ours that might be taken for a delimiter of the multipart it is written into (RFC 2046 §5.1.1)."""
_ASCII: Final = "ascii"


def write_disclaimer(spot: TextSpot, text: str) -> list[Splice]:
    """Return the splices that add `text` (CRLF line ends) at a spot, its header's first."""
    charset = _charset(spot)
    raw = _form_html(text, charset) if spot.html else _form_plain(text, charset)
    if spot.encoding == "base64":
        data = encode_base64(spot.before + raw + spot.after)
    elif spot.encoding == "quoted-printable":
        data = _encode_quoted(spot.before + raw + spot.after)
    else:
        data = spot.before + _DELIMITER_LIKE.sub(b" --", raw) + spot.after
    return [*(Splice(*field) for field in spot.fields), Splice(spot.start, spot.end, data)]


def _charset(spot: TextSpot) -> str:
    if spot.encoding == "7bit":
        return _ASCII
    try:
        return codecs.lookup(spot.charset).name
    except (LookupError, ValueError):
        return _ASCII


def _form_plain(text: str, charset: str) -> bytes:
    lines = (line if line == "-- " else line.rstrip() for line in text.split("\r\n"))
    return _encode("\r\n".join(lines), charset, "replace")


def _form_html(text: str, charset: str) -> bytes:
    lines = text.removesuffix("\r\n").split("\r\n")
    escaped = "<br>\r\n".join(html.escape(line, quote=False) for line in lines)
    return _encode(f"<div>{escaped}</div>\r\n", charset, "xmlcharrefreplace")


def _encode(text: str, charset: str, errors: str) -> bytes:
    try:
        return text.encode(charset, errors)
    except (LookupError, ValueError):  # a codec that is none of text
        return text.encode(_ASCII, errors)


def _encode_quoted(data: bytes) -> bytes:
    encoded = binascii.b2a_qp(data.replace(CRLF, b"\n"), istext=True).replace(b"\n", CRLF)
    return re.sub(rb"^--", b"=2D-", encoded, flags=re.MULTILINE)
