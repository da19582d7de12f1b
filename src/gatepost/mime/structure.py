"""The MIME tree: `parse` turns received bytes into a `Message` of byte ranges.

Called by the filter for every message, and by tests and tools. It never raises for any bytes, uses no recursion, and
its time is linear in the content: every level of nesting searches its bytes once, and levels, parts, fields and second
readings are bounded (`MimeLimits`). Nothing is changed or normalised; what is doubtful is a defect, and where clients
read differently the other reading is offered as a part too (`Part.alternatives`), so that both get scanned.
"""

import re

from gatepost.mime.decode import decode_range
from gatepost.mime.fields import (
    ContentType,
    Header,
    parse_content_type,
    parse_disposition,
    parse_encoding,
    parse_header,
)
from gatepost.mime.part import (
    DEFAULT_LIMITS,
    LIMIT_PREFIX,
    Defect,
    Encoding,
    Field,
    Message,
    MimeLimits,
    Part,
    PartKind,
)

_LINE_REST = re.compile(rb"(--)?+[ \t\x0b\f]*+(?:\r*+\n|\r*+\Z)")
_GUESS = re.compile(rb"^--([^\s-][^\r\n]{0,250}?|-[^\r\n]{2,250}?)(?:--)?[ \t]*+\r?+$", re.MULTILINE)
_VISIBLE = re.compile(rb"[^\s\x00]")
_LOOKS_BASE64 = re.compile(rb"\s*+(?:[A-Za-z0-9+/]{4,}+={0,2}+[ \t]*+\r?+(?:\n|\Z)){2}")
_LOOKS_BASE64_LINE = re.compile(rb"\s*+[A-Za-z0-9+/]{40,}+={0,2}+[ \t]*+\r?+(?:\n|\Z)")
_LOOKS_FIELD = re.compile(
    rb"(?:received|from|to|subject|date|message-id|mime-version|content-[a-z-]+|return-path):", re.I
)
_LINE_START = (b"\r\n", b"\n")

MAX_BOUNDARIES = 4
"""Boundary parameters of one multipart that are tried."""
MAX_SUSPECTS = 16
"""Lines per multipart that start with the delimiter and go on, kept to compare with the boundaries inside."""

_NO_TYPE = ContentType("", {})


def parse(content: bytes | memoryview, limits: MimeLimits = DEFAULT_LIMITS) -> Message:
    """Parse a message (RFC 5322, RFC 2045, RFC 2046) into byte ranges of `content`. Never raises."""
    return _Parser(limits).parse(content if isinstance(content, bytes) else bytes(content))


