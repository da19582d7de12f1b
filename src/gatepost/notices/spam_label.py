"""Labels in front of a subject (row F-ASR-04): once, whatever it is written in. Pure. Called by `relay.spam_editing`.

Bytes of the sender's subject stay as they are: the label is put in front of them. A label beyond ASCII is an encoded
word, which swallows the space between itself and another one, so that the space is inside it then.
"""

import re
from collections.abc import Sequence
from typing import Final

from gatepost.mime.words import decode_header
from gatepost.model.spam import FieldSpot
from gatepost.model.verdict import Splice
from gatepost.notices.scan_field import header_end
from gatepost.notices.text import clean_text
from gatepost.notices.words import encode_words

LABEL_LIMIT: Final = 100
"""Bytes of one label: more would leave nothing of the subject on a screen."""
LINE_LIMIT: Final = 998
"""Characters of a line without its CRLF (RFC 5322 §2.1.1)."""
SUBJECTS_LIMIT: Final = 20
"""Subject fields that are labelled: no reader shows a later one."""
TEXT_BYTES: Final = 8_000
"""Bytes of a subject in which labels are looked for: they stand at its beginning."""
_ENCODED: Final = b"=?"
_SUBJECT: Final = re.compile(
    rb"^(?P<name>subject[ \t]*+:)[^\n]*+(?:\n|\Z)(?:[ \t][^\n]*+(?:\n|\Z))*+", re.IGNORECASE | re.MULTILINE
)


def label_subject(content: bytes, spot: FieldSpot, labels: Sequence[str]) -> Splice | None:
    """Return what puts labels in front of a subject; None when all of them stand there already."""
    missing = find_missing(spot.text, labels)
    if not missing:
        return None
    value = content[spot.value : spot.end]
    line = value.partition(b"\n")[0].rstrip(b"\r")
    before = b" " if content[spot.value - 1 : spot.value] == b":" else b""
    written = _write(missing, encoded_follows=value.lstrip(b" \t\r\n").startswith(_ENCODED))
    if not line.strip():  # empty, or it begins on the next line, with white space
        return Splice(spot.value, spot.value, before + written.rstrip(b" "))
    if len("Subject: ") + len(written.rpartition(b"\n")[2]) + len(line) > LINE_LIMIT:
        written = written.rstrip(b" ") + b"\r\n "
    return Splice(spot.value, spot.value, before + written)


def find_subjects(content: bytes, first: FieldSpot) -> list[FieldSpot]:
    """Return the Subject fields: a message may have several (against RFC 5322 §3.6), readers differ in which of them
    they show. `first` is where the filter has seen one. Linear in the size of the header.
    """
    spots = [first]
    for found in _SUBJECT.finditer(content, 0, header_end(content)):
        other = found.end() <= first.start or found.start() >= first.end
        if other and len(spots) < SUBJECTS_LIMIT:
            start = found.end("name")
            value = start + content.startswith((b" ", b"\t"), start)
            text = decode_header(content[value : min(found.end(), value + TEXT_BYTES)])
            spots.append(FieldSpot(found.start(), found.end(), value, text))
    return spots


def build_subject(labels: Sequence[str]) -> bytes:
    """Return a Subject field for a message that has none."""
    return b"Subject: " + _write(labels, encoded_follows=False).rstrip(b" ") + b"\r\n"


def find_missing(text: str, labels: Sequence[str]) -> list[str]:
    """Return the labels that a value does not begin with; other labels of ours may stand before them."""
    rest = text.lstrip()
    missing = []
    for label in labels:
        if rest.startswith(label):
            rest = rest[len(label) :].lstrip()
        elif label not in missing:
            missing.append(label)
    return missing


def _write(labels: Sequence[str], *, encoded_follows: bool) -> bytes:
    """Return the labels and the space behind them."""
    text = " ".join(clean_text(label, LABEL_LIMIT) for label in labels)
    if text.isascii():
        return text.encode("ascii") + b" "
    return encode_words(text + " " if encoded_follows else text).encode("ascii") + b" "
