"""The replies the receiving side gives of itself, and how a reply is put on the wire.

Called by `server.ServerSession` and by the relay (for connections it refuses before there is a session). Texts are
general on purpose: the reason of a refusal goes to the record, not to the peer.
"""

from typing import Final

from gatepost.model.reply import Reply, reply

LINE_LIMIT: Final = 510
"""Octets of one reply line without CRLF (RFC 5321 §4.5.3.1.5: 512 with it); longer text is cut."""

SENDER_OK: Final = reply(250, "2.1.0", "OK")
RECIPIENT_OK: Final = reply(250, "2.1.5", "OK")
MESSAGE_OK: Final = reply(250, "2.0.0", "OK")
RESET_OK: Final = reply(250, "2.0.0", "OK")
NOTHING_DONE: Final = reply(250, "2.0.0", "OK")
NOTED: Final = reply(250, "2.0.0", "OK")
START_INPUT: Final = reply(354, "", "Start mail input; end with <CRLF>.<CRLF>")
CANNOT_VERIFY: Final = reply(252, "2.1.5", "Cannot verify the user; send some mail and see")
GOODBYE: Final = reply(221, "2.0.0", "Closing connection", closes=True)

READY_FOR_TLS: Final = reply(220, "2.0.0", "Ready to start TLS")
SIGNED_IN: Final = reply(235, "2.7.0", "Authentication successful")
SIGN_IN_FAILED: Final = reply(535, "5.7.8", "Authentication credentials invalid")
SIGN_IN_UNAVAILABLE: Final = reply(454, "4.7.0", "Temporary authentication failure")
SIGN_IN_REQUIRED: Final = reply(530, "5.7.0", "Authentication required")
SIGN_IN_CANCELLED: Final = reply(501, "5.7.0", "Authentication cancelled")
SIGN_IN_LINE_TOO_LONG: Final = reply(500, "5.5.6", "Authentication exchange line is too long")
BAD_BASE64: Final = reply(501, "5.5.2", "Cannot decode this as base64")
UNKNOWN_MECHANISM: Final = reply(504, "5.5.4", "Unrecognized authentication type")
SIGN_IN_NEEDS_TLS: Final = reply(538, "5.7.11", "Encryption required for requested authentication mechanism")
TLS_REQUIRED: Final = reply(530, "5.7.0", "Must issue a STARTTLS command first")
NOT_TRUSTED: Final = reply(550, "5.7.0", "Insufficient authorization")
TLS_UNAVAILABLE: Final = reply(454, "4.7.0", "TLS not available due to temporary reason")

TIMED_OUT: Final = reply(421, "4.4.2", "Timeout, closing connection", closes=True)
SHUTTING_DOWN: Final = reply(421, "4.3.2", "Service not available, try again later", closes=True)
TOO_MANY_SESSIONS: Final = SHUTTING_DOWN
TOO_MANY_FROM_YOU: Final = reply(421, "4.7.0", "Too many connections from your address", closes=True)
TOO_MANY_ERRORS: Final = reply(421, "4.7.0", "Too many errors, closing connection", closes=True)
TOO_FRUITLESS: Final = reply(421, "4.7.0", "Too many commands without mail, closing connection", closes=True)
TOO_MANY_SIGN_INS: Final = reply(421, "4.7.0", "Too many failed sign-ins, closing connection", closes=True)
TALKED_EARLY: Final = reply(554, "5.5.1", "Error: you talked before the greeting", closes=True)
NOT_SMTP: Final = reply(421, "4.7.0", "This is a mail server, closing connection", closes=True)

TOO_MANY_MESSAGES: Final = reply(452, "4.5.3", "Too many messages in this session")
TOO_MANY_RECIPIENTS: Final = reply(452, "4.5.3", "Too many recipients")
SESSION_TOO_LARGE: Final = reply(452, "4.3.1", "Too much data in this session", closes=True)
NO_RESOURCES: Final = reply(452, "4.3.1", "Insufficient system storage")

NOT_RECOGNISED: Final = reply(500, "5.5.2", "Command not recognized")
LINE_TOO_LONG: Final = reply(500, "5.5.2", "Command line too long")
BARE_LINE_END: Final = reply(500, "5.5.2", "Lines must end with <CRLF>")
NOT_PRINTABLE: Final = reply(500, "5.5.2", "Only printable ASCII is allowed in commands")
BAD_ARGUMENT: Final = reply(501, "5.5.4", "Syntax error in parameters")
BAD_ADDRESS: Final = reply(501, "5.5.4", "Syntax error in address")
BAD_UTF8: Final = reply(501, "5.5.2", "Not well-formed UTF-8")
NON_ASCII_ADDRESS: Final = reply(553, "5.6.7", "Non-ASCII addresses need SMTPUTF8")
BAD_CHUNK_SIZE: Final = reply(501, "5.5.4", "Syntax error in chunk size, closing connection", closes=True)
"""Where the next command begins cannot be known any more."""
NOT_IMPLEMENTED: Final = reply(502, "5.5.1", "Command not implemented")
BAD_SEQUENCE: Final = reply(503, "5.5.1", "Bad sequence of commands")
UNKNOWN_PARAMETER: Final = reply(555, "5.5.4", "Parameter not recognized or not implemented")
NO_RECIPIENTS: Final = reply(554, "5.5.1", "No valid recipients")

MESSAGE_TOO_LARGE: Final = reply(552, "5.3.4", "Message size exceeds the limit")
TOO_MANY_HOPS: Final = reply(554, "5.4.6", "Too many hops, possible mail loop")
BARE_LINE_END_IN_DATA: Final = reply(550, "5.5.2", "Bare <CR> or <LF> in message; lines must end with <CRLF>")
"""Same code as Postfix gives by default; permanent, because sending the same bytes again cannot help."""


def build_chunk_ok(octets: int) -> Reply:
    """Return the reply to a chunk that is not the last."""
    return reply(250, "2.0.0", f"{octets} octets received")


def render_both(answer: Reply) -> tuple[bytes, bytes]:
    """Return the wire form of a reply without and with its enhanced code: index it with what `enhanced` means below."""
    return render(answer, enhanced=False), render(answer, enhanced=True)


def render_hello(text: str, keywords: bytes) -> bytes:
    """Return the wire form of the reply to HELO, or to EHLO with the rendered lines that follow the first."""
    return f"250{'-' if keywords else ' '}{_cleaned(text)}"[:LINE_LIMIT].encode("ascii") + b"\r\n" + keywords


def render(answer: Reply, *, enhanced: bool) -> bytes:
    """Return the wire form of a reply, CRLF at the end of every line.

    `enhanced` tells whether the client used EHLO (RFC 2034). Characters that have no place in a reply are shown as
    `?`, so text from outside can never begin a line of its own.
    """
    code = answer.code
    status = f"{answer.enhanced} " if enhanced and answer.enhanced else ""
    lines = answer.lines or ("",)
    if len(lines) == 1:
        return f"{code} {status}{_cleaned(lines[0])}"[:LINE_LIMIT].encode("ascii") + b"\r\n"
    shown = [f"{code}-{status}{_cleaned(line)}"[:LINE_LIMIT] for line in lines[:-1]]
    shown.append(f"{code} {status}{_cleaned(lines[-1])}"[:LINE_LIMIT])
    return "".join([line + "\r\n" for line in shown]).encode("ascii")


def _cleaned(text: str) -> str:
    """Return `text` with everything but printable ASCII replaced."""
    if text.isascii() and text.isprintable():
        return text
    return "".join([c if c.isascii() and c.isprintable() else "?" for c in text])