class _Parser:
    """One parse: the work list that stands in for recursion, and what the limits have left."""

    def __init__(self, limits: MimeLimits) -> None:
        self.limits = limits
        self.parts_left = limits.parts
        self.readings_left = limits.readings
        self.nested_left = limits.nested_bytes
        self.messages: list[Message] = []
        self.work: list[tuple[Message, Part, int, ContentType]] = []
        self.boundaries: set[bytes] = set()
        self.suspects: list[tuple[Message, Part, int, ContentType, bytes, list[bytes]]] = []
        self.truncated = False

    def parse(self, content: bytes) -> Message:
        message = self.open_message(content, 0)
        message.root = self.open_part(message, 0, len(content), 0, "text/plain", PartKind.PART)
        while self.work or self.suspects:
            while self.work:
                self.expand(*self.work.pop())
            suspects, self.suspects = self.suspects, []
            for suspect in suspects:
                self.read_prefixes(*suspect)
        for each in self.messages:
            each.truncated = self.truncated
        return message

    def open_message(self, content: bytes, depth: int) -> Message:
        message = Message(content, Part(kind=PartKind.PART, start=0, body=0, end=len(content)), depth=depth)
        self.messages.append(message)
        return message

    def flag(self, part: Part, *defects: str) -> None:
        part.defects += tuple(defect for defect in defects if defect not in part.defects)
        if any(defect.startswith(LIMIT_PREFIX) for defect in defects):
            self.truncated = True

    # -- one part ------------------------------------------------------------------------------------------------

    def open_part(self, message: Message, start: int, end: int, depth: int, default_type: str, kind: PartKind) -> Part:
        """Make a part of [start, end) with a header, read the header, and put containers on the work list."""
        self.parts_left -= 1
        header = parse_header(message.content, start, end, self.limits)
        part = Part(kind=kind, start=start, body=header.body, end=end, fields=header.fields)
        if header.defects:
            self.flag(part, *header.defects)
        declared, others, encodings = self.describe(message.content, part, default_type)
        main = part.content_type.partition("/")[0]
        if main == "multipart" or (main == "message" and _is_message(part.content_type)):
            self.work.append((message, part, depth, declared))
        if others or encodings or header.defects or part.encoding is Encoding.IDENTITY:
            self.add_readings(message, part, depth, header, others, encodings)
        return part

    def describe(
        self, content: bytes, part: Part, default_type: str
    ) -> tuple[ContentType, list[ContentType], list[Encoding]]:
        """Fill in what the Content-* fields say; return the type read, other types and other encodings declared."""
        declared = _NO_TYPE
        types: list[ContentType] = []
        encodings: list[Encoding] = []
        encoding_seen = False
        names: tuple[str, ...] = ()
        for field in part.fields:
            name = field.name
            if name[:8] != b"content-":
                continue
            raw = content[field.value : field.value_end].strip()
            if name == b"content-type":
                read = parse_content_type(raw)
                if read.defects:
                    self.flag(part, *read.defects)
                if declared is _NO_TYPE:
                    declared = read
                else:
                    types.append(read)
            elif name == b"content-transfer-encoding":
                encoding, others, defects = parse_encoding(raw)
                if defects:
                    self.flag(part, *defects)
                if encoding_seen:
                    encodings.append(encoding)
                else:
                    part.encoding = encoding
                    encoding_seen = True
                encodings += others
            elif name == b"content-disposition":
                disposition, found, defects = parse_disposition(raw)
                if defects:
                    self.flag(part, *defects)
                part.disposition = part.disposition or disposition
                names += found
        if types or (encodings and Defect.ENCODING_UNKNOWN not in part.defects):
            self.flag(part, Defect.DUPLICATE_FIELD)
        part.content_type = declared.type if "/" in declared.type else _guess_type(declared.type, default_type)
        part.parameters = declared.parameters
        for read in (declared, *types):
            names += read.names
        if names:
            part.names = tuple(dict.fromkeys(names))
        return declared, types, encodings

    def add_readings(
        self,
        message: Message,
        part: Part,
        depth: int,
        header: Header,
        types: list[ContentType],
        encodings: list[Encoding],
    ) -> None:
        """Offer the other readings of a doubtful header."""
        for other in types:
            container = other.type.startswith("multipart") or _is_message(other.type)
            was_container = part.content_type.startswith("multipart/") or _is_message(part.content_type)
            if (
                container
                and other != parse_content_type(b"")
                and other.type + str(other.boundaries) != part.content_type
            ):
                self.add_reading(message, part, depth, other, part.encoding)
            elif was_container and not container:
                self.add_leaf_reading(part, part.body, part.encoding, other.type)
        container_here = part.content_type.startswith("multipart/")
        for encoding in dict.fromkeys(encodings):
            if encoding is not part.encoding and not container_here:
                self.add_leaf_reading(part, part.body, encoding, part.content_type)
        if header.later_body != header.body and not container_here and header.later_body < part.end:
            self.add_leaf_reading(part, header.later_body, part.encoding, part.content_type)
        if part.encoding is Encoding.IDENTITY and not container_here and Encoding.BASE64 not in encodings:
            pattern = _LOOKS_BASE64 if part.defects else _LOOKS_BASE64_LINE
            if pattern.match(message.content, part.body, part.end):
                self.flag(part, Defect.LOOKS_ENCODED)
                self.add_leaf_reading(part, part.body, Encoding.BASE64, part.content_type)

    def add_leaf_reading(self, part: Part, body: int, encoding: Encoding, content_type: str) -> None:
        part.alternatives.append(
            Part(
                kind=PartKind.READING,
                start=part.start,
                body=body,
                end=part.end,
                content_type=content_type,
                encoding=encoding,
                names=part.names,
                parent=part,
            )
        )

    def add_reading(self, message: Message, part: Part, depth: int, declared: ContentType, encoding: Encoding) -> None:
        """Offer a second reading of `part` as another container."""
        if self.readings_left <= 0:
            self.flag(part, Defect.LIMIT_READINGS)
            return
        self.readings_left -= 1
        self.add_leaf_reading(part, part.body, encoding, declared.type)
        reading = part.alternatives[-1]
        reading.parameters = declared.parameters
        self.work.append((message, reading, depth, declared))

    # -- containers ----------------------------------------------------------------------------------------------

    def expand(self, message: Message, part: Part, depth: int, declared: ContentType) -> None:
        """Find what a multipart or an embedded message consists of."""
        if depth >= self.limits.depth:
            self.flag(part, Defect.LIMIT_DEPTH)
        elif part.content_type.startswith("multipart/"):
            self.expand_multipart(message, part, depth, declared)
        else:
            self.expand_message(message, part, depth)

    def expand_message(self, message: Message, part: Part, depth: int) -> None:
        if part.encoding is Encoding.IDENTITY:
            if self.parts_left <= 0:
                self.flag(part, Defect.LIMIT_PARTS)
                return
            child = self.open_part(message, part.body, part.end, depth + 1, "text/plain", PartKind.PART)
            child.parent = part
            part.children = [child]
            return
        self.flag(part, Defect.ENCODING_MULTIPART)
        nested = self.decode_nested(message, part, depth)
        if nested is not None:
            nested.root = self.open_part(nested, 0, len(nested.content), depth + 1, "text/plain", PartKind.PART)
            part.nested = nested
        if part.kind is PartKind.PART and _LOOKS_FIELD.match(message.content, part.body, part.end):
            self.add_reading(message, part, depth, ContentType(part.content_type, {}), Encoding.IDENTITY)

    def decode_nested(self, message: Message, part: Part, depth: int) -> Message | None:
        if self.parts_left <= 0:
            self.flag(part, Defect.LIMIT_PARTS)
            return None
        size = part.end - part.body
        if size > self.nested_left:
            self.flag(part, Defect.LIMIT_NESTED)
            return None
        self.nested_left -= size
        data = decode_range(message.content, part.body, part.end, part.encoding).data
        return self.open_message(data, message.depth + 1)

    def expand_multipart(self, message: Message, part: Part, depth: int, declared: ContentType) -> None:
        """Cut a multipart by its boundary, or by the best guess when it has none (RFC 2046 §5.1)."""
        content = message.content
        self.boundaries.update(declared.boundaries)
        found: list[tuple[bytes, _Lines]] = []
        for boundary in declared.boundaries[:MAX_BOUNDARIES]:
            lines = find_delimiters(content, boundary, part.body, part.end)
            if lines.delimiters:
                found.append((boundary, lines))
        if found:
            boundary, lines = found[0]
            if part.encoding is not Encoding.IDENTITY:
                self.flag(part, Defect.ENCODING_MULTIPART)
            self.cut(message, part, depth, lines)
            for _boundary, _lines in found[1:]:
                self.flag(part, Defect.BOUNDARY_AMBIGUOUS)
                other = ContentType(part.content_type, part.parameters, (_boundary,))
                self.add_reading(message, part, depth, other, part.encoding)
            if lines.suspects:
                self.suspects.append((message, part, depth, declared, boundary, lines.suspects))
            return
        if part.encoding is not Encoding.IDENTITY:
            self.flag(part, Defect.ENCODING_MULTIPART)
            nested = self.decode_nested(message, part, depth)
            if nested is not None:
                self.expand_decoded(nested, part, depth, declared)
            return
        self.flag(part, Defect.BOUNDARY_WRONG if declared.boundaries else Defect.BOUNDARY_MISSING)
        guess = _GUESS.search(content, part.body, part.end)
        if guess is None:
            return
        lines = find_delimiters(content, guess[1], part.body, part.end)
        if not lines.delimiters:
            return
        if declared.boundaries:
            self.add_reading(message, part, depth, ContentType(part.content_type, {}, (guess[1],)), part.encoding)
        else:
            self.cut(message, part, depth, lines)

    def expand_decoded(self, nested: Message, part: Part, depth: int, declared: ContentType) -> None:
        """Read the decoded body of an encoded multipart as that multipart; without delimiter lines it is a leaf."""
        for boundary in declared.boundaries[:MAX_BOUNDARIES]:
            if find_delimiters(nested.content, boundary, 0, len(nested.content)).delimiters:
                nested.root.content_type = part.content_type
                nested.root.parameters = part.parameters
                self.parts_left -= 1
                part.nested = nested
                self.work.append((nested, nested.root, depth + 1, declared))
                return
        self.messages.remove(nested)

    def cut(self, message: Message, part: Part, depth: int, lines: "_Lines") -> None:
        """Make the children, preamble and epilogue of a multipart."""
        content = message.content
        default_type = "message/rfc822" if part.content_type == "multipart/digest" else "text/plain"
        delimiters = lines.delimiters
        first = delimiters[0][0]
        part.preamble = self.text_around(
            content, part, part.body, _before_line_end(content, part.body, first), PartKind.PREAMBLE
        )
        children: list[Part] = []
        stop = lines.close_start if lines.close_start >= 0 else part.end
        for index, (dash, line_end) in enumerate(delimiters):
            last = index + 1 == len(delimiters)
            following = stop if last else delimiters[index + 1][0]
            if self.parts_left <= 1 and not last:
                self.flag(part, Defect.LIMIT_PARTS)
                last, following = True, stop
            end = part.end if last and lines.close_start < 0 else _before_line_end(content, line_end, following)
            child = self.open_part(message, line_end, end, depth + 1, default_type, PartKind.PART)
            child.delimiter = (dash, following)
            child.parent = part
            children.append(child)
            if last:
                break
        part.children = children
        if lines.close_start < 0:
            self.flag(part, Defect.BOUNDARY_UNTERMINATED)
            return
        part.epilogue = self.text_around(content, part, lines.close_end, part.end, PartKind.EPILOGUE)
        if part.epilogue is not None and lines.after_close:
            self.flag(part, Defect.DELIMITER_AFTER_CLOSE)
            other = ContentType(part.content_type, part.parameters, (lines.boundary,))
            self.add_reading(message, part.epilogue, depth, other, part.encoding)

    def text_around(self, content: bytes, part: Part, start: int, end: int, kind: PartKind) -> Part | None:
        if start >= end or not _VISIBLE.search(content, start, end):
            return None
        return Part(kind=kind, start=start, body=start, end=end, parent=part)

    def read_prefixes(
        self,
        message: Message,
        part: Part,
        depth: int,
        declared: ContentType,
        boundary: bytes,
        suspects: list[bytes],
    ) -> None:
        """Offer the reading in which a line that only starts with the delimiter is one (RFC 2046 §5.1.1 allows it),
        unless every such line is the delimiter of another multipart.
        """
        for suspect in suspects:
            if suspect not in self.boundaries and suspect.removesuffix(b"--") not in self.boundaries:
                self.flag(part, Defect.BOUNDARY_AMBIGUOUS)
                self.boundaries.add(suspect)
                other = ContentType(part.content_type, part.parameters, (suspect,))
                self.add_reading(message, part, depth, other, part.encoding)


