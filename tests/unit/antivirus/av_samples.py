"""Sample objects and messages, put together at run time so that no file holds a whole test string."""

import base64
import binascii
import gzip
import io
import quopri
import zipfile

from gatepost.model.finding import ObjectStatus

BASE = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-" + b"ANTIVIRUS-TEST-FILE!$H+H*"

CURABLE = "CURE-"
OUTCOMES = {
    "": (ObjectStatus.INFECTED, "EICAR-Test-File"),
    "CORR-": (ObjectStatus.ERROR, "EICAR-Test-File.corr"),
    "SUSP-": (ObjectStatus.SUSPICIOUS, "EICAR-Test-File.susp"),
    "WARN-": (ObjectStatus.SUSPICIOUS, "EICAR-Test-File.warn"),
    "ERRO-": (ObjectStatus.ERROR, "EICAR-Test-File.erro"),
    "CURE-": (ObjectStatus.INFECTED, "EICAR-Test-File.cure"),
    "DELE-": (ObjectStatus.INFECTED, "EICAR-Test-File.dele"),
}


def eicar(prefix: str = "") -> bytes:
    return prefix.encode() + BASE


MADE = (2026, 1, 2, 3, 4, 6)


def zip_of(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            member = zipfile.ZipInfo(name, MADE)  # the same bytes at any time
            member.compress_type = method
            archive.writestr(member, data)
    return out.getvalue()


def uuencode(data: bytes, name: str = "x.com") -> bytes:
    lines = [binascii.b2a_uu(data[i : i + 45]).rstrip(b"\n") for i in range(0, len(data), 45)]
    return b"\r\n".join([b"begin 644 " + name.encode(), *lines, b"`", b"end", b""])


def message(body: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([b"From: a@example.org", b"Subject: sample", *fields, b"", body])


def attached(
    data: bytes, content_type: str = "application/octet-stream", encoding: str = "base64", name: str = "x.bin"
) -> bytes:
    """A multipart/mixed with a text and, second, an attachment."""
    encoded = {
        "base64": lambda: base64.encodebytes(data).replace(b"\n", b"\r\n"),
        "quoted-printable": lambda: quopri.encodestring(data, quotetabs=True).replace(b"\n", b"\r\n"),
        "7bit": lambda: data,
        "x-uuencode": lambda: uuencode(data, name),
    }[encoding]()
    return message(
        b"--b1\r\nContent-Type: text/plain\r\n\r\nHello.\r\n--b1\r\n"
        + f'Content-Type: {content_type}; name="{name}"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'.encode()
        + encoded
        + b"\r\n--b1--\r\n",
        b"MIME-Version: 1.0",
        b'Content-Type: multipart/mixed; boundary="b1"',
    )


def forwarded(inner: bytes) -> bytes:
    """An unencoded message/rfc822 as second part."""
    return message(
        b"--f1\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--f1\r\nContent-Type: message/rfc822\r\n\r\n"
        + inner
        + b"\r\n--f1--\r\n",
        b"MIME-Version: 1.0",
        b'Content-Type: multipart/mixed; boundary="f1"',
    )


WRAPPINGS = {
    "body": lambda data: message(data, b"Content-Type: text/plain"),
    "7bit": lambda data: attached(data, encoding="7bit"),
    "base64": attached,
    "quoted-printable": lambda data: attached(data, encoding="quoted-printable"),
    "x-uuencode": lambda data: attached(data, encoding="x-uuencode"),
    "uu-block": lambda data: message(b"Here it is:\r\n\r\n" + uuencode(data) + b"\r\nbye\r\n"),
    "nested": lambda data: forwarded(attached(data)),
    "nested-base64": lambda data: attached(attached(data), content_type="message/rfc822"),
    "zip": lambda data: attached(zip_of(("in/x.com", data)), name="x.zip"),
    "zip-in-zip": lambda data: attached(zip_of(("y.zip", zip_of(("x.com", data)))), name="x.zip"),
    "gzip": lambda data: attached(gzip.compress(data), name="x.gz"),
    "zip-in-uu-block": lambda data: message(b"Here:\r\n" + uuencode(zip_of(("x.com", data)), "x.zip")),
}
"""Every way a sample travels; the value makes the message."""

RANGED = ("body", "7bit", "base64", "quoted-printable", "x-uuencode", "uu-block", "nested")
"""Wrappings whose innermost object has a range of its own, and so can be cured in place."""
