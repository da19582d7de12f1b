"""Paths of MAIL and RCPT (RFC 5321 §4.1.2), also with characters beyond ASCII (RFC 6531 §3.3).

Called by `requests` for what peers send. A syntax error is raised as `ArgumentError`, which carries the reply to give.
"""

import ipaddress
import re
import unicodedata
from typing import Final

from gatepost.smtp import replies
from gatepost.smtp.errors import ArgumentError

DOMAIN_LIMIT: Final = 255
"""Octets, RFC 5321 §4.5.3.1.2."""
PATH_LIMIT: Final = 256
"""Octets with the angle brackets, RFC 5321 §4.5.3.1.3. The local part has no limit of its own: lists and forwarders
write an address into another (VERP, SRS), and 64 octets (§4.5.3.1.1) are what everybody must take, not all one may.
"""
LABEL_LIMIT: Final = 63
"""Octets between two dots of a domain, RFC 1035 §2.3.4; of a U-label, those of its A-label."""

UNFIT: Final = (
    r"\x80-\xa0\u1680\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\udfff\ufdd0-\ufdef\ufeff"
    r"\ufff0-\uffff\U000e0001-\U000e007f\U000f0000-\U0010ffff"
)
"""For a negated character class, beyond ASCII: controls, blanks, line ends, marks of direction, other characters that
show nothing, private planes. Joiners are not in it: Persian and Indian words need them."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_QUOTED = r"\"(?:[ !#-\[\]-~]|\\[ -~])*\""
_REST = r"(?: +(?P<rest>.*))?"
_PATH = re.compile(
    r"<(?:@[^<>\"\\ ]*:)?"  # a source route is read and dropped, RFC 5321 appendix C
    rf"(?P<address>(?P<local>{_ATOM}(?:\.{_ATOM})*|{_QUOTED})"
    rf"@(?P<domain>[A-Za-z0-9_.-]+|\[[^\[\]\\<> ]+\]))>{_REST}",
)
_WIDE_ATOM = rf"[^\x00- \"(),.:;<>@\[\\\]\x7f{UNFIT}]+"
_WIDE_QUOTED = rf"\"(?:[^\x00-\x1f\"\\\x7f{UNFIT}]|\\[ -~])*\""
_WIDE_DOMAIN = rf"[^\x00-,/:-@\[-^`{{-\x7f{UNFIT}]+"
_WIDE_PATH = re.compile(
    rf"<(?P<address>(?P<local>{_WIDE_ATOM}(?:\.{_WIDE_ATOM})*|{_WIDE_QUOTED})"
    rf"@(?P<domain>{_WIDE_DOMAIN}|\[[!-;=?-Z^-~]+\]))>{_REST}",
)
_NULL = re.compile(rf"(?P<address>)<>{_REST}")
_POSTMASTER = re.compile(rf"<(?P<address>postmaster)>{_REST}", re.IGNORECASE | re.ASCII)
_LOCAL_PART = re.compile(rf"<(?P<address>(?P<local>{_ATOM}(?:\.{_ATOM})*|{_QUOTED}))>{_REST}")
_UNBRACKETED = re.compile(
    rf"(?P<address>(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>[A-Za-z0-9_.-]+|\[[^\[\]\\<> ]+\])){_REST}"
)
"""No quoted local part and no source route: what is forgiven must be plain."""
_UNBRACKETED_POSTMASTER = re.compile(rf"(?P<address>postmaster){_REST}", re.IGNORECASE | re.ASCII)
_LONG_LABEL = re.compile(rf"[^.]{{{LABEL_LIMIT + 1}}}")


def parse_mail_argument(argument: str, *, bare: bool = False, unbracketed: bool = False) -> tuple[str, str]:
    """Return (address or "" for `<>`, text of the parameters) of what follows `MAIL `. With `bare` the address may be a
    local part alone, with `unbracketed` one of ASCII may stand there without its brackets.
    """
    return _parse_path(argument, "FROM:", (_NULL, _LOCAL_PART) if bare else (_NULL,), unbracketed=unbracketed)


def parse_rcpt_argument(argument: str, *, bare: bool = False, unbracketed: bool = False) -> tuple[str, str]:
    """Return (address, text of the parameters) of what follows `RCPT `.

    Bare `<postmaster>` is allowed, in any case (RFC 5321 §4.5.1); with `bare` any local part alone.
    `unbracketed`: as for MAIL.
    """
    local = _LOCAL_PART if bare else _POSTMASTER
    exceptions = (local, _UNBRACKETED_POSTMASTER) if unbracketed else (local,)
    return _parse_path(argument, "TO:", exceptions, unbracketed=unbracketed)


def is_bracketed(argument: str) -> bool:
    """Tell whether the address in an argument of MAIL or RCPT that can be parsed stands in brackets."""
    return argument.partition(":")[2].lstrip(" ")[:1] == "<"


def _parse_path(
    argument: str, keyword: str, exceptions: tuple[re.Pattern[str], ...], *, unbracketed: bool
) -> tuple[str, str]:
    """Parse `keyword`, a path or a form that is none, and what follows."""
    if argument[: len(keyword)].upper() != keyword:
        raise ArgumentError(replies.BAD_ARGUMENT)
    path = argument[len(keyword) :].lstrip(" ")  # the blank many clients put there is forgiven
    match = _PATH.fullmatch(path) or (_UNBRACKETED.fullmatch(path) if unbracketed else None)
    if match is None:
        match = next(filter(None, (exception.fullmatch(path) for exception in exceptions)), None)
        if match is None:
            return _parse_wide_path(path)
    elif not _is_domain(match["domain"]):
        raise ArgumentError(replies.BAD_ADDRESS)
    if len(match["address"]) + 2 > PATH_LIMIT:
        raise ArgumentError(replies.BAD_ADDRESS)
    return match["address"], match["rest"] or ""


def _parse_wide_path(path: str) -> tuple[str, str]:
    """Parse a path that is none of ASCII. Lengths are those of its UTF-8 (RFC 6531 §3.3)."""
    match = None if path.isascii() else _WIDE_PATH.fullmatch(path)
    if match is None or len(match["address"].encode()) + 2 > PATH_LIMIT or not _is_wide_domain(match["domain"]):
        raise ArgumentError(replies.BAD_ADDRESS)
    return match["address"], match["rest"] or ""


def _is_wide_domain(domain: str) -> bool:
    """Tell whether `domain` is one when its U-labels are read as the A-labels they stand for (RFC 5890 §2.3.2.1).

    One name has one form: compatibility characters, which an application might take for ASCII or for a dot, have no
    place in a U-label (RFC 5892 §2.2).
    """
    if domain.isascii():
        return _is_domain(domain)
    if not unicodedata.is_normalized("NFKC", domain) or "\u3002" in domain:
        return False
    labels = domain.split(".")
    if any(label[:1] == "-" or label[-1:] == "-" for label in labels):
        return False
    return _is_domain(".".join(map(_a_label, labels)))


def _a_label(label: str) -> str:
    """Return the form of a label in the DNS; its length is bounded by the path's."""
    return label if label.isascii() else "xn--" + label.lower().encode("punycode").decode("ascii")


def _is_domain(domain: str) -> bool:
    """Tell whether `domain`, already of the right characters, is a host name or an address literal (§4.1.3)."""
    if domain[0] == "[":
        return _is_literal(domain[1:-1])
    return (
        len(domain) <= DOMAIN_LIMIT
        and domain[0] not in "-."
        and domain[-1] not in "-."
        and ".." not in domain
        and ".-" not in domain
        and "-." not in domain
        and _LONG_LABEL.search(domain) is None
    )


def _is_literal(literal: str) -> bool:
    try:
        if literal[:5].upper() == "IPV6:":
            ipaddress.IPv6Address(literal[5:])
        else:
            ipaddress.IPv4Address(literal)
    except ValueError:
        return False
    return "%" not in literal  # no zone of this host (RFC 4007) in an address of the world
