"""Where a disclaimer goes: the ends of what people read, as spots that text can be written into (row F-AV-23).

Called by the filter, which alone has the tree; `relay.editing` writes the text. The first text of the message has a
spot for each of its forms (both of multipart/alternative); attachments, quoted messages and whatever is signed or
encrypted have none. Where readers may differ about what the text is there is no spot either: better no disclaimer than
a damaged mail. Pure, never raises, linear.
"""

import binascii
import codecs
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from gatepost.mime.decode import decode_body
from gatepost.mime.edit import CRLF
from gatepost.mime.part import Defect, Encoding, Field, Message, Part
from gatepost.mime.report import part_spans
from gatepost.mime.signatures import declared_signature, find_signatures, has_armour, is_text
from gatepost.mime.structure import parse
from gatepost.model.finding import Analysis, ObjectStatus, ScanOptions, TextSpot

SPOT_LIMIT: Final = 16
"""Forms of one text. Real mail has two or three."""
REWRITE_LIMIT: Final = 1024 * 1024
"""Bytes of a text that is written anew as a whole; a larger one is a text only by name."""
TAIL: Final = 4096
"""Bytes at the end of an HTML text that its closing tags are looked for in."""

_HARMLESS: Final = frozenset(
    {Defect.MBOX_FROM, Defect.PARAMETER_MALFORMED, Defect.BOUNDARY_UNTERMINATED, Defect.LOOKS_ENCODED}
)
"""Defects in spite of which every reader finds the same text."""
_NO_TEXT: Final = frozenset({"multipart/report", "multipart/digest", "multipart/form-data", "multipart/parallel"})
_CLOSING = re.compile(rb"</body\s*+>\s*+(?:</html\s*+>\s*+)?+\Z|</html\s*+>\s*+\Z", re.IGNORECASE)
_SOFT_BREAKS = re.compile(rb"(?:=[ \t]*+(?:\r?\n|\Z))++\Z")
_CLEAN: Final = ObjectStatus.CLEAN
_PROBE = "\r\n<>&;=-_~Az09"
"""Characters that must be themselves in a charset that text can be added in."""


class _Place(NamedTuple):
    """Where text goes in a decoded body: [0, at) before it, the rest after it."""

    at: int
    gap: bytes
    """What parts it from the text before."""


def annotate(analysis: Analysis, content: bytes, options: ScanOptions, message: Message | None = None) -> Analysis:
    """Return an analysis with what those who edit the message need to know: signatures, when anything may be edited,
    and the spots that the options ask for. `message`: the content parsed, if somebody has done that.
    """
    if not options.text_spots:
        for report in analysis.objects:
            if report.status is not _CLEAN:
                break
        else:
            return analysis
    if message is None:
        message = parse(content)
    spots = find_spots(message, options.text_characters) if options.text_spots else ()
    return msgspec.structs.replace(analysis, spots=spots, signatures=find_signatures(message))


def find_spots(message: Message, characters: str = "") -> tuple[TextSpot, ...]:
    """Return where a disclaimer can be added, in rising order, () where there is no place or it must not be.

    `characters`: what the text has beyond ASCII. Plain text whose charset lacks some of them is offered as a whole, to
    be written anew in UTF-8; in HTML there are character references.
    """
    if message.truncated:
        return ()
    parts = _text_of(message.root)
    if not parts or _is_sealed(message, parts):
        return ()
    spots = (_find_spot(message.content, part, characters) for part in parts[:SPOT_LIMIT])
    return tuple(sorted((spot for spot in spots if spot is not None), key=lambda spot: spot.start))


def _is_sealed(message: Message, parts: list[Part]) -> bool:
    """Tell whether anything of the message itself is signed or encrypted (what it quotes may be)."""
    pending = [message.root]
    while pending:
        part = pending.pop()
        if declared_signature(part):
            return True
        if part.content_type.startswith("multipart/"):
            pending += part.children
    return any(has_armour(message.content, part) for part in parts)


def _text_of(part: Part) -> list[Part]:
    """Return the forms of the first text in a part, [] when it has none, or one that may be read in two ways."""
    doubtful = part.alternatives and Defect.LOOKS_ENCODED not in part.defects
    if doubtful or any(defect not in _HARMLESS for defect in part.defects):
        return []
    if not part.content_type.startswith("multipart/"):
        return [part] if is_text(part) else []
    if part.content_type in _NO_TEXT:
        return []
    if part.content_type == "multipart/alternative":
        return [text for child in part.children for text in _text_of(child)]
    children = part.children[:1] if part.content_type == "multipart/related" else part.children
    return next((found for found in map(_text_of, children) if found), [])


def _find_spot(content: bytes, part: Part, characters: str) -> TextSpot | None:
    charset = part.charset or "us-ascii"
    if not _is_separated(content, part) or not _holds(charset, _PROBE, exactly=True):
        return None
    html = part.content_type == "text/html"
    identity = part.encoding is Encoding.IDENTITY
    fits = _holds(charset, characters) and not (characters and identity and _is_ascii(content, part))
    if not fits and not html:
        rewritten = _rewrite(content, part, charset)
        if rewritten is not None:
            return rewritten
    if not fits:
        charset = "us-ascii"
    if identity:
        return _identity_spot(content, part, charset, html=html)
    if part.encoding is Encoding.QUOTED_PRINTABLE:
        return _quoted_spot(content, part, charset, html=html)
    return _base64_spot(content, part, charset, html=html) if part.encoding is Encoding.BASE64 else None


