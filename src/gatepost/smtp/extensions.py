"""The service extensions a server offers after EHLO (RFC 5321 §2.2), as the client understands them."""

import msgspec

from gatepost.model.reply import Reply
from gatepost.smtp.parameters import SIZE_DIGITS


class Extensions(msgspec.Struct, frozen=True, gc=False):
    """What the peer offered after EHLO; all False after HELO."""

    esmtp: bool = False
    pipelining: bool = False
    eight_bit: bool = False
    size: bool = False
    size_limit: int = 0
    """Bytes; 0 when the peer states none."""
    dsn: bool = False
    enhanced: bool = False
    starttls: bool = False
    chunking: bool = False
    binary: bool = False
    """BINARYMIME, which is of no use without CHUNKING (RFC 3030 §3)."""
    smtputf8: bool = False
    xforward: tuple[str, ...] = ()
    """Attributes that the peer takes by XFORWARD; () when it takes none of us."""
    keywords: tuple[str, ...] = ()
    """All keywords in upper case, those not known here too."""


def parse_extensions(answer: Reply) -> Extensions:
    """Read the keyword lines of an EHLO reply (RFC 5321 §4.1.1.1)."""
    keywords = {keyword.upper(): value for keyword, _, value in (line.partition(" ") for line in answer.lines[1:])}
    size = keywords.get("SIZE", "").strip()
    return Extensions(
        esmtp=True,
        pipelining="PIPELINING" in keywords,
        eight_bit="8BITMIME" in keywords,
        size="SIZE" in keywords,
        size_limit=int(size) if size.isdecimal() and len(size) <= SIZE_DIGITS else 0,
        dsn="DSN" in keywords,
        enhanced="ENHANCEDSTATUSCODES" in keywords,
        starttls="STARTTLS" in keywords,
        chunking="CHUNKING" in keywords,
        binary="BINARYMIME" in keywords,
        smtputf8="SMTPUTF8" in keywords,
        xforward=tuple(keywords.get("XFORWARD", "").upper().split()),
        keywords=tuple(keywords),
    )
