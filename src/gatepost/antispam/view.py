"""The message as its reader sees it: what content checks look at. Built once for each message by `build_view`.

Runs in the filter. Promises: linear in the size of the message, bounded by the limits below, never raises for what a
message holds.
"""

import unicodedata
from collections.abc import Iterator
from functools import cached_property

import msgspec

from gatepost.mime.decode import decode_body
from gatepost.mime.part import Message, Part
from gatepost.mime.words import decode_header, decode_text
from gatepost.model.spam import Link, SpamOptions

TEXT_LIMIT = 256 * 1024
"""Characters of visible text looked at: far beyond what anybody reads of one mail."""


class HeaderField(msgspec.Struct):
    """One field of the message's header."""

    name: str
    """Lower case."""
    raw: bytes
    """Value as received, without the space in front."""

    @property
    def text(self) -> str:
        """Value unfolded, encoded words decoded."""
        return decode_header(self.raw)


class Text(msgspec.Struct):
    """Text of one part."""

    kind: str
    """plain, html, rtf, office, pdf, qr."""
    visible: str
    """Lines as a reader sees them, quoted lines of older mail not among them."""
    hidden: str = ""
    """What is there but not to be seen."""
    part: Part | None = None
    quoted: str = ""
    """Lines quoted from older mail (`>`), apart."""
    labels: str = ""
    """Texts of pictures and tool tips (alt, title), a line each: seen only where a picture is not."""
    attached: bool = False
    """It stands in an attachment that the reader has to open."""


class MailView:
    """One message. Attributes are computed when they are first asked for."""

    def __init__(self, message: Message, options: SpamOptions) -> None:
        self.message = message
        self.content = message.content
        self.options = options

    @cached_property
    def fields(self) -> tuple[HeaderField, ...]:
        """Header fields of the message in order."""
        content = self.content
        return tuple(
            HeaderField(field.name.decode("latin-1"), content[field.value : field.value_end].lstrip(b" \t"))
            for field in self.message.root.fields
        )

    def all(self, name: str) -> Iterator[HeaderField]:
        """Yield the fields of this (lower-case) name."""
        return (field for field in self.fields if field.name == name)

    def first(self, name: str) -> HeaderField | None:
        """Return the first field of this (lower-case) name."""
        return next(self.all(name), None)

    @cached_property
    def subject(self) -> str:
        field = self.first("subject")
        return "" if field is None else field.text

    @cached_property
    def texts(self) -> tuple[Text, ...]:
        """Texts of the message and of messages in it, as a reader would see them."""
        found = []
        for message, part in self.message.leaves():
            if part.content_type.startswith("text/") and part.disposition != "attachment":
                raw = decode_body(message.content, part).data
                found.append(Text(part.content_type[5:], decode_text(raw, part.charset)[:TEXT_LIMIT], part=part))
        return tuple(found)

    @cached_property
    def body(self) -> str:
        """All visible text of the body, at most `TEXT_LIMIT` characters."""
        return "\n".join(text.visible for text in self.texts)[:TEXT_LIMIT]

    @cached_property
    def folded(self) -> str:
        """`body` for matching: NFKC, case-folded, look-alike letters of other scripts put right word by word, invisible
        characters out, runs of white space one space, lines kept.
        """
        return _fold(self.body)

    @cached_property
    def disguised(self) -> str:
        """Words of `folded` and the subject that were written in disguise (`v i a g r a`, `v1agra`), as meant, a line
        each; "" for nearly every mail. Match it beside `folded`.
        """
        return ""

    @cached_property
    def folded_subject(self) -> str:
        """`subject` in the form of `folded`."""
        return _fold(self.subject)

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Links of the body."""
        return ()


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def build_view(message: Message, options: SpamOptions) -> MailView:
    """Return the view of a parsed message."""
    return MailView(message, options)
