"""Parts of the messages we write: text that passes every peer, whole messages as they are, boundaries. Pure."""

import binascii
import re
import uuid
from collections.abc import Sequence

from gatepost.mime.edit import BASE64_LINE, CRLF
from gatepost.notices.outcome import LINE_LIMIT, build_field
from gatepost.smtp.lines import has_bare_line_ends

ContentPart = tuple[bytes, bytes]
"""Content fields of a part, and its body."""

_NEEDS_ENCODING = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[^\n]{%d}" % (LINE_LIMIT + 2))


def encode_lines(text: bytes) -> ContentPart:
    """Return text with CRLF line ends as it is when every peer takes it so, else as quoted-printable."""
    if text.isascii() and not _NEEDS_ENCODING.search(text):
        return b"", text
    encoded = binascii.b2a_qp(text.replace(b"\r\n", b"\n"), istext=True).replace(b"\n", b"\r\n")
    return build_field("Content-Transfer-Encoding", "quoted-printable").encode(), encoded


def text_part(text: str) -> ContentPart:
    """Return text for people, with CRLF line ends."""
    fields, body = encode_lines(text.encode())
    return build_field("Content-Type", "text/plain; charset=utf-8").encode() + fields, body


def encode_base64(data: bytes) -> bytes:
    """Return data as lines of base64."""
    lines = (
        binascii.b2a_base64(data[start : start + BASE64_LINE], newline=False)
        for start in range(0, len(data), BASE64_LINE)
    )
    return b"".join(line + CRLF for line in lines)


def message_part(body: bytes, *, utf8: bool = False) -> ContentPart:
    """Return a whole message as message/rfc822, which must not be encoded (RFC 2046 §5.2.1), or message/global.

    One that is no lines of text (BINARYMIME) is data: in a message it would go to nobody who does not take such mail.
    """
    if b"\0" in body or has_bare_line_ends(body):
        fields = build_field("Content-Type", "application/octet-stream")
        return (fields + build_field("Content-Transfer-Encoding", "base64")).encode(), encode_base64(body)
    fields = build_field("Content-Type", "message/global" if utf8 and not body.isascii() else "message/rfc822")
    if not body.isascii():
        fields += build_field("Content-Transfer-Encoding", "8bit")
    return fields.encode(), body


def pick_boundary(seed: str, bodies: Sequence[bytes]) -> str:
    """Return a boundary that occurs in none of the bodies."""
    while True:
        boundary = f"=_{uuid.uuid5(uuid.NAMESPACE_OID, seed).hex}"
        if not any(boundary.encode() in body for body in bodies):
            return boundary
        seed += "+"
