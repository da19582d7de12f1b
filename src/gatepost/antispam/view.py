"""The message as its reader sees it: what content checks look at. Built once for each message by `build_view`.

Runs in the filter. Promises: linear in the size of the message, bounded by the limits below, never raises for what a
message holds.
"""

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
    hidden: str = ""
    """What is there but not to be seen."""
    part: Part | None = None


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
    def links(self) -> tuple[Link, ...]:
        """Links of the body."""
        return ()


def build_view(message: Message, options: SpamOptions) -> MailView:
    """Return the view of a parsed message."""
    return MailView(message, options)
