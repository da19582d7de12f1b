"""Editing by splices: how decisions on objects become byte replacements that leave everything else as it came.

Called by disposition (plans) and by delivery (application). Pure; new line ends are always CRLF; whatever is removed
or replaced, the result is a well-formed message.
"""

import binascii
import enum
import re
from collections.abc import Iterable, Iterator, Sequence
from email.utils import encode_rfc2231
from operator import itemgetter

import msgspec

from gatepost.mime.blocks import encode_block
from gatepost.model.finding import ObjectKind, ObjectReport
from gatepost.model.verdict import Splice

CRLF = b"\r\n"
EMPTY_TYPE = "text/plain; charset=us-ascii"
BASE64_LINE = 57
"""Bytes to a line of 76 characters (RFC 2045 §6.8)."""
_SEPARATOR = re.compile(rb"(?:\A|(?<=\n))\r?\n")
_KEPT_FIELD = rb"(?!content-)[a-z0-9][!-9;-~]*+[ \t]*+:[^\r\n]*+(?:\r?\n[ \t]++[^\x00-\x20][^\r\n]*+)*+(?:\r?\n|\Z)"
_NO_KEPT_FIELDS = re.compile(rb"^(?:(?!%b)[^\n]++(?:\n|\Z)|\n)++" % _KEPT_FIELD, re.IGNORECASE | re.MULTILINE)
"""Lines of a header that are no fields, or Content-* fields."""
_AROUND_FIELD = bytes(range(0x21)) + b"\x7f"
HEADER_LIMIT = 1024 * 1024
"""Bytes of a header that are looked at in content nobody could read: as many as the MIME tree reads of one."""
MAX_LINE = 998
"""Characters of a line without its CRLF (RFC 5322 §2.1.1)."""


class SpliceError(Exception):
    """Splices out of order, overlapping or outside the content: a fault of whoever made them."""


class Action(enum.StrEnum):
    """What an edit does to its object."""

    REMOVE = "remove"
    """Cut it out; an only child or a root becomes an empty text."""
    REPLACE = "replace"
    """Put a new body under new Content-* fields."""
    CURE = "cure"
    """Put new content under its own fields, re-encoded; in place of a block as a uuencoded one."""


class Edit(msgspec.Struct, frozen=True):
    """One decision on one object of kind `PART` or `BLOCK`."""

    report: ObjectReport
    action: Action
    body: bytes = b""
    """REPLACE: the text in the charset of `content_type`, any line ends. CURE: decoded content."""
    content_type: str = "text/plain; charset=utf-8"
    name: str = ""
    """File name of a replacement, "" for inline text."""


def plan_edits(content: bytes, edits: Sequence[Edit]) -> tuple[Splice, ...]:
    """Return the splices that carry out all `edits` on the received `content`, in rising order.

    Where objects lie inside each other the outermost edit wins. When every part of a multipart is to be removed, the
    last one stays as an empty text, for a multipart needs a part (RFC 2046 §5.1.1).
    """
    outermost: list[Edit] = []
    reach = 0
    for start, _, minus_end, edit in sorted(((*_extent(each), each) for each in edits), key=itemgetter(0, 1, 2)):
        if -minus_end > reach or (start >= reach and -minus_end == start):
            outermost.append(edit)
            reach = max(reach, -minus_end)
    emptied = _last_of_each(outermost)
    splices: list[Splice] = []
    for edit in outermost:
        if edit.action is Action.REMOVE:
            last = edit.report.delimiter.start in emptied
            splices += _empty_part(edit.report) if last and _is_child(edit.report) else remove_part(edit.report)
        elif edit.report.kind is ObjectKind.BLOCK:
            splices += replace_block(edit.report, _cured_block(edit) if edit.action is Action.CURE else edit.body)
        elif edit.action is Action.CURE:
            splices += replace_body(content, edit.report, edit.body)
        else:
            splices += replace_part(edit.report, edit.content_type, edit.body, edit.name)
    planned = merge(splices)
    check_splices(planned, len(content))
    return planned


