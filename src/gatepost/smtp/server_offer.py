"""What a session offers its peer: the reply to EHLO, HELP, and which commands and parameters may be used.

Called by `server.ServerSession` at its start and when TLS or a sign-in changes what is offered.
"""

import enum
import functools
from typing import Final

import msgspec

from gatepost.model.reply import Reply, reply
from gatepost.smtp import replies
from gatepost.smtp.input import COMMAND_LIMIT, SIGN_IN_LIMIT
from gatepost.smtp.server_events import Cause
from gatepost.smtp.settings import ServerSettings

XCLIENT_NAMES: Final = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
XFORWARD_NAMES: Final = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")


class Extension(enum.Enum):
    """What is there only when the settings say so; the rest of the EHLO reply always is."""

    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    CHUNKING = "CHUNKING"
    BINARYMIME = "BINARYMIME"
    SMTPUTF8 = "SMTPUTF8"
    XCLIENT = "XCLIENT"
    XFORWARD = "XFORWARD"
    LMTP = "LMTP"
    """No keyword: LHLO is understood."""
    BARE_LOCAL_PARTS = "bare-local-parts"
    """No keyword: addresses without a domain are taken."""
    UNBRACKETED = "unbracketed"
    """No keyword: addresses without their angle brackets are taken."""


class Offer(msgspec.Struct, frozen=True):
    """What holds for a session until its security changes."""

    extensions: frozenset[Extension]
    """Those understood; a sequence or TLS may still be missing for their use."""
    keywords: bytes
    """Lines of the reply to EHLO after the first."""
    help: Reply
    barrier: tuple[Cause, Reply] | None
    """Why there is no mail yet."""
    line_limit: int
    """Octets of a command line with its CRLF."""


@functools.lru_cache(maxsize=64)  # as good as four values for each listener
def build_offer(settings: ServerSettings, *, encrypted: bool, signed_in: bool) -> Offer:
    """Return what is offered under these settings."""
    wanted = {
        Extension.STARTTLS: settings.starttls,
        Extension.AUTH: bool(settings.auth),
        Extension.CHUNKING: settings.chunking,
        Extension.BINARYMIME: settings.chunking and settings.binarymime,
        Extension.SMTPUTF8: settings.smtputf8,
        Extension.XCLIENT: settings.xclient,
        Extension.XFORWARD: settings.xforward,
        Extension.LMTP: settings.lmtp,
        Extension.BARE_LOCAL_PARTS: settings.bare_local_parts,
        Extension.UNBRACKETED: settings.unbracketed_addresses,
    }
    extensions = frozenset(extension for extension, on in wanted.items() if on)
    hello = ["LHLO"] if settings.lmtp else ["HELO", "EHLO"]
    verbs = [name for extension, name in _VERBS.items() if extension in extensions]
    return Offer(
        extensions,
        _build_keywords(settings, extensions, encrypted=encrypted),
        reply(214, "2.0.0", " ".join([*hello, "MAIL RCPT DATA RSET NOOP HELP VRFY QUIT", *verbs])),
        _find_barrier(settings, encrypted=encrypted, signed_in=signed_in),
        SIGN_IN_LIMIT if settings.auth and encrypted else COMMAND_LIMIT,
    )


def _build_keywords(settings: ServerSettings, extensions: frozenset[Extension], *, encrypted: bool) -> bytes:
    """The documented keywords keep their documented order, DSN at the end."""
    keywords = ["ENHANCEDSTATUSCODES", "PIPELINING"]
    if settings.eight_bit:
        keywords.append("8BITMIME")
    keywords.append(f"SIZE {settings.size_limit}")
    if Extension.STARTTLS in extensions and not encrypted:
        keywords.append("STARTTLS")
    if Extension.AUTH in extensions and encrypted:
        keywords.append(" ".join(["AUTH", *settings.auth]))
    keywords += [extension.value for extension in _PLAIN_KEYWORDS if extension in extensions]
    if Extension.XCLIENT in extensions:
        keywords.append(" ".join(["XCLIENT", *XCLIENT_NAMES]))
    if Extension.XFORWARD in extensions:
        keywords.append(" ".join(["XFORWARD", *XFORWARD_NAMES]))
    if settings.dsn:
        keywords.append("DSN")
    return replies.render(reply(250, "", *keywords), enhanced=True)


def _find_barrier(settings: ServerSettings, *, encrypted: bool, signed_in: bool) -> tuple[Cause, Reply] | None:
    if settings.require_tls and not encrypted:
        return Cause.TLS_REQUIRED, replies.TLS_REQUIRED
    if settings.require_auth and not signed_in:
        return Cause.SIGN_IN_REQUIRED, replies.SIGN_IN_REQUIRED
    return None


_PLAIN_KEYWORDS: Final = (Extension.CHUNKING, Extension.BINARYMIME, Extension.SMTPUTF8)
_VERBS: Final = {
    Extension.STARTTLS: "STARTTLS",
    Extension.AUTH: "AUTH",
    Extension.CHUNKING: "BDAT",
    Extension.XCLIENT: "XCLIENT",
    Extension.XFORWARD: "XFORWARD",
}
"""Commands that come with an extension."""
