"""The MIME tree: `parse` turns received bytes into a `Message` of byte ranges.

Called by the filter for every message, and by tests and tools. It never raises for any bytes, uses no recursion, and
its time is linear in the content: every level of nesting searches its bytes once, and levels, parts, fields and second
readings are bounded (`MimeLimits`). Nothing is changed or normalised; what is doubtful is a defect, and where clients
read differently the other reading is offered as a part too (`Part.alternatives`), so that both get scanned.
"""

import itertools
import re
from typing import NamedTuple

from gatepost.mime.blocks import UU_BEGIN_LINE
from gatepost.mime.decode import decode_range
from gatepost.mime.delimiters import Lines, before_line_end, find_delimiters, guess_boundaries
from gatepost.mime.fields import (
    BARE_CR,
    ContentType,
    parse_content_type,
    parse_disposition,
    parse_encoding,
    parse_header,
)
from gatepost.mime.filenames import MAX_NAMES
from gatepost.mime.looks import doubtful_base64, has_odd_escapes, looks_base64, looks_like_header
from gatepost.mime.part import (
    DEFAULT_LIMITS,
    LIMIT_PREFIX,
    Defect,
    Encoding,
    Message,
    MimeLimits,
    Part,
    PartKind,
)

_VISIBLE = re.compile(rb"[^\s\x00]")
_FRAGMENT = "message/partial"
_OF_A_FILE = "application/octet-stream"
MESSAGES = frozenset({"message/rfc822", "message/global", "message/news"})

MAX_TYPES = 16
"""Further Content-Type fields of one part whose types are told."""
MAX_BOUNDARIES = 4
"""Boundary parameters of one multipart that are tried."""

_NO_TYPE = ContentType("", {})


def parse(content: bytes | memoryview, limits: MimeLimits = DEFAULT_LIMITS) -> Message:
    """Parse a message (RFC 5322, RFC 2045, RFC 2046) into byte ranges of `content`. Never raises."""
    return _Parser(limits).parse(content if isinstance(content, bytes) else bytes(content))


class _Place(NamedTuple):
    """Where a part is to be read, and what it will be."""

    start: int
    end: int
    depth: int
    kind: PartKind


