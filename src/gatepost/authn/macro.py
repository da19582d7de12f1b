"""Macros of SPF (RFC 7208 §7): from text to pieces, from pieces and the facts of a message to text.

Called by `spf_record` and `spf`. Linear; a text that breaks the grammar is a `MacroError`.
"""

import functools
import ipaddress
import re
import urllib.parse

import msgspec

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NAME_LIMIT = 253
"""Characters of a domain name (RFC 7208 §7.3)."""

_PIECE = re.compile(
    r"%\{(?P<letter>[slodiphcrtvSLODIPHCRTV])(?P<digits>[0-9]{0,3})(?P<reverse>[rR]?)(?P<delimiters>[.\-+,/_=]{0,7})\}"
    r"|(?P<escape>%[%_-])|(?P<literal>[\x21-\x24\x26-\x7e]+)"
)
_ESCAPES = {"%%": "%", "%_": " ", "%-": "%20"}
_EXPLANATION_ONLY = frozenset("crt")
_TOP_LABEL = re.compile(r"\.(?!-)(?![0-9]+\.?\Z)[A-Za-z0-9-]+(?<!-)\.?\Z")


class MacroError(ValueError):
    """The text is no macro-string; the argument says why."""


class Expansion(msgspec.Struct, frozen=True, gc=False):
    """One `%{…}`."""

    letter: str
    """Lower case."""
    keep: int
    """Right-hand labels to keep, 0 = all."""
    reverse: bool
    delimiters: str
    escape: bool
    """An upper-case letter: the result is URL-escaped."""


Pieces = tuple[str | Expansion, ...]


class MacroFacts(msgspec.Struct, frozen=True, gc=False):
    """What macros stand for (RFC 7208 §7.2)."""

    sender: str
    """local-part@domain."""
    domain: str
    """<domain> of the check under way."""
    ip: Address
    helo: str
    validated: str = "unknown"
    """`p`: the client's confirmed name."""
    receiver: str = "unknown"
    now: float = 0.0


@functools.lru_cache(maxsize=4096)
def parse_macros(text: str, *, explanation: bool = False) -> Pieces:
    """Read a macro-string; `explanation`: spaces and the letters c, r, t may occur (RFC 7208 §7.1)."""
    pieces: list[str | Expansion] = []
    at = 0
    while at < len(text):
        if explanation and text[at] == " ":
            pieces.append(" ")
            at += 1
            continue
        match = _PIECE.match(text, at)
        if match is None:
            raise MacroError(f"no macro and no plain text: {text[at : at + 20]!r}")
        at = match.end()
        letter, digits = match["letter"], match["digits"]
        if letter is None:
            pieces.append(match["literal"] or _ESCAPES[match["escape"]])
            continue
        if letter.lower() in _EXPLANATION_ONLY and not explanation:
            raise MacroError(f"macro {letter} outside an explanation")
        if digits and not int(digits):
            raise MacroError("a macro that keeps no label")
        reverse, delimiters = match["reverse"] != "", match["delimiters"] or "."
        pieces.append(Expansion(letter.lower(), int(digits or 0), reverse, delimiters, letter.isupper()))
    return tuple(pieces)


def parse_domain_spec(text: str) -> Pieces:
    """Read a domain-spec: a macro-string that ends in a macro or a top label (RFC 7208 §7.1)."""
    if not text:
        raise MacroError("an empty domain")
    pieces = parse_macros(text)
    if isinstance(pieces[-1], str) and (text[-2:] in _ESCAPES or _TOP_LABEL.search(text) is None):
        raise MacroError(f"not a domain: {text[:80]!r}")
    return pieces


def uses_validated_name(pieces: Pieces) -> bool:
    """Whether the expansion needs `p`, which takes questions to find out."""
    return any(isinstance(piece, Expansion) and piece.letter == "p" for piece in pieces)


def expand(pieces: Pieces, facts: MacroFacts) -> str:
    """Return the text that pieces stand for."""
    return "".join(piece if isinstance(piece, str) else _expand(piece, facts) for piece in pieces)


def expand_domain(pieces: Pieces, facts: MacroFacts) -> str:
    """Return the name that a domain-spec stands for, cut from the left to what fits (RFC 7208 §7.3)."""
    name = expand(pieces, facts).removesuffix(".")
    while len(name) > NAME_LIMIT and "." in name:
        name = name.partition(".")[2]
    return name.lower()


def _expand(piece: Expansion, facts: MacroFacts) -> str:
    value = _value(piece.letter, facts)
    if piece.keep or piece.reverse or piece.delimiters != ".":
        for delimiter in piece.delimiters[1:]:
            value = value.replace(delimiter, piece.delimiters[0])
        labels = value.split(piece.delimiters[0])
        if piece.reverse:
            labels.reverse()
        value = ".".join(labels[-piece.keep :])
    return urllib.parse.quote(value, safe="-._~") if piece.escape else value


def _value(letter: str, facts: MacroFacts) -> str:
    ip = facts.ip
    match letter:
        case "s":
            return facts.sender
        case "l":
            return facts.sender.rpartition("@")[0]
        case "o":
            return facts.sender.rpartition("@")[2]
        case "d":
            return facts.domain
        case "i":
            return str(ip) if ip.version == 4 else ".".join(f"{int(ip):032X}")
        case "p":
            return facts.validated
        case "h":
            return facts.helo
        case "c":
            return str(ip)
        case "r":
            return facts.receiver
        case "t":
            return str(int(facts.now))
    return "in-addr" if ip.version == 4 else "ip6"
