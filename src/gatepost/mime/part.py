"""The values of the MIME tree: what `structure.parse` returns and everybody above reads.

All positions are byte offsets into `Message.content`. A body that was transfer-encoded and holds a message of its own
is a `Message` of its own over the decoded bytes (`Part.nested`): its offsets are not those of the received content.
"""

import enum
from collections.abc import Iterator

import msgspec


class PartKind(enum.StrEnum):
    """Where a part comes from, and so whether it can be edited."""

    PART = "part"
    """Root, child of a multipart, or message inside a message/rfc822."""
    PREAMBLE = "preamble"
    """Text in front of the first delimiter line of a multipart: no header, seldom shown, scanned all the same."""
    EPILOGUE = "epilogue"
    """Text behind the last delimiter line."""
    READING = "reading"
    """Another reading, and all inside it, of bytes that also belong to a part of the tree: scanned, never edited."""


class Encoding(enum.StrEnum):
    """How a body is transfer-encoded (RFC 2045 §6, and the encodings of older mail)."""

    IDENTITY = "identity"
    """7bit, 8bit, binary, none or one we do not know."""
    BASE64 = "base64"
    BASE64_LINES = "base64-lines"
    """Reading: each line by itself, its whole groups of four only."""
    BASE64_PIECES = "base64-pieces"
    """Reading: each run between padding by itself."""
    BASE64_GROUPS = "base64-groups"
    """Reading: each group of four by itself, padding in it passed over."""
    BASE64_THROUGH = "base64-through"
    """Reading: padding passed over wherever it stands, as PHP and Python from 3.14 have it."""
    BASE64_URL = "base64-url"
    """Reading: the same, `-` and `_` being digits, too (RFC 4648 §5), as Node has it."""
    QUOTED_PRINTABLE = "quoted-printable"
    QUOTED_PRINTABLE_STRICT = "quoted-printable-strict"
    """Reading: escapes that are none are passed over."""
    QUOTED_PRINTABLE_LITERAL = "quoted-printable-literal"
    """Reading: the `=` of an escape that is none stands for itself, as Perl and PHP have it."""
    UUENCODE = "uuencode"
    YENC = "yenc"
    BINHEX = "binhex"


class Defect(enum.StrEnum):
    """What is wrong with a message, and by which rule it was read. `limit-…`: a limit stopped the reading."""

    LIMIT_PARTS = "limit-parts"
    LIMIT_DEPTH = "limit-depth"
    LIMIT_HEADER = "limit-header"
    LIMIT_FIELDS = "limit-fields"
    LIMIT_NESTED = "limit-nested"
    LIMIT_READINGS = "limit-readings"
    LIMIT_SEARCH = "limit-search"
    LIMIT_NAMES = "limit-names"
    """One part with more file names, or types, than are told."""
    MBOX_FROM = "mbox-from"
    """The message starts with an mbox `From ` line; it belongs to no field."""
    SEPARATOR_MISSING = "separator-missing"
    """The header ends at a line that is no field, not at an empty one: the line starts the body; that the header goes
    on behind it is a reading."""
    FIELD_NAME_ODD = "field-name-odd"
    """White space or control characters around a field's name; read without them."""
    CONTINUATION_FIRST = "continuation-first"
    """The header starts with a continuation line; the line is passed over."""
    BARE_CR = "bare-cr"
    """A CR without LF in the header; it does not end a line."""
    BARE_CR_DELIMITER = "bare-cr-delimiter"
    """A delimiter begins or ends at a CR without LF: what is read when that ends a line is a reading."""
    NUL = "nul"
    """NUL bytes in the header."""
    DUPLICATE_FIELD = "duplicate-field"
    """A Content-* field occurs twice: the first one counts, the other one is a reading."""
    TYPE_MALFORMED = "type-malformed"
    """Content-Type without type/subtype; read as the default type."""
    PARAMETER_MALFORMED = "parameter-malformed"
    """A parameter outside the grammar of RFC 2045 §5.1 or RFC 2231; read as far as it makes sense."""
    DUPLICATE_PARAMETER = "duplicate-parameter"
    """The first one counts."""
    ENCODING_MALFORMED = "encoding-malformed"
    """Comments, quotes or additions around the name of the encoding; read without them."""
    ENCODING_UNKNOWN = "encoding-unknown"
    """Read as identity; encodings it may have meant are readings."""
    ENCODING_MULTIPART = "encoding-multipart"
    """A multipart or message that is transfer-encoded (forbidden by RFC 2045 §6.4)."""
    BOUNDARY_MISSING = "boundary-missing"
    """Multipart without boundary parameter; the first line that looks like a delimiter gives it."""
    BOUNDARY_WRONG = "boundary-wrong"
    """No line matches the boundary; the part is a leaf, and the guessed boundary a reading."""
    BOUNDARY_AMBIGUOUS = "boundary-ambiguous"
    """Lines that start with the delimiter and go on, or several boundary parameters."""
    BOUNDARY_UNTERMINATED = "boundary-unterminated"
    """No closing delimiter: the last part ends with the multipart."""
    DELIMITER_AFTER_CLOSE = "delimiter-after-close"
    """Delimiter lines behind the closing one: epilogue, and a reading of its own."""
    LOOKS_ENCODED = "looks-encoded"
    """A body that declares no encoding but looks like base64 or yEnc: the decoded form is a reading."""