class _Lines:
    """The delimiter lines of one multipart."""

    __slots__ = ("after_close", "boundary", "close_end", "close_start", "delimiters", "suspects")

    def __init__(self, boundary: bytes) -> None:
        self.boundary = boundary
        self.delimiters: list[tuple[int, int]] = []
        self.close_start = -1
        self.close_end = -1
        self.after_close = False
        self.suspects: list[bytes] = []


def find_delimiters(content: bytes, boundary: bytes, start: int, end: int) -> _Lines:
    """Find the lines `--boundary` and `--boundary--` in [start, end): trailing white space is allowed (RFC 2046 §5.1.1)."""
    lines = _Lines(boundary)
    needle = b"--" + boundary
    size = len(needle)
    match = _LINE_REST.match
    find = content.find
    position = find(needle, start, end)
    while position >= 0:
        after = position + size
        if position == start or content[position - 1] == 10:
            rest = match(content, after, end)
            if rest is None:
                if len(lines.suspects) < MAX_SUSPECTS:
                    line_end = find(b"\n", after, min(end, after + 256))
                    line = content[position + 2 : line_end if line_end >= 0 else min(end, after + 256)]
                    lines.suspects.append(line.rstrip())
            elif lines.close_start >= 0:
                lines.after_close = True
                break
            elif rest.lastindex and lines.delimiters:
                lines.close_start, lines.close_end = position, rest.end()
                after = rest.end()
            else:
                lines.delimiters.append((position, rest.end()))
                after = rest.end()
        position = find(needle, after, end)
    return lines


def _before_line_end(content: bytes, start: int, position: int) -> int:
    """Return `position` less the line end in front of it, which belongs to the delimiter (RFC 2046 §5.1.1)."""
    if position > start and content[position - 1] == 10:
        position -= 1
        if position > start and content[position - 1] == 13:
            position -= 1
    return position


def _is_message(content_type: str) -> bool:
    return content_type in ("message/rfc822", "message/global", "message/news")


def _guess_type(declared: str, default_type: str) -> str:
    if not declared:
        return default_type
    if declared == "multipart":
        return "multipart/mixed"
    return "text/plain"
