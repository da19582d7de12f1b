"""Text of header fields: encoded words (RFC 2047) and the guesses that undeclared 8-bit text needs.

Called by `fields` for file names and by the filter and the notices for subjects and names. Never raises.
"""

import binascii
import codecs
import functools
import re

_WORD = re.compile(rb"=\?([!->@-~]{1,100}+)\?([bBqQ])\?([^?\r\n]*+)\?=")
_CACHED_BYTES = 400
"""Of a field that is remembered: several readers of one message ask for the same subject and names."""
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_SPACE = b" \t\r\n"
_NO_CHARSETS = frozenset(
    {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "unicode_escape", "raw_unicode_escape"}
)
"""Codecs of Python that are no charsets of mail; punycode takes quadratic time."""
_MAKES_SURROGATES = frozenset({"utf-7", "utf_7"})
"""Codecs of Python that give out half characters, which nothing could write again."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


def decode_text(raw: bytes, charset: str = "") -> str:
    """Decode bytes in `charset`; when it is unknown or wrong as UTF-8, when that fails as Latin-1.

    Never raises, and what it returns can be written in UTF-8.
    """
    if charset:
        try:
            codec = codecs.lookup(charset).name
            if codec == "utf-16":
                return raw.decode(_resolve_utf16(raw), "replace")
            if codec not in _NO_CHARSETS:
                text = raw.decode(charset, "replace")
                return _SURROGATE.sub("\ufffd", text) if codec in _MAKES_SURROGATES else text
        except (LookupError, ValueError, RuntimeError):  # RuntimeError: Python's decoder of ISO-2022-JP-2 on some bytes
            pass
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _resolve_utf16(raw: bytes) -> str:
    """Return the codec of UTF-16 text: its byte order mark tells, else the bytes that are 0 in Western letters, else it
    is big-endian (RFC 2781 §4.3).
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-16-le" if raw[1::2].count(0) > raw[::2].count(0) else "utf-16-be"


def decode_header(raw: bytes) -> str:
    """Return the text of an unstructured field: unfolded, encoded words decoded (RFC 2047 §6), also where they stand
    inside quotes or beside other text. Neighbouring words of one charset are joined before decoding, because senders
    split characters between them.
    """
    if b"\n" in raw:
        raw = _FOLD.sub(b"", raw)
    if b"=?" not in raw:
        return decode_text(raw).strip()
    return _cached(raw) if len(raw) <= _CACHED_BYTES else _decode_words(raw)


def _decode_words(raw: bytes) -> str:
    out: list[str] = []
    held: list[bytes] = []
    held_charset = ""
    position = 0
    for word in _WORD.finditer(raw):
        between = raw[position : word.start()]
        charset = word[1].partition(b"*")[0].decode("ascii").lower()
        if between.strip(_SPACE) or position == 0 or charset != held_charset:
            if held:
                out.append(decode_text(b"".join(held), held_charset))
            held = []
            if between.strip(_SPACE) or position == 0:
                out.append(decode_text(between))
        held.append(_decode_word(word[2], word[3]))
        held_charset = charset
        position = word.end()
    if held:
        out.append(decode_text(b"".join(held), held_charset))
    out.append(decode_text(raw[position:]))
    return "".join(out).strip()


_cached = functools.lru_cache(maxsize=32)(_decode_words)


def _decode_word(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return binascii.a2b_qp(text, header=True)
    text = text.translate(None, _NOT_BASE64)
    if len(text) % 4 == 1:
        text = text[:-1]
    return binascii.a2b_base64(text + b"==")
