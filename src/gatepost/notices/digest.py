"""Digests: what is kept for one recipient as spam, with links to act on it; as text and as HTML.

Called by `master.digests`, sent by a relay as `notices.problem_mail` (null sender, marked, Auto-Submitted). Senders
and subjects are strangers' words: cleaned and cut here, and escaped for the HTML, so that a template's author need not
think of it. The result is bounded: when it would be too long it tells of fewer messages, and of how many it leaves out.
"""

import html
from collections.abc import Sequence
from typing import Final

import msgspec

from gatepost.notices.facts import PRODUCT
from gatepost.notices.notification import SUBJECT
from gatepost.notices.template import Item, Template, Values
from gatepost.notices.text import clean_text

SENDER_LIMIT: Final = 120
"""Bytes: enough to know somebody by."""
WORDS_LIMIT: Final = 200
"""Bytes of a subject."""
MAIL_LIMIT: Final = 80 * 1024
"""Bytes of text and HTML together: what fits into one question to a relay (`control.channel.MESSAGE_LIMIT`)."""
_NO_SUBJECT: Final = "Messages kept for you"


class DigestLine(msgspec.Struct, frozen=True, kw_only=True):
    """One message."""

    sender: str
    subject: str
    time: str
    """As it is to be shown."""
    rate: int
    release: str
    """Links, whole."""
    allow: str
    """"" = the sender cannot be listed."""
    block: str


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipient is told."""

    hostname: str
    lines: Sequence[DigestLine]
    """Newest first; () when it was asked for."""
    count: int
    """New messages in all."""
    page: str
    """Link to all of them."""
    until: str
    """When links end, as it is to be shown."""
    asked: bool = False


class DigestText(msgspec.Struct, frozen=True):
    """A digest, written."""

    subject: str
    text: str
    html: str


def build_digest(digest: Digest, templates: tuple[Template, Template]) -> DigestText:
    """Write a digest with the templates of text and HTML."""
    lines = list(digest.lines)
    while True:
        told = _write(msgspec.structs.replace(digest, lines=lines), templates)
        if len(told.text.encode()) + len(told.html.encode()) <= MAIL_LIMIT or not lines:
            return told
        lines = lines[: len(lines) // 2]


def _write(digest: Digest, templates: tuple[Template, Template]) -> DigestText:
    plain, marked = (_values(digest, escaped=escaped) for escaped in (False, True))
    subject = templates[0].definition(SUBJECT, plain) or _NO_SUBJECT
    return DigestText(subject, templates[0].render(plain), templates[1].render(marked))


def _values(digest: Digest, *, escaped: bool) -> dict[str, Values]:
    def fit(text: str, limit: int = 1000) -> str:
        clean = clean_text(text, limit)
        return html.escape(clean, quote=True) if escaped else clean

    left_out = digest.count - len(digest.lines)
    return {
        "PRODUCT": PRODUCT,
        "HOSTNAME": fit(digest.hostname),
        "DIGEST_ITEM": tuple(
            Item(
                str(number),
                {
                    "DIGEST_SENDER": fit(line.sender or "<>", SENDER_LIMIT),
                    "DIGEST_SUBJECT": fit(line.subject, WORDS_LIMIT),
                    "DIGEST_TIME": fit(line.time),
                    "DIGEST_RATE": str(line.rate),
                    "DIGEST_RELEASE": fit(line.release),
                    "DIGEST_ALLOW": fit(line.allow) if line.allow else (),
                    "DIGEST_BLOCK": fit(line.block) if line.block else (),
                },
            )
            for number, line in enumerate(digest.lines, 1)
        ),
        "DIGEST_COUNT": str(digest.count),
        "DIGEST_MORE": str(left_out) if left_out > 0 and not digest.asked else (),
        "DIGEST_PAGE": fit(digest.page),
        "DIGEST_UNTIL": fit(digest.until),
        "DIGEST_ASKED": "yes" if digest.asked else (),
    }
