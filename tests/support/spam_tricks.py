"""Tricks that spammers hide a known text with, played on real spam: `TRICKS`, each takes a letter and gives a message.

A letter is a spam's header and its text as a reader sees it. `plain` puts it together again without any trick: what
that has for a status is what a trick may take from it.
"""

import base64
import email
import email.message
import html
import io
import quopri
import random
import re
import textwrap
from collections.abc import Callable
from typing import Final, NamedTuple

from PIL import Image, ImageDraw

_OURS = re.compile(rb"(?im)^(?:content-[\w-]+|mime-version|x-spam[\w-]*|lines|content-length):.*\r?\n(?:[ \t].*\r?\n)*")
_SKIPPED = re.compile(r"(?is)(<(?:style|script|head|title)\b.*?</(?:style|script|head|title)\s*>|<!--.*?-->|<[^>]*>)")
_TAGS = re.compile(r"<[^>]*>")
_BREAKS = re.compile(r"(?i)<(?:br|/p|/div|/tr|/li|/h\d)\b[^>]*>")
_WORD = re.compile(r"(?<![\w./@:=&-])[^\W\d_]{4,}(?![\w/@:=])")
_LINK = re.compile(r"(?i)\bhttps?://[^\s\"'<>]+")
_LOOK_ALIKE = str.maketrans("aeocpxyiABEHKMOPCTX", "аеосрхуіАВЕНКМОРСТХ")  # noqa: RUF001 - the trick itself
_SALAD = (
    *("garden", "window", "harbour", "teacher", "bottle", "mountain", "letter", "village", "morning", "kitchen"),
    *("ticket", "summer", "bridge", "paper", "orange", "station", "music", "winter", "candle", "river", "silver"),
    *("market", "pencil", "coffee", "island", "doctor", "forest", "engine", "basket", "weather", "painter", "holiday"),
    *("blanket", "library", "sailor", "pepper", "chimney", "meadow"),
)
_TEXT_LIMIT: Final = 20_000
"""Characters of a letter that are played with."""


class Letter(NamedTuple):
    """What a trick works on."""

    header: bytes
    """Without the fields of MIME, each line with its end."""
    plain: str
    html: str
    """"" when the mail had none."""


Trick = Callable[[Letter, random.Random, str], bytes]


def read_letter(raw: bytes) -> Letter | None:
    """Return the letter in a message; None when there is no text in it to play with."""
    raw = re.sub(rb"\AFrom .*\r?\n", b"", raw)
    raw = re.sub(rb"\r?\n", b"\r\n", raw)
    head, _, _ = raw.partition(b"\r\n\r\n")
    header = _OURS.sub(b"", head + b"\r\n")
    texts = {"text/plain": "", "text/html": ""}
    for part in email.message_from_bytes(raw).walk():
        kind = part.get_content_type()
        if kind in texts and not texts[kind] and not part.is_multipart():
            texts[kind] = _decode(part)[:_TEXT_LIMIT]
    page = texts["text/html"]
    plain = texts["text/plain"] or _strip(page)
    if len(plain.split()) < 8:
        return None
    return Letter(header, plain, page)


def _decode(part: email.message.Message) -> str:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    try:
        return data.decode(part.get_content_charset("utf-8"))
    except (LookupError, UnicodeDecodeError):
        return data.decode("latin-1")


_UNSEEN = ("<style", "<script", "<head", "<title", "<!--")


def _strip(page: str) -> str:
    seen = _SKIPPED.sub(lambda m: "" if m[0].lower().startswith(_UNSEEN) else m[0], page)
    text = _TAGS.sub("", _BREAKS.sub("\n", seen))
    return html.unescape(text)


# --- composing


def _part(kind: str, text: str) -> bytes:
    body = quopri.encodestring(text.replace("\r\n", "\n").encode("utf-8", "replace")).replace(b"\n", b"\r\n")
    head = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head.encode() + body + b"\r\n"


def _multipart(kind: str, parts: list[bytes], boundary: str) -> bytes:
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
    return (
        head
        + b"".join(b"--" + boundary.encode() + b"\r\n" + part for part in parts)
        + b"--"
        + boundary.encode()
        + b"--\r\n"
    )


def _message(letter: Letter, entity: bytes) -> bytes:
    return letter.header + b"MIME-Version: 1.0\r\n" + entity


def _body(letter: Letter, change: Callable[[str], str], page_end: str = "", text_end: str = "") -> bytes:
    """Return the letter's text part, its visible text changed, with something behind it."""
    if letter.html:
        pieces = _SKIPPED.split(letter.html)
        page = "".join(change(piece) if place % 2 == 0 else piece for place, piece in enumerate(pieces))
        at = page.lower().rfind("</body")
        at = len(page) if at < 0 else at
        return _part("html", page[:at] + page_end + page[at:])
    return _part("plain", change(letter.plain) + text_end)


def _as_page(text: str) -> str:
    return "".join(f"<p>{html.escape(line)}</p>\n" for line in text.splitlines() if line.strip())


