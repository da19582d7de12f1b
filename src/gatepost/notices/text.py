"""Untrusted text made fit to be shown: one line, no control or direction-changing characters, bounded.

Called wherever something a stranger wrote (a file name, a subject, a peer's reply) enters a text of ours. Promises
that the result holds no line end and can be encoded; it does not quote or judge.
"""

import re
from collections.abc import Callable

_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls: a line end would let a value write header fields or lines of its own
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the reading direction: fdp.exe shown as exe.pdf
    "\u2028\u2029"  # line ends to some mail readers
    "\ud800-\udfff]"  # lone surrogates: undecodable bytes, which no encoding could write again
)
_UNSHOWN_ASCII = re.compile("[\x00-\x1f\x7f]")


def clean_text(text: str, limit: int) -> str:
    """Return `text` in one line of at most `limit` bytes of UTF-8, cut on a character border.

    What must not be shown becomes a space each.
    """
    text = text[:limit]  # a character has at least one byte: spares the work on what is cut anyway
    if text.isascii():
        return text if text.isprintable() else _UNSHOWN_ASCII.sub(" ", text)
    text = _UNSHOWN.sub(" ", text)
    raw = text.encode()
    return text if len(raw) <= limit else raw[:limit].decode(errors="ignore")


def ascii_text(text: str, limit: int, escape: Callable[[str], str] = lambda c: f"\\x{{{ord(c):X}}}") -> str:
    r"""Return `text` as one line of printable ASCII, at most `limit` characters.

    Other characters are written as `\x{HEX}` (the form RFC 6533 §3 gives to addresses) or as `escape` says.
    """
    text = clean_text(text, limit)
    if not text.isascii():
        text = _NOT_ASCII.sub(lambda found: escape(found.group()), text)[:limit]
    return text


_NOT_ASCII = re.compile("[^\x00-\x7f]")
