"""A mail as programs hand it to a scanner, and back: their line ends, the mbox line they put in front, what that tells.

Used by the doors whose protocols carry a whole mail and nothing of its envelope (spamd, rspamd). Judges want CRLF line
ends and a mail that begins with its header; who asked wants back what they sent, edited.
"""

import re
from typing import Final

import msgspec

from gatepost.mime.edit import apply_splices
from gatepost.model.filtering import Part

ADDRESS_LIMIT: Final = 320
"""Characters of an address that is believed: more no mail system takes (RFC 5321 §4.5.3.1)."""
HINT_BYTES: Final = 64 * 1024
"""Of the beginning, in which the fields of a program for the scanner stand."""
RECIPIENTS_LIMIT: Final = 1000
"""Of one mail: more are not looked up."""

_BARE: Final = re.compile(rb"(?<!\r)\n")
_MBOX: Final = re.compile(rb"From (\S{1,320}) [^\r\n]{1,200}\r?\n")
_RETURN_PATH: Final = re.compile(rb"Return-Path:[ \t]*<([^<>\r\n]*)>[ \t]*\r?\n", re.IGNORECASE)
_ENVELOPE: Final = re.compile(rb"X-Envelope-(From|To):[ \t]*([^\r\n]*)\r?\n")
_PLAIN: Final = re.compile(r"[^\s<>,\x00-\x20\x7f]+\Z")
_NOBODY: Final = frozenset(("", "MAILER-DAEMON"))


class MailCopy(msgspec.Struct, frozen=True):
    """A mail ready for the judge, and how it came."""

    content: bytes
    """From its header on, with CRLF line ends."""
    line_feeds: bool = False
    """It came with bare line feeds only."""
    mbox_line: bytes = b""
    """What stood in front of the header."""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    """As its first lines tell them, which the program that asks wrote there itself."""

    def restore(self, content: bytes) -> bytes:
        """Return an edited content as the mail came: with its mbox line, and its line ends."""
        return self.mbox_line + (content.replace(b"\r\n", b"\n") if self.line_feeds else content)


def read_mail(raw: bytes) -> MailCopy:
    """Return a mail for the judge.

    The envelope is read at the very top only, where the program writes that hands the mail over: the fields of Exim
    behind its mbox line, or a Return-Path as the first field of all. Anywhere else a stranger may have written them.
    """
    mbox = _MBOX.match(raw)
    mbox_line = mbox[0] if mbox else b""
    at = len(mbox_line)
    sender = ""
    recipients: list[str] = []
    if mbox is not None:
        told = mbox[1].decode("utf-8", "replace")
        sender = "" if told in _NOBODY else told
        while (field := _ENVELOPE.match(raw, at)) and field.end() <= HINT_BYTES:
            value = field[2].decode("utf-8", "replace")
            if field[1] == b"From":
                sender = value.strip(" <>")
            else:
                recipients += read_addresses(value)
            at = field.end()
    elif first := _RETURN_PATH.match(raw):
        sender = first[1].decode("utf-8", "replace")
    content = raw[len(mbox_line) :] if mbox_line else raw
    feeds = content.count(b"\n")
    ended = content.count(b"\r\n") if feeds else 0
    if feeds > ended:
        content = _BARE.sub(b"\r\n", content) if ended else content.replace(b"\n", b"\r\n")
    return MailCopy(
        content,
        line_feeds=feeds > 0 and ended == 0,
        mbox_line=mbox_line,
        sender=sender if _sound(sender) else "",
        recipients=tuple(recipients[:RECIPIENTS_LIMIT]),
    )


def read_addresses(text: str) -> list[str]:
    """Return the addresses of `<a@b>, c@d`; what is none is left out."""
    found = re.findall(r"<([^<>]*)>", text) if "<" in text else text.split(",")
    return [address for each in found if (address := each.strip()) and _sound(address)]


def complete(address: str, default_domain: str) -> str:
    """Return an address with the default domain when it has none; "" for what is no address even then."""
    if address and "@" not in address and default_domain:
        address = f"{address}@{default_domain}"
    return address if "@" in address and _sound(address) else ""


def build_copy(content: bytes, part: Part) -> bytes:
    """Return a content with what was decided for a part: fields in front, and what is replaced. SpliceError."""
    if not part.splices:
        return part.prefix + content
    return b"".join((part.prefix, *apply_splices(content, part.splices)))


def _sound(address: str) -> bool:
    return len(address) <= ADDRESS_LIMIT and _PLAIN.match(address) is not None
