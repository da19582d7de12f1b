"""Authentication-Results (RFC 8601): reads what others state, writes what we found.

`parse_results` is called by `authentication` for fields whose writer the configuration trusts; `build_results_field` by
whoever adds the field to a message. A field that breaks the grammar says what can be read of it.
"""

import re
from typing import NamedTuple

from gatepost.mime.fields import strip_comments
from gatepost.model.authn import AuthnResults

STATEMENTS_LIMIT = 50
"""Statements of one field that are read."""
_WORD_LIMIT = 255

_PIECE = re.compile(r'"(?:[^"\\]++|\\.)*+"?|;|[^;"]++', re.DOTALL)
_PAIR = re.compile(r'([A-Za-z0-9_.-]+)(?:\s*/\s*[0-9]+)?\s*=\s*(?:"((?:[^"\\]++|\\.)*+)"?|([^\s";]+))', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+")
_UNSHOWN = re.compile(r'[^\x20-\x7e]|["\\]')


class Statement(NamedTuple):
    """One `method=result` with its properties."""

    method: str
    """Lower case."""
    result: str
    """Lower case."""
    properties: dict[str, str]
    """`ptype.property` in lower case, values as written."""


class Results(NamedTuple):
    """One field, read."""

    writer: str
    """authserv-id, lower case."""
    statements: tuple[Statement, ...]

    def find(self, method: str) -> Statement | None:
        """Return the first statement of this method."""
        return next((each for each in self.statements if each.method == method), None)


def parse_results(text: str) -> Results:
    """Read the value of a field."""
    bare = strip_comments(text.encode("utf-8", "replace")).decode("utf-8", "replace")
    segments = [""]
    for piece in _PIECE.findall(bare):
        if piece == ";":
            segments.append("")
        else:
            segments[-1] += piece
    writer, *rest = segments[: STATEMENTS_LIMIT + 1]
    words = writer.split()
    return Results(
        words[0].strip('"').lower()[:_WORD_LIMIT] if words else "",
        tuple(each for each in map(_parse_statement, rest) if each is not None),
    )


def _parse_statement(segment: str) -> Statement | None:
    pairs = [(name.lower(), _QUOTED_PAIR.sub(r"\1", quoted) or token) for name, quoted, token in _PAIR.findall(segment)]
    if not pairs or "." in pairs[0][0]:
        return None
    (method, result), *properties = pairs
    return Statement(method, result.lower()[:_WORD_LIMIT], {name: value[:_WORD_LIMIT] for name, value in properties})


def build_results_field(hostname: str, results: AuthnResults) -> bytes:
    """Return the whole field for what was checked, lines folded, with its last line end; b"" when nothing was."""
    stated = list(_state(results))
    if not stated:
        return b""
    return f"Authentication-Results: {_value(hostname)};\r\n\t{_FOLD.join(stated)}\r\n".encode("ascii", "replace")


_FOLD = ";\r\n\t"


def _state(results: AuthnResults) -> list[str]:
    stated = []
    if results.spf:
        scope = "smtp.helo" if results.spf_helo else "smtp.mailfrom"
        stated.append(f"spf={results.spf}{_property(scope, results.spf_domain)}")
    for each in results.dkim:
        names = _property("header.d", each.domain) + _property("header.s", each.selector)
        stated.append(f"dkim={each.result}{_reason(each.reason)}{names}")
    if results.dmarc and not results.dkim:
        stated.append("dkim=none")
    if results.dmarc:
        policy = f" (p={results.dmarc_policy})" if results.dmarc_policy else ""
        stated.append(f"dmarc={results.dmarc}{policy}{_property('header.from', results.dmarc_domain)}")
    if results.arc:
        sealer = f" (sealed by {results.arc_sealer})" if _TOKEN.fullmatch(results.arc_sealer) else ""
        stated.append(f"arc={results.arc}{sealer}")
    return stated


def _reason(reason: str) -> str:
    return f' reason="{_UNSHOWN.sub("?", reason)[:100]}"' if reason else ""


def _property(name: str, value: str) -> str:
    return f" {name}={_value(value)}" if value else ""


def _value(value: str) -> str:
    """Return a value as token or quoted string; what cannot be shown in a header field becomes a question mark."""
    value = value[:_WORD_LIMIT]
    return value if _TOKEN.fullmatch(value) else f'"{_UNSHOWN.sub("?", value)}"'
