"""The mail system's side of the milter protocol: packets it sends, and what it makes of the answers."""

import re
import struct
from collections.abc import Iterable, Iterator

CONTENT = b"From: a@example.net\r\nSubject: one\r\n two\r\nTo: b@example.com\r\n\r\nHello,\r\n.\r\nbye\r\n"
ACTIONS = 0x1FF
STEPS = 0x1FFFFF
"""What Postfix and Sendmail offer in version 6."""
OLD_ACTIONS = 0x3F
OLD_STEPS = 0x7F
"""What Sendmail 8.13 offers in version 2."""
EXACT = 0x100000
LEFT_OUT = frozenset((0x40, 0x200))
"""End of header and DATA."""


def packet(command: str, data: bytes = b"") -> bytes:
    return struct.pack("!I", len(data) + 1) + command.encode() + data


def texts(*words: bytes) -> bytes:
    return b"".join(word + b"\0" for word in words)


def options(version: int = 6, actions: int = ACTIONS, steps: int = STEPS) -> bytes:
    return packet("O", struct.pack("!III", version, actions, steps))


def macros(command: str, **values: bytes) -> bytes:
    """Names of several letters go in braces."""
    pairs = [(name if len(name) == 1 else f"{{{name}}}").encode() + b"\0" + value for name, value in values.items()]
    return packet("D", command.encode() + texts(*pairs))


def connect(
    name: bytes = b"mail.example.net", address: bytes = b"192.0.2.7", port: int = 4711, kind: str = "4"
) -> bytes:
    return packet("C", name + b"\0" + kind.encode() + struct.pack("!H", port) + address + b"\0")


def envelope(sender: bytes = b"<a@example.net>", recipients: Iterable[bytes] = (b"<b@example.com>",)) -> bytes:
    return packet("M", texts(sender, b"SIZE=77")) + b"".join(packet("R", texts(one)) for one in recipients)


def content(mail: bytes = CONTENT, *, exact: bool = True, chunk: int = 65535) -> bytes:
    """Header, body and end of a message, as a mail system sends them."""
    header, _, body = mail.partition(b"\r\n\r\n") if not mail.startswith(b"\r\n") else (b"", b"", mail[2:])
    stream = b""
    for field in fields_of(header + b"\r\n" if header else b""):
        name, _, value = field.partition(b":")
        value = value.removesuffix(b"\r\n").replace(b"\r\n", b"\n")
        stream += packet("L", texts(name, value if exact else value.removeprefix(b" ")))
    for start in range(0, len(body), chunk):
        stream += packet("B", body[start : start + chunk])
    return stream + packet("E")


def message(
    mail: bytes = CONTENT, recipients: Iterable[bytes] = (b"<b@example.com>",), queue_id: bytes = b"4XyZ12"
) -> bytes:
    """One message of a session in version 6."""
    return envelope(recipients=recipients) + content(mail)[:-5] + macros("E", i=queue_id) + packet("E")


def session(*messages: bytes) -> bytes:
    """A whole conversation in version 6."""
    return options() + connect() + packet("H", b"helo.example.net\0") + b"".join(messages or (message(),)) + packet("Q")


def fields_of(header: bytes) -> list[bytes]:
    """Header fields with their folded lines and CRLF."""
    fields: list[bytes] = []
    for line in re.findall(rb"[^\n]*\n|[^\n]+\Z", header):
        if line[:1] in b" \t" and fields:
            fields[-1] += line
        else:
            fields.append(line)
    return fields


def packets(stream: bytes) -> Iterator[tuple[str, bytes]]:
    """What a filter has sent."""
    at = 0
    while at < len(stream):
        (size,) = struct.unpack_from("!I", stream, at)
        assert len(stream) >= at + 4 + size >= at + 5
        yield chr(stream[at + 4]), stream[at + 5 : at + 4 + size]
        at += 4 + size


def carried_out(mail: bytes, answers: bytes) -> bytes:
    """The copy a mail system makes of the answers, in version 6."""
    header, _, body = mail.partition(b"\r\n\r\n")
    fields = fields_of(header + b"\r\n")
    new_body: bytes | None = None
    for command, data in packets(answers):
        if command == "b":
            new_body = (new_body or b"") + data
        elif command == "h":
            name, value = data[:-1].split(b"\0")
            fields.append(name + b":" + value.replace(b"\n", b"\r\n") + b"\r\n")
        elif command in "im":
            name, value = data[4:-1].split(b"\0")
            field = name + b":" + value.replace(b"\n", b"\r\n") + b"\r\n"
            if command == "i":
                assert data[:4] == bytes(4)
                fields.insert(0, field)
                continue
            same = [at for at, one in enumerate(fields) if one.partition(b":")[0].lower() == name.lower()]
            at = same[struct.unpack_from("!I", data)[0] - 1]
            fields[at : at + 1] = [field] if value else []
    return b"".join(fields) + b"\r\n" + (body if new_body is None else new_body)