def _holds(charset: str, characters: str, *, exactly: bool = False) -> bool:
    """Tell whether a charset can write these characters, `exactly`: as their ASCII codes."""
    try:
        if codecs.lookup(charset).name in ("punycode", "idna", "undefined"):  # no charsets of mail, and slow
            return False
        raw = characters.encode(charset)
        return not exactly or raw == characters.encode("ascii")
    except (LookupError, ValueError):
        return False


def _is_separated(content: bytes, part: Part) -> bool:
    """Tell whether an empty line ends the header; text behind a header that breaks off would be one of its fields."""
    separator = part_spans(content, part).fields[-1]
    return content[separator.start : separator.end] in (b"\n", CRLF)


def _is_ascii(content: bytes, part: Part) -> bool:
    return content[part.body : part.end].isascii()


def _identity_spot(content: bytes, part: Part, charset: str, *, html: bool) -> TextSpot:
    place = _place(content[part.body : part.end], html=html)
    at = part.body + place.at
    encoding = "7bit" if _is_ascii(content, part) else "8bit"
    return TextSpot(at, at, html, charset, encoding, place.gap)


def _quoted_spot(content: bytes, part: Part, charset: str, *, html: bool) -> TextSpot:
    """Put the text into the encoded body as it stands: what people close HTML with needs no encoding."""
    raw = content[part.body : part.end]
    soft = _SOFT_BREAKS.search(raw, max(0, len(raw) - TAIL))
    if soft is not None:
        return TextSpot(part.body + soft.start(), part.end, html, charset, "quoted-printable", CRLF)
    place = _place(raw, html=html)
    at = part.body + place.at
    return TextSpot(at, at, html, charset, "quoted-printable", place.gap)


def _base64_spot(content: bytes, part: Part, charset: str, *, html: bool) -> TextSpot | None:
    """Replace the lines from the one that the text goes into; all of them where lines have different lengths."""
    decoded = decode_body(content, part)
    if decoded.defects:
        return None
    data = decoded.data
    place = _place(data, html=html)
    line, held = _base64_lines(content[part.body : part.end])
    skipped = place.at // held if held else 0
    if line and skipped * line > part.end - part.body:  # the last line is full, and ends with the body
        skipped -= 1
    start = part.body + skipped * line
    before, after = data[skipped * held : place.at] + place.gap, data[place.at :]
    if len(before) + len(after) > REWRITE_LIMIT:
        return None
    return TextSpot(start, part.end, html, charset, "base64", before, after)


def _base64_lines(raw: bytes) -> tuple[int, int]:
    """Return (bytes of a line with its end, decoded bytes it holds) of a body whose lines, but for the last, are of one
    length; (0, 0) for any other.
    """
    text = raw.rstrip(b"\r\n")
    first = text.find(b"\n")
    if first < 0:
        return 0, 0
    *lines, last = text.split(b"\n")
    width = len(lines[0].rstrip(b"\r"))
    if width % 4 or not width or len(last) > width or any(len(line) != first for line in lines):
        return 0, 0
    try:
        regular = len(binascii.a2b_base64(lines[0])) == width // 4 * 3
    except binascii.Error:
        return 0, 0
    return (first + 1, width // 4 * 3) if regular else (0, 0)


def _place(data: bytes, *, html: bool) -> _Place:
    """Return where text goes at the end of a body, in HTML in front of the closing tags."""
    at = len(data)
    if html and (closing := _CLOSING.search(data, max(0, at - TAIL))):
        at = closing.start()
    return _Place(at, b"" if not at or data.endswith(b"\n", 0, at) else CRLF)


def _rewrite(content: bytes, part: Part, charset: str) -> TextSpot | None:
    """Return the spot that writes a plain text anew in UTF-8; None when its bytes are not what its charset says."""
    decoded = decode_body(content, part)
    if decoded.defects or len(decoded.data) > REWRITE_LIMIT:
        return None
    try:
        data = decoded.data.decode(charset).encode()
    except (LookupError, ValueError, RuntimeError):  # RuntimeError: as in `words.decode_text`
        return None
    place = _place(data, html=False)
    encoding = "base64" if part.encoding is Encoding.BASE64 else "quoted-printable"
    fields = tuple(_rewrite_fields(content, part, encoding))
    return TextSpot(part.body, part.end, False, "utf-8", encoding, data + place.gap, b"", fields)


def _rewrite_fields(content: bytes, part: Part, encoding: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield the changes of a header for another charset and encoding, in rising order."""
    kept = "".join(f"; {name}={part.parameters[name]}" for name in ("format", "delsp") if _is_token(part, name))
    wanted = {
        b"content-type": f"Content-Type: text/plain; charset=utf-8{kept}\r\n".encode("ascii"),
        b"content-transfer-encoding": f"Content-Transfer-Encoding: {encoding}\r\n".encode("ascii"),
    }
    if not part.delimiter[1]:
        wanted[b"mime-version"] = b"MIME-Version: 1.0\r\n"
    there: dict[bytes, Field] = {}
    for field in part.fields:
        if field.name in wanted:
            there.setdefault(field.name, field)
    for name, field in there.items():
        if name != b"mime-version":
            yield field.start, field.end, wanted[name]
    added = b"".join(line for name, line in wanted.items() if name not in there)
    if added:
        place = part_spans(content, part).fields[-1].start
        yield place, place, added


def _is_token(part: Part, name: str) -> bool:
    return part.parameters.get(name, "").lower() in ("flowed", "fixed", "yes", "no")
