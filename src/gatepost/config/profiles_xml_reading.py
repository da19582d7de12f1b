"""XML of older rule files as a tree, read with care: `parse_xml`. Pure; called by `config.profiles_xml` alone.

The documented encodings (specification configuration.md §5.3) are decoded here, before expat sees anything, which knows
only some of them. Expat is used without what makes XML dangerous: no document type, no entities of the file's own,
nothing external, and everything counted. What cannot be read is an `XmlError` with its line.
"""

import re
from typing import Final
from xml.parsers import expat

import msgspec

FILE_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one file: a list of 50,000 addresses has three."""
ELEMENTS_LIMIT: Final = 200_000
"""Elements of one file."""
DEPTH_LIMIT: Final = 16
"""Elements within each other; the documented files have five."""
ATTRIBUTES_LIMIT: Final = 32
"""Attributes of one element; the documented ones have five."""

CODECS: Final[dict[str, str]] = {
    "utf-8": "utf-8",
    "windows-1251": "cp1251",
    "koi8-r": "koi8-r",
    "iso-8859-5": "iso8859-5",
    "x-mac-cyrillic": "mac-cyrillic",
    "ibm866": "cp866",
}
"""Encodings by the name that the file declares, and what decodes them."""
_ALIASES: Final = {"utf8": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8", "cp1251": "windows-1251", "cp866": "ibm866"}
_BOM: Final = b"\xef\xbb\xbf"
_DECLARED = re.compile(rb"""<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,40})["']""")


class XmlError(Exception):
    """The file cannot be read; with the line, 0 = none in particular."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.line = line


class Element(msgspec.Struct):
    """An element, and what it holds. Names are in lower case."""

    tag: str
    """As written; compare `name`."""
    line: int
    attributes: dict[str, str]
    children: list["Element"]
    text: str = ""
    comments: list[str] = []
    """XML comments in front of it, or, in its parent's end, none: those are `trailing`."""
    trailing: list[str] = []

    @property
    def name(self) -> str:
        """The tag as it is compared."""
        return self.tag.lower()


def find_encoding(raw: bytes) -> str:
    """Return the documented name of the encoding that a file declares. XmlError: it is none of them."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise XmlError("written in UTF-16; save it as UTF-8")
    found = _DECLARED.search(raw[:1000])
    declared = found[1].decode("ascii").lower() if found else "utf-8"
    name = _ALIASES.get(declared, declared)
    if name not in CODECS:
        raise XmlError(f"declares the encoding {declared!r}; known are {', '.join(CODECS)}", 1)
    return name


def decode_xml(raw: bytes) -> str:
    """Return the text of a file. XmlError."""
    if len(raw) > FILE_LIMIT:
        raise XmlError(f"longer than {FILE_LIMIT // 1024**2} MiB")
    name = find_encoding(raw)
    raw = raw.removeprefix(_BOM)
    try:
        return raw.decode(CODECS[name])
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise XmlError(
            f"byte {raw[error.start]:#04x} stands for nothing in {name}, which the file declares", line
        ) from None


def parse_xml(raw: bytes) -> Element:
    """Return the root element of a file. XmlError."""
    return _Reader().read(decode_xml(raw))


class _Reader:
    """Handlers of one file."""

    def __init__(self) -> None:
        parser = expat.ParserCreate("utf-8")  # it has been decoded: what the file declares does not count any more
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.CommentHandler = self._comment
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.EntityDeclHandler = self._refuse_entity
        parser.ExternalEntityRefHandler = self._refuse_external
        self._parser = parser
        self._open: list[Element] = []
        self._root: Element | None = None
        self._comments: list[str] = []
        self._count = 0

    def read(self, text: str) -> Element:
        try:
            self._parser.Parse(text.encode("utf-8"), True)
        except expat.ExpatError as error:
            words = expat.ErrorString(error.code) or "broken"
            raise XmlError(f"not XML: {words}", error.lineno) from None
        if self._root is None:  # expat demands one
            raise XmlError("not XML: nothing in it")
        if self._comments:
            self._root.trailing += self._comments
        return self._root

    def _fail(self, what: str) -> XmlError:
        return XmlError(what, self._parser.CurrentLineNumber)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > ELEMENTS_LIMIT:
            raise self._fail(f"more than {ELEMENTS_LIMIT} elements")
        if len(self._open) >= DEPTH_LIMIT:
            raise self._fail(f"more than {DEPTH_LIMIT} elements within each other")
        if len(attributes) > ATTRIBUTES_LIMIT:
            raise self._fail(f"<{tag[:40]}> has more than {ATTRIBUTES_LIMIT} attributes")
        lowered = {name.lower(): value for name, value in attributes.items()}
        if len(lowered) != len(attributes):
            raise self._fail(f"<{tag[:40]}> has an attribute twice, in different letter case")
        element = Element(tag, self._parser.CurrentLineNumber, lowered, [], comments=self._comments, trailing=[])
        self._comments = []
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, _: str) -> None:
        element = self._open.pop()
        element.trailing += self._comments
        self._comments = []

    def _characters(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text

    def _comment(self, text: str) -> None:
        self._comments.append(text.strip())

    def _refuse_doctype(self, *_: object) -> None:
        raise self._fail("has a document type, which rule files never need and which is not read")

    def _refuse_entity(self, *_: object) -> None:
        raise self._fail("declares an entity, which is not read")

    def _refuse_external(self, *_: object) -> int:
        raise self._fail("refers to something outside, which is not read")
