"""Mails for tests; scanner test strings are put together here."""

import io
import zipfile
from email.message import EmailMessage

EICAR = b"".join((rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$", b"EICAR-STANDARD-", b"ANTIVIRUS-TEST-FILE!$H+H*"))


def plain(subject: str = "test", text: str = "hello\r\n", size: int = 0) -> bytes:
    """A small clean mail, or one of about `size` bytes."""
    body = text + ("0123456789abcdef" * 4 + "\r\n") * (size // 66)
    return (
        f"From: <sender@example.net>\r\nTo: <user@example.org>\r\nSubject: {subject}\r\n"
        "Date: Mon, 02 Jan 2006 15:04:05 +0000\r\n"
        f"Message-ID: <{subject.replace(' ', '.')}@example.net>\r\n\r\n{body}"
    ).encode()


def with_attachment(data: bytes, name: str = "file.bin", subject: str = "attached") -> bytes:
    mail = EmailMessage()
    mail["From"] = "sender@example.net"
    mail["To"] = "user@example.org"
    mail["Subject"] = subject
    mail.set_content("See the file.\n")
    mail.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return mail.as_bytes(policy=mail.policy.clone(linesep="\r\n"))


def zipped(data: bytes, name: str = "member") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def locked_zip() -> bytes:
    """A zip whose one member says that it is encrypted; nobody gets as far as the password."""
    plain_zip = zipped(b"secret figures", "figures.txt")
    # General-purpose flag bit 0, in the member's own header and in the directory.
    at = plain_zip.index(b"PK\x01\x02") + 8
    return plain_zip[:6] + b"\x01" + plain_zip[7:at] + b"\x01" + plain_zip[at + 1 :]
