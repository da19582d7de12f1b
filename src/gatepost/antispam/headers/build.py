"""Facts of how a message is built and of its way: dates, hops, subject, MIME structure.

Named in `.signs` as `fact NAME`. Each returns what was seen, in words, or "" when it does not hold.
"""

import re

from gatepost.antispam.eastern import find_language
from gatepost.antispam.headers.picture import Picture
from gatepost.antispam.headers.received import read_date
from gatepost.mime.part import PartKind

HOUR = 3600.0
DAY = 24 * HOUR
PAST = 4 * DAY
"""Longest time that honest mail waits in queues (RFC 5321 §4.5.4.1: four to five days)."""
FUTURE = 12 * HOUR
"""A clock that knows its day but not its zone is wrong by no more."""
BACKWARDS = 6 * HOUR
OLD_PROGRAMS_GONE = 1_400_000_000.0
"""May 2014: Windows XP, and with it Outlook Express, was given up."""
CAPITALS = 8
"""Letters of a subject from which its case tells something."""
FEW_LETTERS = 20
_WORDS = re.compile(r"[^\W\d_]{3,}")
_ENCODED = re.compile(rb"=\?[^?\s]+\?([bBqQ])\?[^?\s]*\?=")
_CYRILLIC = ("koi8-r", "koi8-u", "windows-1251", "cp1251", "iso-8859-5")
_WORDS_LOOKED = 4_000
"""Characters of a text whose letters are looked at."""


def date_invalid(picture: Picture) -> str:
    """The Date field is no date."""
    text = picture.text("date")
    return text if text and read_date(text) is None else ""


def _date_offset(picture: Picture) -> float:
    """Return by how much Date is ahead of the reception, in seconds; 0 when one of them is unknown."""
    date = read_date(picture.text("date"))
    return date - picture.now if date is not None and picture.now else 0.0


def date_past(picture: Picture) -> str:
    """It was written more than four days ago."""
    offset = _date_offset(picture)
    return f"{-offset / DAY:.0f} days ago" if offset < -PAST else ""


def date_future(picture: Picture) -> str:
    """It will be written in more than half a day."""
    offset = _date_offset(picture)
    return f"in {offset / HOUR:.0f} hours" if offset > FUTURE else ""


def recent(picture: Picture) -> str:
    """It came in after `OLD_PROGRAMS_GONE`."""
    return "later" if picture.now > OLD_PROGRAMS_GONE else ""


def received_backwards(picture: Picture) -> str:
    """A hop has a time long after that of a later hop."""
    if len(picture.fields.get("received", ())) < 2:
        return ""
    later = 0.0
    for hop in picture.hops:
        moment = read_date(hop.date)
        if moment is None:
            continue
        if later and moment - later > BACKWARDS:
            return f"{hop.date}, {(moment - later) / HOUR:.0f} hours after the next relay had it"
        later = moment
    return ""


def helo_ours(picture: Picture) -> str:
    """A foreign client calls itself by our name or by an own domain."""
    helo = picture.options.helo.lower().rstrip(".")
    host = picture.options.hostname.lower().rstrip(".")
    return helo if picture.is_from_outside and helo and (helo == host or helo in picture.own_domains) else ""


def subject_capitals(picture: Picture) -> str:
    """The subject is written in capitals, several words of them."""
    if not picture.view.subject.isupper():
        return ""
    letters = [each for each in picture.view.subject if each.isalpha()]
    if len(letters) < CAPITALS or len(picture.view.subject.split()) < 3:
        return ""
    cased = [each for each in letters if each.lower() != each.upper()]
    return picture.view.subject if len(cased) >= CAPITALS and all(each.isupper() for each in cased) else ""


def subject_encoded_needlessly(picture: Picture) -> str:
    """The subject is ASCII but written as base64 encoded words."""
    field = picture.view.first("subject")
    if field is None or b"=?" not in field.raw:
        return ""
    words = _ENCODED.findall(field.raw[:2000])
    plain = all(" " <= each <= "~" for each in field.text)
    return field.text if words and all(word in b"bB" for word in words) and plain and len(field.text) < 60 else ""


def subject_utf8(picture: Picture) -> str:
    """The bytes of the subject are UTF-8 (RFC 6532), declared or not."""
    field = picture.view.first("subject")
    try:
        return "" if field is None else field.raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def charset_disagrees(picture: Picture) -> str:
    """A charset of an alphabet is declared of which the text has no letter."""
    for charset in picture.texts("@charset"):
        if charset in _CYRILLIC or find_language(charset):
            body = picture.view.typed
            letters = _WORDS.findall(body[:_WORDS_LOOKED])
            if len(letters) >= FEW_LETTERS and all(word.isascii() for word in letters) and body.isascii():
                return charset
    return ""


def no_text(picture: Picture) -> str:
    """There are attachments and no text at all."""
    if picture.view.typed.strip():
        return ""
    names = [part.name or part.content_type for part in picture.view.message.walk() if part.is_leaf and _is_file(part)]
    return ", ".join(names[:3])


def _is_file(part: object) -> bool:
    return getattr(part, "kind", None) is PartKind.PART and not getattr(part, "content_type", "").startswith("text/")


def nothing(picture: Picture) -> str:
    """There is no text and no attachment."""
    if picture.view.body.strip() or any(text.hidden.strip() for text in picture.view.texts):
        return ""
    parts = [part for part in picture.view.message.walk() if part.is_leaf and part.kind is PartKind.PART]
    if any(_is_file(part) or part.name or part.disposition == "attachment" for part in parts):
        return ""
    return "" if any(part.end - part.body > FEW_LETTERS for part in parts) else "an empty body"


def html_only(picture: Picture) -> str:
    """All text is HTML, that of a message around it apart which says hardly anything."""
    kinds = {text.kind for text in picture.view.texts if not (text.attached or text.covering or text.kind in _NO_FORM)}
    return "text/html alone" if kinds == {"html"} else ""


_NO_FORM = frozenset({"ocr", "qr", "subject"})
"""Kinds of texts that are no form in which a text was written."""


def alternative_single(picture: Picture) -> str:
    """A multipart/alternative has one alternative."""
    for part in picture.view.message.walk():
        if part.content_type == "multipart/alternative" and len(part.children) == 1 and part.kind is PartKind.PART:
            return part.children[0].content_type
    return ""