class _Doubt(NamedTuple):
    """The Content-Type a part was read by, and what else its header may be taken to declare."""

    declared: ContentType
    types: list[ContentType]
    encodings: list[Encoding]


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
        self.suspects: list[tuple[Message, Part, int, list[bytes]]] = []
        self.bare_returns: list[bytes] = []
        """Contents with delimiters at bare carriage returns."""
        self.truncated = False
        self.search_left = 0

    def parse(self, content: bytes) -> Message:
        self.search_left = max(self.limits.search_bytes, self.limits.search_factor * len(content))
        message = self.open_message(content, 0)
        message.root = self.open_part(message, _Place(0, len(content), 0, PartKind.PART))
        while self.work or self.suspects or self.bare_returns:
            while self.work:
                self.expand(*self.work.pop())
            returns, self.bare_returns = self.bare_returns, []
            for each in self.messages.copy():
                if any(each.content is content for content in returns):
                    self.read_returns(each)
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

    def open_part(
        self, message: Message, place: _Place, default_type: str = "text/plain", *, to_empty_line: bool = False
    ) -> Part:
        """Make a part with a header, read the header, and put containers on the work list."""
        self.parts_left -= 1
        start, end, depth, kind = place
        header = parse_header(message.content, start, end, self.limits, to_empty_line=to_empty_line)
        part = Part(kind=kind, start=start, body=header.body, end=end, fields=header.fields)
        if header.defects:
            self.flag(part, *header.defects)
        doubt = self.describe(message.content, part, default_type)
        if is_container(part.content_type):
            self.work.append((message, part, depth, doubt.declared))
        if part.defects or part.names or part.encoding is not Encoding.QUOTED_PRINTABLE:
            self.add_readings(message, part, depth, doubt)
        return part

    def describe(self, content: bytes, part: Part, default_type: str) -> _Doubt:
        """Fill in what the Content-* fields say; return the type read, and what else was declared."""
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
                    self.flag(part, Defect.DUPLICATE_FIELD)
                    types.append(read)
            elif name == b"content-transfer-encoding":
                encoding, others, defects = parse_encoding(raw)
                if defects:
                    self.flag(part, *defects)
                if encoding_seen:
                    self.flag(part, Defect.DUPLICATE_FIELD)
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
        part.content_type = declared.type if "/" in declared.type else _guess_type(declared.type, default_type)
        part.parameters = declared.parameters
        if types:
            known = dict.fromkeys(other.type for other in types[:MAX_TYPES] if "/" in other.type)
            part.other_types = tuple(each for each in known if each != part.content_type)
        for read in (declared, *types):
            names += read.names
        if names:
            names = tuple(dict.fromkeys(names))
            part.names = names[:MAX_NAMES]
        if len(names) > MAX_NAMES or len(types) > MAX_TYPES:
            self.flag(part, Defect.LIMIT_NAMES)
        return _Doubt(declared, types, encodings)

    def add_readings(
        self,
        message: Message,
        part: Part,
        depth: int,
        doubt: _Doubt,
    ) -> None:
        """Offer the other readings of a doubtful part."""
        content = message.content
        container = is_container(part.content_type)
        for other in doubt.types:
            if is_container(other.type):
                self.add_reading(message, part, depth, other, part.encoding)
            elif container or other.type == _FRAGMENT != part.content_type:
                self.add_leaf_reading(part, part.body, part.encoding, other.type)
        if Defect.SEPARATOR_MISSING in part.defects:
            self.reread(message, part, depth)
        of_leaf = _OF_A_FILE if container else part.content_type
        for encoding in dict.fromkeys(doubt.encodings):
            if encoding is not part.encoding:
                self.add_leaf_reading(part, part.body, encoding, of_leaf)
                if encoding is Encoding.BASE64:
                    self.add_base64_readings(content, part, of_leaf)
        if container:
            if part.encoding is Encoding.BASE64:
                self.add_base64_readings(content, part, of_leaf)
            if part.content_type in MESSAGES and doubt.declared.boundaries:
                self.guess_multipart(message, part, depth, doubt.declared)
            return
        if part.encoding is Encoding.BASE64:
            self.add_base64_readings(content, part, part.content_type)
            begin = UU_BEGIN_LINE.match(content, part.body, part.end)
            if begin:
                self.add_leaf_reading(part, begin.end(), Encoding.BASE64, part.content_type)
        elif part.encoding is Encoding.QUOTED_PRINTABLE:
            # Of a file only: in a text what some reader drops hides nothing, and every text would pay for the search.
            if part.names and has_odd_escapes(content, part.body, part.end):
                for encoding in (Encoding.QUOTED_PRINTABLE_STRICT, Encoding.QUOTED_PRINTABLE_LITERAL):
                    self.add_leaf_reading(part, part.body, encoding, part.content_type)
        elif part.encoding is Encoding.IDENTITY:
            if Encoding.BASE64 not in doubt.encodings and looks_base64(content, part.body, part.end, part.defects):
                self.flag(part, Defect.LOOKS_ENCODED)
                self.add_leaf_reading(part, part.body, Encoding.BASE64, part.content_type)
            if part.defects or "boundary" in part.parameters:
                self.guess_multipart(message, part, depth, doubt.declared)

    def reread(self, message: Message, part: Part, depth: int) -> None:
        """Offer the reading of a header that goes on behind the line that ended it, up to the next empty line."""
        if self.readings_left <= 0 or self.parts_left <= 0:
            self.flag(part, Defect.LIMIT_READINGS)
            return
        self.readings_left -= 1
        place = _Place(part.start, part.end, depth, PartKind.READING)
        reading = self.open_part(message, place, part.content_type, to_empty_line=True)
        reading.parent = part
        part.alternatives.append(reading)

    def guess_multipart(self, message: Message, part: Part, depth: int, declared: ContentType) -> None:
        """Offer a doubtful part as multipart: by a boundary that is declared with another type or none, or when lines
        in it look like a delimiter and its close.
        """
        boundaries = declared.boundaries
        if boundaries and "/" in declared.type:
            tried = boundaries[:MAX_BOUNDARIES]
            boundaries = tuple(each for each in tried if self.search(message.content, part, each).delimiters)
        if not boundaries:
            guesses = guess_boundaries(message.content, part.body, part.end, MAX_BOUNDARIES)
            closed = (each for each in guesses if self.search(message.content, part, each).close_start >= 0)
            boundaries = tuple(itertools.islice(closed, 1))
        if boundaries:
            self.flag(part, Defect.BOUNDARY_AMBIGUOUS)
            other = ContentType("multipart/mixed", part.parameters, boundaries)
            self.add_reading(message, part, depth, other, part.encoding)

    def add_base64_readings(self, content: bytes, part: Part, content_type: str) -> None:
        for encoding in doubtful_base64(content, part.body, part.end):
            self.add_leaf_reading(part, part.body, encoding, content_type)

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
                other_types=part.other_types,
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
            child = self.open_part(message, _Place(part.body, part.end, depth + 1, part.kind))
            child.parent = part
            part.children = [child]
            return
        self.flag(part, Defect.ENCODING_MULTIPART)
        nested = self.decode_nested(message, part)
        if nested is not None:
            nested.root = self.open_part(nested, _Place(0, len(nested.content), depth + 1, part.kind))
            part.nested = nested
        if part.kind is PartKind.PART and looks_like_header(message.content, part.body, part.end):
            self.add_reading(message, part, depth, ContentType(part.content_type, {}), Encoding.IDENTITY)

    def decode_nested(self, message: Message, part: Part) -> Message | None:
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
        found: list[Lines] = []
        for boundary in declared.boundaries[:MAX_BOUNDARIES]:
            lines = self.search(content, part, boundary)
            if lines.delimiters:
                found.append(lines)
        if found:
            lines = found[0]
            if part.encoding is not Encoding.IDENTITY:
                self.flag(part, Defect.ENCODING_MULTIPART)
            self.cut(message, part, depth, lines)
            for others in found[1:]:
                self.flag(part, Defect.BOUNDARY_AMBIGUOUS)
                other = ContentType(part.content_type, part.parameters, (others.boundary,))
                self.add_reading(message, part, depth, other, part.encoding)
            if lines.suspects:
                self.suspects.append((message, part, depth, lines.suspects))
            return
        if part.encoding is not Encoding.IDENTITY:
            self.flag(part, Defect.ENCODING_MULTIPART)
            nested = self.decode_nested(message, part)
            if nested is not None:
                self.expand_decoded(nested, part, depth, declared)
            return
        self.flag(part, Defect.BOUNDARY_WRONG if declared.boundaries else Defect.BOUNDARY_MISSING)
        guesses = guess_boundaries(content, part.body, part.end, MAX_BOUNDARIES)
        if not declared.parameters.get("boundary", "-").strip():
            guesses.append(b"")  # readers cut by lines that are nothing but the dashes
        for guess in guesses:
            lines = self.search(content, part, guess)
            if not lines.delimiters:
                continue
            if part.children or (declared.boundaries and part.kind is PartKind.PART):
                self.add_reading(message, part, depth, ContentType(part.content_type, {}, (guess,)), part.encoding)
            else:
                self.cut(message, part, depth, lines)

    def expand_decoded(self, nested: Message, part: Part, depth: int, declared: ContentType) -> None:
        """Read the decoded body of an encoded multipart as that multipart; without delimiter lines it is a leaf."""
        for boundary in declared.boundaries[:MAX_BOUNDARIES]:
            if self.search(nested.content, nested.root, boundary).delimiters:
                nested.root.content_type = part.content_type
                nested.root.parameters = part.parameters
                self.parts_left -= 1
                part.nested = nested
                self.work.append((nested, nested.root, depth + 1, declared))
                return
        self.messages.remove(nested)

    def search(self, content: bytes, part: Part, boundary: bytes) -> Lines:
        """Find the delimiter lines in a part's body, as far as the limits go."""
        self.search_left -= part.end - part.body
        if self.search_left < 0:
            self.flag(part, Defect.LIMIT_SEARCH)
            return Lines(boundary)
        lines = find_delimiters(content, boundary, part.body, part.end, max(1, self.parts_left + 1))
        if len(lines.delimiters) > self.parts_left:
            self.flag(part, Defect.LIMIT_PARTS)
        if lines.bare_return:
            self.bare_returns.append(content)
        return lines

    def cut(self, message: Message, part: Part, depth: int, lines: Lines) -> None:
        """Make the children, preamble and epilogue of a multipart."""
        content = message.content
        default_type = "message/rfc822" if part.content_type == "multipart/digest" else "text/plain"
        delimiters = lines.delimiters
        first = delimiters[0][0]
        part.preamble = self.text_around(
            content, part, part.body, before_line_end(content, part.body, first), PartKind.PREAMBLE
        )
        children: list[Part] = []
        stop = lines.close_start if lines.close_start >= 0 else part.end
        for index, (dash, line_end) in enumerate(delimiters):
            last = index + 1 == len(delimiters)
            following = stop if last else delimiters[index + 1][0]
            if self.parts_left <= 1 and not last:
                # What is left of the multipart hangs at its last part, so that no byte is without a part.
                self.flag(part, Defect.LIMIT_PARTS)
                last, following = True, stop
            end = part.end if last and lines.close_start < 0 else before_line_end(content, line_end, following)
            child = self.open_part(message, _Place(line_end, end, depth + 1, part.kind), default_type)
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
        return Part(
            kind=PartKind.READING if part.kind is PartKind.READING else kind,
            start=start,
            body=start,
            end=end,
            parent=part,
        )

    def read_returns(self, message: Message) -> None:
        """Offer the reading in which a bare carriage return ends a line, as Python, Ruby and others have it."""
        content, root = message.content, message.root
        if Defect.BARE_CR_DELIMITER in root.defects:
            return
        self.flag(root, Defect.BARE_CR_DELIMITER)
        if self.parts_left <= 0 or len(content) > self.nested_left:
            self.flag(root, Defect.LIMIT_NESTED)
            return
        self.nested_left -= len(content)
        nested = self.open_message(BARE_CR.sub(b"\r\n", content), message.depth + 1)
        nested.root = self.open_part(nested, _Place(0, len(nested.content), 1, PartKind.READING))
        self.add_leaf_reading(root, root.body, Encoding.IDENTITY, root.content_type)
        root.alternatives[-1].nested = nested

    def read_prefixes(self, message: Message, part: Part, depth: int, suspects: list[bytes]) -> None:
        """Offer the reading in which a line that only starts with the delimiter is one (RFC 2046 §5.1.1 allows it),
        unless every such line is the delimiter of another multipart.
        """
        for suspect in suspects:
            if suspect not in self.boundaries and suspect.removesuffix(b"--") not in self.boundaries:
                self.flag(part, Defect.BOUNDARY_AMBIGUOUS)
                self.boundaries.add(suspect)
                other = ContentType(part.content_type, part.parameters, (suspect,))
                self.add_reading(message, part, depth, other, part.encoding)


def is_container(content_type: str) -> bool:
    """Whether a part of that type consists of other parts."""
    return content_type.startswith("multipart/") or content_type in MESSAGES


def _guess_type(declared: str, default_type: str) -> str:
    if not declared:
        return default_type
    if declared == "multipart":
        return "multipart/mixed"
    return "text/plain"
