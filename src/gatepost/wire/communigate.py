r"""CommuniGate Pro's helper protocol for external filters, its queue files, and the files it takes messages from.

Called by `client.cgpro`. Bytes and text in, values out. The server writes a line a request, `NUMBER COMMAND ARGUMENTS`,
and reads a line an answer, in any order; lines that begin with * go to its log. Promises: whatever a text holds, an
answer is one line below `LINE_LIMIT`; no field of a message can act on the envelope of the file that hands it in.
"""

import enum
import re
from collections.abc import Sequence
from typing import Final

import msgspec

LINE_LIMIT: Final = 4096
"""Bytes of an answer with its end, by the documentation; requests are not longer."""
INTERFACE: Final = 3
"""Version of the protocol spoken here."""
TEXT_LIMIT: Final = 500
ENVELOPE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a queue file's envelope: a line for each recipient."""

_REQUEST: Final = re.compile(r"(\S{1,32})[ \t]+([A-Za-z]{1,32})(?:[ \t]+(.*))?\Z", re.DOTALL)
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ADDRESS: Final = re.compile(rb"<([^<>]*)>[^<>]*\Z")
_SOURCE: Final = re.compile(rb"S (?:<([^<>]*)> )?([A-Za-z][A-Za-z0-9]*)(?: \[([0-9A-Fa-f:.]+)\])?")
_FIELD: Final = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*")
_COMMANDING: Final = re.compile(rb"(?:Envelope-[!-9;-~]*|Return-Path|Bcc|X-Special-[!-9;-~]*)[ \t]*:", re.IGNORECASE)
"""Fields that the server would take for the envelope of a file handed in, or do something with."""


class Command(enum.StrEnum):
    """What the server asks."""

    INTERFACE = "INTF"
    NOOP = "NOOP"
    KEY = "KEY"
    FILE = "FILE"
    QUIT = "QUIT"


class HelperRequest(msgspec.Struct, frozen=True):
    """A line of the server's."""

    number: str
    command: Command | None
    """None: one that is not known here."""
    argument: str = ""


def parse_request(line: str) -> HelperRequest | None:
    """Return what a line without its end asks, None: it is no request."""
    match = _REQUEST.match(line.strip())
    if match is None:
        return None
    argument = (match[3] or "").strip()
    quoted = _QUOTED.match(argument)
    if quoted is not None:
        argument = re.sub(r"\\(.)", r"\1", quoted[1])
    try:
        command = Command(match[2].upper())
    except ValueError:
        return HelperRequest(match[1], None, argument)
    return HelperRequest(match[1], command, argument)


class Answer(enum.StrEnum):
    """What becomes of the message."""

    OK = "OK"
    """The server goes on with it."""
    DISCARD = "DISCARD"
    """It forgets it."""
    ERROR = "ERROR"
    """It refuses it: the sender is told the text."""
    REJECTED = "REJECTED"
    """It was not looked at now: the server keeps it and asks again."""
    FAILURE = "FAILURE"
    """The command is not known. Never of a message: the server goes on as if it had been told `OK`."""


def build_answer(number: str, answer: Answer, text: str = "") -> str:
    """Return a line with its end."""
    return f"{number} {answer}{f' {_quote(text)}' if text else ''}\n"


def build_interface(number: str, theirs: str) -> str:
    """Return the answer to INTF: the lower of both versions."""
    known = int(theirs) if theirs.isascii() and theirs.isdigit() and len(theirs) < 4 else INTERFACE
    return f"{number} {Command.INTERFACE} {max(min(known, INTERFACE), 1)}\n"


def build_note(text: str) -> str:
    """Return a line for the server's log."""
    return f"* {_plain(text)}\n"


def _plain(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:TEXT_LIMIT])


def _quote(text: str) -> str:
    return '"' + _plain(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


class QueueEnvelope(msgspec.Struct, frozen=True):
    """What stands in front of the message in a queue file."""

    sender: str
    recipients: tuple[str, ...]
    transport: str = ""
    """By what it came, in capitals: SMTP, HTTP …; "" when the file does not say."""
    client_ip: str = ""
    user: str = ""
    """Who signed in."""
    size: int = 0
    """Bytes of it, with the empty line."""


def parse_queue_file(head: bytes) -> QueueEnvelope | None:
    """Return the envelope at the beginning of a queue file, None: `head` holds only a part of it. ValueError."""
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None:
        if len(head) > ENVELOPE_LIMIT:
            raise ValueError(f"no end of the envelope within {ENVELOPE_LIMIT} bytes")
        return None
    sender: str | None = None
    recipients: dict[str, None] = {}
    transport = client_ip = user = ""
    for line in head[: end.start()].splitlines():
        kind = line[:1]
        address = _ADDRESS.search(line)
        if kind == b"P" and address:
            sender = address[1].decode("utf-8", "backslashreplace")
        elif kind == b"R" and address:
            recipients[address[1].decode("utf-8", "backslashreplace")] = None
        elif kind == b"S" and (source := _SOURCE.match(line)):
            user = (source[1] or b"").decode("utf-8", "backslashreplace")
            transport = source[2].decode("ascii").upper()
            client_ip = (source[3] or b"").decode("ascii")
    if sender is None or not recipients:
        raise ValueError("it has no envelope of a sender and recipients")
    return QueueEnvelope(sender, tuple(recipients), transport, client_ip, user, end.end())


def build_submission(sender: str, recipients: Sequence[str], fields: Sequence[tuple[str, str]]) -> bytes:
    """Return what is put in front of a message to hand it in: its envelope, and fields of our own. ValueError."""
    lines = [f"Return-Path: <{_address(sender)}>\n"]
    lines += [f"Envelope-To: <{_address(each)}>\n" for each in recipients]
    lines += [f"{name}: {value}\n" for name, value in fields]
    return "".join(lines).encode()


def _address(address: str) -> str:
    if any(each in "<>" or not each.isprintable() for each in address):
        raise ValueError("an address that cannot be written")
    return address


def strip_commands(header: bytes) -> bytes:
    """Return a header without the fields the server would take for the envelope of a file handed in."""
    if _COMMANDING.search(header) is None:
        return header
    if not header.endswith(b"\n"):
        header += b"\n"
    return b"".join(field for field in _FIELD.findall(header) if _COMMANDING.match(field) is None)
