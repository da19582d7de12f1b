"""Addresses as commands of ours may carry them (RFC 5321, RFC 6531). Used by `client`, `capability` and `commands`."""

import functools
import re
import unicodedata
from typing import Final

from gatepost.smtp.address import DOMAIN_LIMIT, LABEL_LIMIT
from gatepost.smtp.parameters import ORCPT_LIMIT, is_orcpt

# Not in it: control characters of Unicode, its blanks and line ends, surrogates (which have no UTF-8 form).
_WIDE = r"\u00a1-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff\u3001-\ud7ff\ue000-\U0010ffff"
_QUOTED = r"\"(?:[ !#-\[\]-~]|\\[ -~])*\""
_WIDE_QUOTED = rf"\"(?:[ !#-\[\]-~{_WIDE}]|\\[ -~])*\""
_SENDABLE = re.compile(rf"(?:{_QUOTED}|[!#-;=?-~]*)(?:@[!-;=?-~]+)?")
_WIDE_CHARACTER = re.compile(r"[^\x00-\x7f]")
_LABEL_CATEGORIES: Final = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc", "Nd"})
"""Of characters in a U-label (RFC 5892 §2.1): letters, marks and digits, no capitals."""


@functools.lru_cache(maxsize=1024)  # at most 1 MB of addresses; most recipients come again and again
def is_sendable(address: str) -> bool:
    """Tell whether an address can stand in a command without being able to end it.

    Weaker than the syntax for reception: `root` or an odd domain may leave, a control character, `<`, `>`, a stray
    blank or a non-ASCII character may not.
    """
    return _SENDABLE.fullmatch(address) is not None


@functools.cache  # 20 ms to compile, which programs that are started for each message need not pay
def _sendable_utf8() -> re.Pattern[str]:
    return re.compile(rf"(?:{_WIDE_QUOTED}|[!#-;=?-~{_WIDE}]*)(?:@[!-;=?-~{_WIDE}]+)?")


@functools.cache
def _unitext() -> re.Pattern[str]:
    return re.compile(rf"utf-8;[!-*,-<>-~{_WIDE}]+", re.IGNORECASE)


def is_sendable_utf8(address: str) -> bool:
    """Tell the same of a command under SMTPUTF8 (RFC 6531 §3.3), where characters beyond ASCII may stand."""
    return _sendable_utf8().fullmatch(address) is not None


def ascii_address(address: str) -> str | None:
    """Return an address with the domain in A-labels; None when it has no form in ASCII (RFC 6531 §3.2: nobody but the
    final host may change a local part).
    """
    local, at, domain = address.rpartition("@")
    if not at or not local.isascii():
        return None
    converted = ascii_domain(domain)
    return None if converted is None else f"{local}@{converted}"


def ascii_domain(domain: str) -> str | None:
    """Return a domain in A-labels (RFC 5890 §2.3.2.1), None when a label is no U-label or is too long.

    Nothing is mapped but capitals and composed forms: the mappings of older standards make one domain of two (`ß`).
    """
    if domain.isascii():
        return domain
    labels: list[str] = []
    for label in domain.split("."):
        if label.isascii():
            labels.append(label)
            continue
        if len(label) > LABEL_LIMIT:
            return None
        lower = unicodedata.normalize("NFC", unicodedata.normalize("NFC", label).lower())
        if lower[0] == "-" or lower[-1] == "-" or lower[2:4] == "--" or unicodedata.category(lower[0])[0] == "M":
            return None
        if unicodedata.normalize("NFKC", lower) != lower:
            return None  # another way to write some other label
        if any(char != "-" and unicodedata.category(char) not in _LABEL_CATEGORIES for char in lower):
            return None
        encoded = "xn--" + lower.encode("punycode").decode("ascii")
        if len(encoded) > LABEL_LIMIT:
            return None
        labels.append(encoded)
    converted = ".".join(labels)
    return converted if len(converted) <= DOMAIN_LIMIT else None


def sendable_orcpt(orcpt: str, *, utf8: bool) -> str:
    r"""Return an ORCPT value as it may be passed on, "" when it may not.

    One of type `utf-8` with characters beyond ASCII (RFC 6533 §3) stays as it is under SMTPUTF8; elsewhere each of
    them becomes `\x{…}`, which every server with DSN takes.
    """
    if is_orcpt(orcpt):
        return orcpt
    if len(orcpt) > ORCPT_LIMIT or _unitext().fullmatch(orcpt) is None:
        return ""
    if utf8:
        return orcpt
    written = _WIDE_CHARACTER.sub(lambda char: f"\\x{{{ord(char[0]):X}}}", orcpt)
    return written if is_orcpt(written) else ""