def _cured_block(edit: Edit) -> bytes:
    """Return what stands in a text in place of a block that was cured: a file again, unless it is itself a text (what
    surrounds the parts of a multipart), which says so.
    """
    return edit.body if edit.report.content_type else encode_block(edit.body, edit.report.name)


def _extent(edit: Edit) -> tuple[int, bool, int]:
    """Return (start, whether there is anything, -end) of what the edit touches, so that sorting puts enclosing edits
    first. An empty part is in front of what starts where it is, not inside: a part has a delimiter before it.
    """
    report = edit.report
    span = report.delimiter if edit.action is Action.REMOVE and _is_child(report) else report.whole
    return span.start, span.end > span.start, -span.end


def _is_child(report: ObjectReport) -> bool:
    return report.delimiter.end > report.delimiter.start


def _last_of_each(edits: Iterable[Edit]) -> set[int]:
    """Return the start of the last delimiter of each multipart that would lose all its parts: parts of one multipart
    lie chained, each delimiter range ending where the next one starts.
    """
    removed = sorted(
        (edit.report.delimiter.start, edit.report.delimiter.end, edit.report.siblings)
        for edit in edits
        if edit.action is Action.REMOVE and _is_child(edit.report)
    )
    last: set[int] = set()
    chain = 0
    reached = -1
    for start, end, siblings in removed:
        chain = chain + 1 if start == reached else 1
        reached = end
        if chain == siblings:
            last.add(start)
    return last


def remove_part(report: ObjectReport) -> list[Splice]:
    """Cut a part out of its multipart with its delimiter line; an only child or a root becomes an empty text; of a
    block its lines go.
    """
    if report.kind is ObjectKind.BLOCK:
        return [Splice(report.whole.start, report.whole.end, b"")]
    if report.siblings > 1 and _is_child(report):
        return [Splice(report.delimiter.start, report.delimiter.end, b"")]
    return _empty_part(report)


def _empty_part(report: ObjectReport) -> list[Splice]:
    return replace_part(report, EMPTY_TYPE, b"")


def replace_part(report: ObjectReport, content_type: str, body: bytes, name: str = "") -> list[Splice]:
    """Put `body` (text in any line ends, or anything else, then base64) in the place of a part, under new Content-*
    fields; the fields of a root that are not Content-* stay. With `name` the part becomes an attachment of that name.
    """
    encoding, encoded = encode_body(body)
    fields = [f"Content-Type: {content_type}".encode(), b"Content-Transfer-Encoding: " + encoding]
    if name:
        fields.append(b"Content-Disposition: attachment; " + _file_name(name))
    return _rewrite(report, CRLF.join(fields) + CRLF, encoded)


def replace_body(content: bytes, report: ObjectReport, decoded: bytes) -> list[Splice]:
    """Put `decoded` in the place of a part's body, re-encoded exactly; its fields stay, less those about the old."""
    exact = decoded.endswith(CRLF) and _to_crlf(decoded) == decoded
    encoding, encoded = encode_body(decoded) if exact else _encode_base64(decoded)
    kept: list[bytes] = []
    for span in report.fields[:-1]:
        # Without what is odd around its name, and without the bare CR that some readers end a line at.
        field = content[span.start : span.end].replace(b"\r", b"").strip(_AROUND_FIELD)
        if not field.lower().startswith((b"content-transfer-encoding", b"content-md5", b"content-length")):
            kept.append(field.replace(b"\n", CRLF) + CRLF)
    return _rewrite(report, b"".join(kept) + b"Content-Transfer-Encoding: " + encoding + CRLF, encoded)


def _rewrite(report: ObjectReport, fields: bytes, body: bytes) -> list[Splice]:
    *stripped, separator = report.fields or (report.body,)
    splices = [Splice(span.start, span.end, b"") for span in stripped]
    splices.append(Splice(separator.start, report.body.end, fields + CRLF + body))
    return splices