def _page(letter: Letter) -> Letter:
    """Return the letter as one that has a page."""
    if letter.html:
        return letter
    linked = _LINK.sub(lambda m: f'<a href="{m[0]}">{m[0]}</a>', _as_page(letter.plain))
    return letter._replace(html=f"<html><body>{linked}</body></html>")


def _in_words(chance: float, rng: random.Random, change: Callable[[str], str]) -> Callable[[str], str]:
    """Return what changes this share of the words, and no address or link."""
    return lambda text: _WORD.sub(lambda m: change(m[0]) if rng.random() < chance else m[0], text)


# --- tricks


def plain(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """No trick."""
    _ = rng, ham
    return _message(letter, _body(letter, lambda text: text))


def homoglyphs(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """Letters of half of the words are those of another script that look the same."""
    _ = ham
    return _message(letter, _body(letter, _in_words(0.5, rng, lambda word: word.translate(_LOOK_ALIKE))))


def zero_width(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """Invisible characters stand in half of the words."""
    _ = ham

    def change(word: str) -> str:
        at = rng.randrange(1, len(word))
        return word[:at] + rng.choice("\u200b\u200c\u2060\u00ad") + word[at:]

    return _message(letter, _body(letter, _in_words(0.5, rng, change)))


def split_words(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """Words are split by spaces or dots, or, in a page, by elements that show nothing."""
    _ = ham

    def spaced(word: str) -> str:
        return rng.choice((" ", ".", "-")).join(word)

    def split(word: str) -> str:
        at = rng.randrange(1, len(word))
        return word[:at] + rng.choice(("<b></b>", "<!-- -->", "<span></span>", "<font></font>")) + word[at:]

    return _message(letter, _body(letter, _in_words(0.3, rng, split if letter.html else spaced)))


def inserted_text(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """As much honest text as there is spam stands behind it."""
    _ = rng
    ham = ham[: max(400, len(letter.plain))]
    return _message(letter, _body(letter, lambda text: text, _as_page(ham), f"\n\n{ham}\n"))


def word_salad(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """Random words stand behind it."""
    _ = ham
    salad = textwrap.fill(" ".join(rng.choices(_SALAD, k=120)), 72)
    return _message(letter, _body(letter, lambda text: text, f"<p>{salad}</p>", f"\n\n{salad}\n"))


def white_text(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """Honest text in white on white stands in front and behind."""
    _ = rng
    page = _page(letter)
    hidden = f'<font color="#ffffff" style="color:#fefefe;font-size:1px">{html.escape(ham[:1500])}</font>'
    return _message(page, _body(page, lambda text: text, hidden))


def hidden_text(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """Honest text nobody is shown stands in it, and comments and empty elements cut its words."""
    page = _page(letter)
    hidden = f'<div style="display:none">{html.escape(ham[:1500])}</div>'

    def split(word: str) -> str:
        at = rng.randrange(1, len(word))
        return f'{word[:at]}<span style="display:none">{rng.choice(_SALAD)}</span>{word[at:]}'

    return _message(page, _body(page, _in_words(0.2, rng, split), hidden))


def base64_nesting(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """The text stands in base64 in a multipart in a multipart in a multipart."""
    _ = rng, ham
    kind, text = ("html", letter.html) if letter.html else ("plain", letter.plain)
    coded = base64.encodebytes(text.encode("utf-8", "replace")).replace(b"\n", b"\r\n")
    entity = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode() + coded
    for depth, outer in enumerate(("alternative", "related", "mixed")):
        entity = _multipart(outer, [entity], f"=_nested_{depth}")
    return _message(letter, entity)


def message_nesting(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """The spam is a message that is attached to a message of a few words."""
    inner = plain(letter, rng, ham)
    attached = b"Content-Type: message/rfc822\r\n\r\n" + inner
    entity = _multipart("mixed", [_part("plain", "Please see the forwarded message below.\n"), attached], "=_outer")
    return _message(letter, entity)


def image_of_text(letter: Letter, rng: random.Random, ham: str) -> bytes:
    """The text is a picture that links to where the spam linked to."""
    _ = rng, ham
    lines = [line for row in letter.plain.splitlines() for line in textwrap.wrap(row, 80)][:60] or [" "]
    picture = Image.new("RGB", (520, 14 * len(lines) + 20), "white")
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((8, 8 + 14 * number), line.encode("latin-1", "replace").decode("latin-1"), fill="black")
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    coded = base64.encodebytes(stream.getvalue()).replace(b"\n", b"\r\n")
    image = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <picture>\r\n\r\n" + coded
    link = _LINK.search(html.unescape(letter.html) or letter.plain)
    shown = '<img src="cid:picture">'
    page = f"<html><body>{f'<a href={chr(34)}{link[0]}{chr(34)}>{shown}</a>' if link else shown}</body></html>"
    return _message(letter, _multipart("related", [_part("html", page), image], "=_image"))


TRICKS: Final[dict[str, Trick]] = {
    each.__name__: each
    for each in (
        homoglyphs,
        zero_width,
        split_words,
        inserted_text,
        word_salad,
        white_text,
        hidden_text,
        base64_nesting,
        message_nesting,
        image_of_text,
    )
}