LIMIT_PREFIX = "limit-"


class Field(msgspec.Struct, frozen=True, gc=False):
    """One header field: `name` in lower case; [start, end) all of it with its last line end; [value, value_end) what
    follows the colon, folds included, last line end not.
    """

    name: bytes
    start: int
    end: int
    value: int
    value_end: int


class MimeLimits(msgspec.Struct, frozen=True):
    """Bounds of one parse, nested messages included. A limit reached leaves a `limit-…` defect and `truncated`."""

    depth: int = 100
    """Levels of nesting. Real mail stays below 20; each level costs one search through its bytes."""
    parts: int = 20_000
    """Parts in all: about 10 µs and 1 KB each. Digests of mailing lists reach some hundreds."""
    header_bytes: int = 1024 * 1024
    """Of one header block. Long recipient lists reach 100 KB."""
    fields: int = 20_000
    """Header fields of one block."""
    nested_bytes: int = 128 * 1024 * 1024
    """Decoded bytes held for encoded messages inside the message, all levels together."""
    readings: int = 64
    """Second readings of containers: each may read its bytes once more."""

    search_factor: int = 24
    """Bytes searched for delimiter lines, in multiples of the content's size: levels of multiparts that each hold
    nearly all of the content, second readings included."""
    search_bytes: int = 16 * 1024 * 1024
    """Bytes searched in any case: deep nesting of a small message costs nothing."""


DEFAULT_LIMITS = MimeLimits()


class Part(msgspec.Struct, eq=False, kw_only=True):
    """One node: header [start, body), body [body, end). A struct of the tree, not a value: compared by identity."""

    kind: PartKind
    start: int
    body: int
    end: int
    fields: tuple[Field, ...] = ()
    content_type: str = "text/plain"
    """type/subtype in lower case; the default type of RFC 2045 §5.2 when undeclared."""
    parameters: dict[str, str] = {}
    """Parameters of the Content-Type, decoded; names in lower case."""
    encoding: Encoding = Encoding.IDENTITY
    disposition: str = ""
    """Lower-case token of Content-Disposition, "" when undeclared."""
    names: tuple[str, ...] = ()
    """All file names that some reader may give it, best first (filename*, filename, name*, name), decoded, without
    path."""
    other_types: tuple[str, ...] = ()
    """What further Content-Type fields declare."""
    children: list["Part"] = []
    """Parts of a multipart, or the one message of an unencoded message/rfc822."""
    preamble: "Part | None" = None
    epilogue: "Part | None" = None
    parent: "Part | None" = None
    delimiter: tuple[int, int] = (0, 0)
    """Child of a multipart: from its delimiter line to the next delimiter line of the same multipart."""
    nested: "Message | None" = None
    """Message over the decoded body of an encoded message/* or multipart/*."""
    alternatives: list["Part"] = []
    """Other readings of the same bytes (kind READING)."""
    defects: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file name, "" when it has none."""
        return self.names[0] if self.names else ""

    @property
    def charset(self) -> str:
        """The declared charset in lower case, "" when undeclared."""
        return self.parameters.get("charset", "").lower()

    @property
    def is_leaf(self) -> bool:
        """Whether the part has content of its own to decode (a multipart without any part is a leaf)."""
        return not self.children and self.nested is None


class Message(msgspec.Struct, eq=False):
    """A parsed message over `content`."""

    content: bytes
    root: Part
    truncated: bool = False
    """A limit was reached, here or in a nested message: what was not opened was not seen, so never call it clean."""
    depth: int = 0
    """0 for the received message, more for nested ones."""

    def walk(self) -> Iterator[Part]:
        """Yield every part of this message's own coordinate space in tree order: the part, its preamble, children,
        epilogue, then its other readings. `nested` messages are not entered.
        """
        stack = [self.root]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(reversed(part.alternatives))
            if part.epilogue is not None:
                stack.append(part.epilogue)
            stack.extend(reversed(part.children))
            if part.preamble is not None:
                stack.append(part.preamble)

    def leaves(self) -> Iterator[tuple["Message", Part]]:
        """Yield everything that has content to decode and scan, nested messages and all readings included, as
        (message whose content the offsets are of, part).
        """
        iterators = [(self, self.walk())]
        while iterators:
            message, parts = iterators[-1]
            for part in parts:
                if part.nested is not None:
                    iterators.append((part.nested, part.nested.walk()))
                    break
                if not part.children:
                    yield message, part
            else:
                iterators.pop()

    def defects(self) -> tuple[str, ...]:
        """Return the distinct defects of all parts, nested messages included, sorted."""
        found: set[str] = set()
        pending = [self]
        while pending:
            for part in pending.pop().walk():
                found.update(part.defects)
                if part.nested is not None:
                    pending.append(part.nested)
        return tuple(sorted(found))