def replace_message(content: bytes, text: bytes) -> tuple[Splice, ...]:
    """Put `text` (UTF-8) in the place of a whole body that nobody could read; header fields not Content-* stay.

    Looks only for the end of the header and for fields, so it is safe on what a filter died of. Readers differ about
    where a damaged header ends: of its lines only those stay that are fields to everybody.
    """
    separator = _SEPARATOR.search(content, 0, HEADER_LIMIT)
    header_end = separator.start() if separator else min(len(content), HEADER_LIMIT)
    splices = [Splice(*found.span(), b"") for found in _NO_KEPT_FIELDS.finditer(content, 0, header_end)]
    encoding, body = encode_body(text)
    fields = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: " + encoding + CRLF
    kept = content[splices[-1].end if splices else 0 : header_end]
    before = CRLF if kept and not kept.endswith(b"\n") else b""
    return merge([*splices, Splice(header_end, len(content), before + fields + CRLF + body)])


def replace_block(report: ObjectReport, text: bytes) -> list[Splice]:
    """Put text in the place of an encoded block inside a text body."""
    return [Splice(report.whole.start, report.whole.end, _to_crlf(text))]


def encode_body(body: bytes) -> tuple[bytes, bytes]:
    """Return (Content-Transfer-Encoding, encoded body ending in CRLF): 7bit for ASCII text, else base64."""
    if body.isascii() and b"\0" not in body:
        text = _to_crlf(body)
        bare_cr = text.count(b"\r") != text.count(CRLF)
        if not bare_cr and all(len(line) <= MAX_LINE and not line.startswith(b"--") for line in text.split(CRLF)):
            return b"7bit", text
    return _encode_base64(body)


def _encode_base64(body: bytes) -> tuple[bytes, bytes]:
    lines = (
        binascii.b2a_base64(body[start : start + BASE64_LINE], newline=False)
        for start in range(0, len(body), BASE64_LINE)
    )
    return b"base64", b"".join(line + CRLF for line in lines)


def _to_crlf(text: bytes) -> bytes:
    if not text:
        return b""
    text = text.replace(CRLF, b"\n").replace(b"\n", CRLF)
    return text if text.endswith(CRLF) else text + CRLF


def _file_name(name: str) -> bytes:
    name = "".join(character for character in name if character.isprintable())
    if name.isascii():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'filename="{escaped}"'.encode()
    return f"filename*={encode_rfc2231(name, 'utf-8')}".encode("ascii")


def check_splices(splices: Sequence[Splice], size: int) -> None:
    """Raise `SpliceError` unless the splices rise, do not overlap, and lie inside a content of `size` bytes."""
    position = 0
    for splice in splices:
        if not position <= splice.start <= splice.end <= size:
            raise SpliceError(f"splice [{splice.start}, {splice.end}) after {position} in {size} bytes")
        position = splice.end


def merge(splices: Iterable[Splice]) -> tuple[Splice, ...]:
    """Return the splices in rising order, touching ones joined; insertions at one place keep their order."""
    merged: list[Splice] = []
    for splice in sorted(splices, key=lambda each: (each.start, each.end)):
        if merged and merged[-1].end == splice.start:
            before = merged.pop()
            merged.append(Splice(before.start, splice.end, before.data + splice.data))
        else:
            merged.append(splice)
    return tuple(merged)


def apply_splices(content: bytes, splices: Sequence[Splice]) -> Iterator[bytes]:
    """Yield the edited content in pieces, untouched ranges as they are. `SpliceError`: the splices do not fit it."""
    check_splices(splices, len(content))
    position = 0
    for splice in splices:
        if splice.start > position:
            yield content[position : splice.start]
        if splice.data:
            yield splice.data
        position = splice.end
    if position < len(content):
        yield content[position:]
