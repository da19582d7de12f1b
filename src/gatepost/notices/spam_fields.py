"""The fields that tell what anti-spam found (rows F-ASR-05 to F-ASR-07; specification antispam.md §6). Pure.

Called by `relay.editing` for every message of a group that wants them, so the ordinary mail's are made of prepared
pieces. Every value is one line of ASCII, folded by nobody: what others wrote in it is cleaned, cut, and written in
encoded words where it is not ASCII.
"""

import functools
import re
from typing import Final

import msgspec

import gatepost
from gatepost.model.spam import Method, SpamStatus
from gatepost.model.verdict import SpamVerdict, Splice
from gatepost.notices.facts import PRODUCT
from gatepost.notices.scan_field import header_end
from gatepost.notices.text import clean_text
from gatepost.notices.words import encode_words

VALUE_LIMIT: Final = 300
"""Characters of one value: in encoded words a line of it has less than the 998 that RFC 5322 §2.1.1 allows."""
METHODS_LIMIT: Final = 12
"""Method fields of one message."""
CATEGORIES_LIMIT: Final = 5
KEYWORDS_LIMIT: Final = 900
"""Characters of the Keywords: a line of it has less than 998, too."""
_KEYWORD: Final = re.compile(r"[^ -~]")

_STATUS: Final = {
    SpamStatus.SPAM: "SPAM",
    SpamStatus.BLACKLISTED: "SPAM",
    SpamStatus.PROBABLE_SPAM: "Probable Spam",
    SpamStatus.TRUSTED: "Trusted",
    SpamStatus.FORMAL: "Not detected",
    SpamStatus.NOT_DETECTED: "Not detected",
}
"""The older field knows four words."""
_NONE: Final = (Method.NONE,)


class FieldSettings(msgspec.Struct, frozen=True):
    """What does not change from message to message."""

    prefix: str
    """Of the names, without the hyphen behind it."""
    group_id: str
    text: str = ""
    """Of the administrator."""


def build_spam_fields(settings: FieldSettings, verdict: SpamVerdict, sender: str) -> bytes:
    """Return the fields, each with its CRLF; `sender` is the envelope's."""
    head = _head(settings, verdict.status)
    prefix = settings.prefix
    if not verdict.checked:
        return (head + (f"{prefix}-Info: {verdict.info}\r\n" if verdict.info else "")).encode("ascii")
    lines = [head, f"{prefix}-Rate: {verdict.rate}\r\n"]
    methods = ((*verdict.methods, *verdict.details) or _NONE)[:METHODS_LIMIT]
    lines += [f"{prefix}-Method: {_fit(method)}\r\n" for method in methods]
    infos = dict.fromkeys((verdict.info, verdict.reason))
    lines += [f"{prefix}-Info: {_fit(info)}\r\n" for info in infos if info]
    if verdict.categories:
        lines.append(f"{prefix}-Categories: {_fit(', '.join(verdict.categories[:CATEGORIES_LIMIT]))}\r\n")
    if verdict.formal:
        lines.append(f"{prefix}-Formal: {_fit(verdict.formal)}\r\n")
    if verdict.obscene:
        lines.append(f"{prefix}-Obscene: yes\r\n")
    lines.append(f"{prefix}-Envelope-From: <{_fit(sender)}>\r\n")
    return "".join(lines).encode("ascii")


@functools.lru_cache(maxsize=1024)
def _head(settings: FieldSettings, status: SpamStatus) -> str:
    prefix = settings.prefix
    text = f"{prefix}-Header: {_fit(settings.text)}\r\n" if settings.text else ""
    return (
        f"{prefix}-Version: {PRODUCT} {gatepost.__version__}\r\n"
        f"{prefix}-Status: {_STATUS[status]}\r\n"
        f"{prefix}-Status-Extended: {status.value}\r\n"
        f"{prefix}-Group-ID: {settings.group_id}\r\n{text}"
    )


def find_foreign(content: bytes, prefix: str) -> list[Splice]:
    """Return what takes fields of these names out of a header that no filter has looked at. Linear in its size."""
    end = header_end(content)
    if prefix.lower().encode() not in content[:end].lower():
        return []
    return [Splice(*found.span(), b"") for found in _foreign(prefix).finditer(content, 0, end)]


@functools.lru_cache(maxsize=16)
def _foreign(prefix: str) -> re.Pattern[bytes]:
    name = re.escape(prefix.encode()) + rb"-[!-9;-~]*+[ \t]*+:"
    return re.compile(rb"^" + name + rb"[^\n]*+(?:\n|\Z)(?:[ \t][^\n]*+(?:\n|\Z))*+", re.IGNORECASE | re.MULTILINE)


def build_keywords(verdict: SpamVerdict) -> bytes:
    """Return the Keywords field (specification antispam.md §10.1): status, categories."""
    words = ", ".join((_STATUS[verdict.status], *verdict.categories[:CATEGORIES_LIMIT]))
    return f"Keywords: {_KEYWORD.sub('?', words)[:KEYWORDS_LIMIT]}\r\n".encode("ascii")


def _fit(text: str) -> str:
    if text.isascii() and text.isprintable() and len(text) <= VALUE_LIMIT:
        return text
    return encode_words(clean_text(text, VALUE_LIMIT))
