"""The message as its reader sees it: what content checks look at. Built once for each message by `build_view`.

Runs in the filter. Promises: linear in the size of the message, bounded by the limits below, never raises for what a
message holds. What is asked for is read when it is first asked for; nothing is kept from one message to the next.
"""

from typing import Final

import msgspec

from gatepost.antispam.extract.fold import Folded, fold
from gatepost.antispam.extract.markup import Page
from gatepost.antispam.extract.parts import TEXT_LIMIT, PictureReader, Text, Yield, read_parts
from gatepost.antispam.extract.plain import find_bare, find_urls
from gatepost.antispam.lazy import lazy
from gatepost.antispam.links import ANCHORS_LIMIT, Anchor, distinct, read_anchor, read_target
from gatepost.antispam.terms.wording import build_wording
from gatepost.mime.part import Message, Part
from gatepost.mime.words import decode_header
from gatepost.model.spam import Link, SpamOptions

SHORT_BODY: Final = 300
"""Characters up to which a body is but the wrapping of what is attached."""
ALIKE: Final = 0.5
"""Share of the words of a line of the plain form that stand in the HTML form: below, the line says something else."""

__all__ = ["TEXT_LIMIT", "Anchor", "HeaderField", "MailView", "Text", "build_view"]


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


class MailView:
    """One message. Attributes are computed when they are first asked for."""

    def __init__(self, message: Message, options: SpamOptions, reader: PictureReader | None = None) -> None:
        self.message = message
        self.content = message.content
        self.options = options
        self._reader = reader

    @lazy
    def fields(self) -> tuple[HeaderField, ...]:
        """Header fields of the message in order."""
        content = self.content
        return tuple(
            HeaderField(field.name.decode("latin-1"), content[field.value : field.value_end].lstrip(b" \t"))
            for field in self.message.root.fields
        )

    @lazy
    def by_name(self) -> dict[str, list[HeaderField]]:
        """Header fields of the message by their (lower-case) names, in order."""
        found: dict[str, list[HeaderField]] = {}
        for field in self.fields:
            found.setdefault(field.name, []).append(field)
        return found

    def first(self, name: str) -> HeaderField | None:
        """Return the first field of this (lower-case) name."""
        same = self.by_name.get(name)
        return same[0] if same else None

    @lazy
    def subject(self) -> str:
        field = self.first("subject")
        return "" if field is None else field.text

    # -- texts -------------------------------------------------------------------------------------------------------

    @lazy
    def parts(self) -> Yield:
        """What was read of the parts: texts, pages, pictures, codes."""
        return read_parts(self.message, self.options, self._reader)

    @property
    def texts(self) -> tuple[Text, ...]:
        """Texts of the message and of messages in it, as a reader would see them; those in attachments, too."""
        return self.parts.texts

    @property
    def pages(self) -> tuple[Page, ...]:
        """Web pages in the order of `texts` of kind html, attached ones among them."""
        return tuple(text.page for text in self.texts if text.page is not None)

    @property
    def pictures(self) -> tuple[tuple[Part, bytes], ...]:
        """Pictures of the message, decoded from their transfer encoding, as far as they are looked at."""
        return self.parts.pictures

    @lazy
    def html(self) -> str:
        """Visible text of the HTML forms that are shown at once."""
        return "\n".join(text.visible for text in self.texts if text.kind == "html" and not text.attached)[:TEXT_LIMIT]

    @lazy
    def plain(self) -> str:
        """Text of the plain forms that are shown at once, quoted lines apart."""
        return "\n".join(text.visible for text in self.texts if text.kind == "plain" and not text.attached)[:TEXT_LIMIT]

    @lazy
    def html_words(self) -> frozenset[str]:
        """Words of `html`, in lower case."""
        return frozenset(self.html.lower().split())

    @lazy
    def body(self) -> str:
        """What the reader gets to read, at most `TEXT_LIMIT` characters: what is `typed`, then words in pictures."""
        return "\n".join(piece for piece in (self.typed, self.pictured) if piece)[:TEXT_LIMIT]

    @lazy
    def pictured(self) -> str:
        """Words recognised in pictures; "" for nearly every mail."""
        return "\n".join(text.visible for text in self.texts if text.kind == "ocr")

    @lazy
    def typed(self) -> str:
        """The HTML form, then what only the plain form says, documents if they are to be read, and what is attached
        where nearly nothing else is there.
        """
        html, plain = self.html, self.plain
        if html and plain:
            plain = self._beyond_html()
        pieces = [html, plain]
        pieces += [text.visible for text in self.texts if text.kind in _CARRIED]
        if len(html) + len(plain) < SHORT_BODY:
            pieces += [text.visible for text in self.texts if text.attached and text.kind not in _CARRIED]
        return "\n".join(piece for piece in pieces if piece)[:TEXT_LIMIT]

    def _beyond_html(self) -> str:
        """Return the lines of the plain form whose words the HTML form does not say."""
        known = self.html_words
        is_known = known.__contains__
        kept = []
        for line in self.plain.split("\n"):
            words = line.lower().split()
            if known.issuperset(words):  # as nearly always
                continue
            if sum(map(is_known, words)) < ALIKE * len(words):
                kept.append(line.strip())
        return "\n".join(kept)

    @lazy
    def fold(self) -> Folded:
        """The body folded, and what disguises were undone."""
        return fold(self.body)

    @lazy
    def subject_fold(self) -> Folded:
        """The subject folded, and what disguises were undone."""
        return fold(self.subject)

    @property
    def folded(self) -> str:
        """`body` for matching: NFKC, case-folded, look-alike letters of other scripts put right word by word, invisible
        characters out, runs of white space one space, lines kept.
        """
        return self.fold.text

    @lazy
    def disguised(self) -> str:
        """Words of `folded` and the subject that were written in disguise (`v i a g r a`, `v1agra`), as meant, a line
        each; "" for nearly every mail. Match it beside `folded`.
        """
        return "\n".join(dict.fromkeys((*self.subject_fold.disguised, *self.fold.disguised)))

    @lazy
    def wording(self) -> bytes:
        """`folded` as terms and samples are matched in it."""
        return build_wording(self.folded)

    @property
    def folded_subject(self) -> str:
        """`subject` in the form of `folded`."""
        return self.subject_fold.text

    # -- addresses ---------------------------------------------------------------------------------------------------

    @lazy
    def anchors(self) -> tuple[Anchor, ...]:
        """Addresses in the message in order: those of pages, of texts, of codes in pictures, of documents."""
        found: list[Anchor] = []
        seen: set[str] = set()
        for text in self.texts:
            source = "attachment" if text.attached else "html" if text.kind == "html" else "text"
            if text.page is not None:
                for target in text.page.targets[:ANCHORS_LIMIT]:
                    anchor = read_target(target)
                    if anchor is not None:
                        anchor.source = source
                        found.append(anchor)
                        seen.add(anchor.url)
                urls = find_urls(text.visible) if "://" in text.visible or "www." in text.visible else []
            elif text.kind == "qr":
                urls, source = [text.visible], "qr"
            elif text.kind == "ocr":
                urls, source = find_urls(text.visible), "picture"
            else:
                urls = [*find_urls(text.visible), *find_urls(text.quoted)] if text.quoted else find_urls(text.visible)
                if text.kind == "plain" and not text.attached:
                    urls += find_bare(text.visible)
            urls += text.urls
            for url in dict.fromkeys(urls):
                if url not in seen and len(found) < ANCHORS_LIMIT:
                    seen.add(url)
                    anchor = read_anchor(url, source, text.kind if text.kind in _APART else "text")
                    if anchor is not None:
                        found.append(anchor)
        return tuple(found[:ANCHORS_LIMIT])

    @lazy
    def links(self) -> tuple[Link, ...]:
        """Links for the link checks, distinct by host, those a reader follows first, at most 200."""
        return tuple(distinct(self.anchors))


_APART: Final = frozenset({"qr", "ocr", "pdf", "office"})
"""Kinds whose links are none of the message's own text."""
_CARRIED: Final = frozenset({"rtf", "office", "pdf", "qr", "subject"})
"""Kinds that are read to tell what they say, wherever they stand."""


def build_view(message: Message, options: SpamOptions, reader: PictureReader | None = None) -> MailView:
    """Return the view of a parsed message; `reader` recognises words in pictures."""
    return MailView(message, options, reader)
