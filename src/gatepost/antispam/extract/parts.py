"""The parts of a message that are there to be read: `read_parts`, by kind, each with its limits.

Called by `antispam.view` once for each message. Never raises for what a part holds: a part that cannot be read gives
no text.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import msgspec

from gatepost.antispam.extract.markup import Page
from gatepost.antispam.extract.page import read_page
from gatepost.antispam.extract.pdf import read_pdf
from gatepost.antispam.extract.plain import part_quoted, unflow
from gatepost.antispam.extract.qr import read_codes
from gatepost.antispam.extract.rtf import read_rtf
from gatepost.antispam.extract.word import read_word
from gatepost.mime.decode import decode_body
from gatepost.mime.part import Encoding, Message, Part, PartKind
from gatepost.mime.structure import MESSAGES
from gatepost.mime.words import decode_header, decode_text
from gatepost.model.spam import SpamOptions

TEXT_LIMIT: Final = 256 * 1024
"""Characters of visible text looked at: far beyond what anybody reads of one mail."""
SOURCE_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one part that are read: marks and invisible text may be many times the text."""
TEXTS_LIMIT: Final = 200
"""Texts of one message: a digest of a mailing list has some dozens."""
PICTURES_LIMIT: Final = 20
"""Pictures of one message that are looked at."""
CODE_PICTURES: Final = 5
"""Pictures that are searched for codes, 1 to 20 ms each."""
PICTURE_BYTES: Final = 4 * 1024 * 1024
"""Largest picture, encoded, that is looked at."""
COVER_LIMIT: Final = 120
"""Characters of text below which it but covers a message that is attached."""
SUBJECT_LIMIT: Final = 1_000
"""Characters of the subject of that message."""
TOLD_ELSEWHERE: Final = 300
"""Characters of text, quotations among them, from which words in pictures are not read: the text is the message."""
LINKED_LIMIT: Final = 3
LINKED_BYTES: Final = 1024 * 1024
"""PDF files of one message, and bytes of one, that are opened for their links alone: what is but a link is small."""
DOCUMENTS_LIMIT: Final = 10
"""Documents of one message that are read."""
_UNREAD: Final = frozenset(
    {"text/css", "text/javascript", "text/calendar", "text/vcard", "text/x-vcard", "text/directory"}
)
"""Texts that are no reading matter."""
_HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})
_HTML_NAMES: Final = (".html", ".htm", ".shtml", ".xhtml", ".xht")


class Text(msgspec.Struct):
    """Text of one part."""

    kind: str
    """plain, html, rtf, office, pdf, qr, ocr (words in pictures), subject (of a message that is all there is)."""
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
    page: Page | None = None
    """What the page does, for HTML."""
    urls: list[str] = []
    """Addresses that do not stand in the text: of documents."""
    wrapped: bool = False
    """Encoded in base64 although it is nothing but ASCII."""
    covering: bool = False
    """It says hardly anything, and stands in front of a message that is attached."""


class PictureReader(Protocol):
    """Recognises words in pictures."""

    def read(self, pictures: Sequence[bytes]) -> list[str]:
        """Return the lines of words found, a text for each picture that has some. Never raises, bounded in time."""


class Yield(msgspec.Struct):
    """What was read of a message."""

    texts: tuple[Text, ...] = ()
    pictures: tuple[tuple[Part, bytes], ...] = ()
    picture_parts: int = 0
    """Pictures there are, looked at or not."""
    documents: int = 0
    """PDF and Office files there are."""
    trouble: str = ""
    """What made a part unreadable that should not have; the others were read."""


def read_parts(message: Message, options: SpamOptions, reader: PictureReader | None = None) -> Yield:
    """Return the texts of a message and of messages in it, and its pictures if they are to be looked at. `reader` is
    asked for the words in pictures where there is hardly any text.
    """
    found = Yield()
    texts: list[Text] = []
    homes: list[Message] = []
    others: list[tuple[Message, Part]] = []
    pictures: list[tuple[Part, bytes]] = []
    documents: list[tuple[Message, Part]] = []
    for inside, part in message.leaves():
        if part.kind is not PartKind.PART:
            if part.kind is not PartKind.READING or len(others) < TEXTS_LIMIT:
                others.append((inside, part))
            continue
        text = _try_text(found, inside, part) if len(texts) < TEXTS_LIMIT else None
        if text is not None:
            texts.append(text)
            homes.append(inside)
        elif part.content_type.startswith("image/"):
            found.picture_parts += 1
            if options.images and len(pictures) < PICTURES_LIMIT and part.end - part.body <= 2 * PICTURE_BYTES:
                pictures.append((part, decode_body(inside.content, part).data))
        elif _is_document(part):
            found.documents += 1
            documents.append((inside, part))
    texts += list(_uncover(message, list(zip(homes, texts, strict=True))))
    if not any(text.visible for text in texts):
        # Nothing to read where readers look: then what other readers make of the same bytes, and what is around.
        texts += [text for inside, part in others[:TEXTS_LIMIT] if (text := _try_text(found, inside, part)) is not None]
    if documents:
        told_elsewhere = _shown(texts) < TOLD_ELSEWHERE
        texts += _read_documents(found, documents[:DOCUMENTS_LIMIT], office=options.office, links=told_elsewhere)
    for part, data in pictures[:CODE_PICTURES]:
        texts += [Text("qr", code, part=part) for code in read_codes(data)]
    if reader is not None and pictures and _shown(texts) < TOLD_ELSEWHERE:
        texts += [Text("ocr", words) for words in reader.read([data for _, data in pictures])]
    found.texts = tuple(texts)
    found.pictures = tuple(pictures)
    return found


def _uncover(message: Message, placed: Sequence[tuple[Message, Text]]) -> Iterator[Text]:
    """Mark what stands in front of one attached message and says hardly anything; yield the subject of that message,
    which its reader sees as a headline.
    """
    outer: list[Text] = []
    roots: dict[int, tuple[Message, Part]] = {}
    for inside, text in placed:
        root = inside.root if text.part is None else _find_root(text.part)
        if root is message.root:
            outer.append(text)
        else:
            roots[id(root)] = inside, root
    if len(roots) == 1 and _shown(outer) < COVER_LIMIT:
        for text in outer:
            text.covering = True
        for inside, root in roots.values():
            for field in root.fields:
                if field.name == b"subject":
                    subject = decode_header(inside.content[field.value : field.value_end].lstrip(b" \t"))
                    yield Text("subject", subject[:SUBJECT_LIMIT])
                    return


def _find_root(part: Part) -> Part:
    """Return the root of the message that a part belongs to."""
    while part.parent is not None and part.parent.content_type not in MESSAGES:
        part = part.parent
    return part


def _shown(texts: list[Text]) -> int:
    """Return how many characters of text are shown at once."""
    return sum(len(text.visible) + len(text.quoted) for text in texts if not text.attached)


def _try_text(found: Yield, message: Message, part: Part) -> Text | None:
    """Return the text of a part. A fault of ours must not spare a message the look at its other parts."""
    try:
        return _read_text(message, part)
    except Exception as error:  # noqa: BLE001 - as it says
        found.trouble = f"{type(error).__name__}: {error}"
        return None


def _read_text(message: Message, part: Part) -> Text | None:
    """Return the text of a part; None: it is not to be read."""
    content_type = part.content_type
    name = part.name.lower()
    attached = part.disposition == "attachment"
    is_page = content_type in _HTML_TYPES or name.endswith(_HTML_NAMES)
    if content_type in _RTF_TYPES:
        return None
    if not is_page and (not content_type.startswith("text/") or content_type in _UNREAD):
        return None
    raw = decode_body(message.content, part).data[:SOURCE_LIMIT]
    text = decode_text(raw, part.charset)
    if is_page or (content_type != "text/plain" and _looks_html(text)):
        page = read_page(text)
        read = Text("html", page.visible[:TEXT_LIMIT], page.hidden[:TEXT_LIMIT], part, labels=page.labels, page=page)
    else:
        text = text.replace("\r\n", "\n")
        if part.parameters.get("format", "").lower() == "flowed":
            text = unflow(text[:TEXT_LIMIT], delsp=part.parameters.get("delsp", "").lower() == "yes")
        own, quoted = part_quoted(text[:TEXT_LIMIT])
        read = Text("plain", own, part=part, quoted=quoted)
    read.attached = attached or (is_page and content_type not in _HTML_TYPES)
    read.wrapped = part.encoding is Encoding.BASE64 and raw.isascii()
    return read


def _is_document(part: Part) -> bool:
    return part.content_type in _DOCUMENT_TYPES or part.name.lower().endswith(_DOCUMENT_NAMES)


def _read_documents(
    found: Yield, documents: Sequence[tuple[Message, Part]], *, office: bool, links: bool
) -> Iterator[Text]:
    """Yield the texts of documents: those of RTF always, others when that is wished for (`office`); of small PDF files
    else the links at least, where they are what the message is about (`links`).
    """
    links_left = LINKED_LIMIT if links else 0
    for message, part in documents:
        is_rtf = part.content_type in _RTF_TYPES or part.name.lower().endswith(".rtf")
        size = part.end - part.body
        if not (is_rtf or office):
            is_pdf = part.content_type in _PDF_TYPES or part.name.lower().endswith(".pdf")
            if not is_pdf or not links_left or size > 2 * LINKED_BYTES:
                continue
            links_left -= 1
        if size > 2 * SOURCE_LIMIT:
            continue
        try:
            text = _read_document(message, part, is_rtf=is_rtf, office=office)
        except Exception as error:  # noqa: BLE001 - as in `_try_text`
            found.trouble = f"{type(error).__name__}: {error}"
            continue
        if text is not None:
            yield text


def _read_document(message: Message, part: Part, *, is_rtf: bool, office: bool) -> Text | None:
    data = decode_body(message.content, part).data[:SOURCE_LIMIT]
    if data.startswith(b"{\\rt"):
        read, kind = read_rtf(data), "rtf"
    elif data[:1024].find(b"%PDF-") >= 0 and (office or not is_rtf):
        read, kind = read_pdf(data, words=office), "pdf"
    elif office:
        read, kind = read_word(data), "office"
    else:
        return None
    if not read.visible and not read.urls:
        return None
    attached = part.disposition == "attachment" or not is_rtf
    return Text(kind, read.visible, read.hidden, part, attached=attached, urls=read.urls)


_RTF_TYPES: Final = frozenset({"text/rtf", "application/rtf", "text/richtext", "application/x-rtf"})
_PDF_TYPES: Final = frozenset({"application/pdf", "application/x-pdf"})
_DOCUMENT_TYPES: Final = _RTF_TYPES | _PDF_TYPES | {
    "application/msword", "application/vnd.oasis.opendocument.text",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "application/vnd.ms-word",
}  # fmt: skip
_DOCUMENT_NAMES: Final = (".rtf", ".doc", ".dot", ".docx", ".docm", ".dotx", ".odt", ".ott", ".pdf")


def _looks_html(text: str) -> bool:
    return text[:1000].lstrip("\ufeff \t\r\n")[:9].lower() in ("<!doctype", "<html>\r\n", "<html><he", "<html xml")
