"""The sample mails of `gatepost demo`, each with the outcome that is right for it under the shipped policy.

Test strings that scanners know are put together here, at run time.
"""

import base64
import io
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import msgspec

SENDER = "sender@partner.example"
RECIPIENT = "user@example.org"

_EICAR = b"".join((rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$", b"EICAR-STANDARD-", b"ANTIVIRUS-TEST-FILE!$H+H*"))

_GTUBE = b"".join((b"XJS*C4JDBQADN1.NSBN3*2IDNEN*", b"GTUBE-STANDARD-ANTI-UBE-", b"TEST-EMAIL*C.34X"))

_LOCKED_ZIP = base64.b64decode(
    "UEsDBAoACQAAADm+dV1c2UR5LwAAACMAAAALABwAZmlndXJlcy50eHRVVAkAAx4uAmseLgJrdXgLAAEEAAAAAAQAAAAANcsTzfLO"
    "LpZgTYLHtjh3QtaKWS4kz6AODajVTznm9NMxKGaESoIcwMnJahgpKDJQSwcIXNlEeS8AAAAjAAAAUEsBAh4DCgAJAAAAOb51XVzZ"
    "RHkvAAAAIwAAAAsAGAAAAAAAAQAAAKSBAAAAAGZpZ3VyZXMudHh0VVQFAAMeLgJrdXgLAAEEAAAAAAQAAAAAUEsFBgAAAAABAAEA"
    "UQAAAIQAAAAAAA=="
)
"""An encrypted zip with one small text; the password is `secret`."""

_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

LARGE_BYTES = 5 * 1024 * 1024


class Sample(msgspec.Struct, frozen=True):
    """One sample and what must become of it."""

    name: str
    content: bytes
    status: str
    """Status in the log's SCANNED line."""
    disposition: str
    """`delivered`, `labelled`, `cured` or `blocked`."""
    arrived_well: Callable[[bytes], bool]
    """Tells whether what arrived (without our Received field) is right; asked only when something is to arrive."""
    spam: str = "not_detected"
    """Status in the log's SPAMCHECK line."""


def build_samples() -> tuple[Sample, ...]:
    """Build the samples; dates and ids are fresh each time."""
    text = _mail("Clean text", "A short note, nothing else.\n")
    html = _mail("Clean HTML with a picture", "See the HTML part.\n")
    html.add_alternative("<html><body><h1>Report</h1><p>All is well.</p></body></html>", subtype="html")
    html.add_attachment(_PIXEL, maintype="image", subtype="png", filename="dot.png")
    infected = _with_attachment("EICAR test file", _EICAR, "eicar.com")
    nested = _with_attachment(
        "EICAR in a zip in a zip", _zipped(_zipped(_EICAR, "eicar.com"), "inner.zip"), "outer.zip"
    )
    curable = _with_attachment("EICAR, curable form", b"CURE-" + _EICAR, "curable.com")
    locked = _with_attachment("Encrypted zip", _LOCKED_ZIP, "figures.zip")
    large = _with_attachment("A mail of 5 MB", bytes(range(256)) * (LARGE_BYTES * 3 // 4 // 256), "large.bin")
    return (
        _unchanged("clean text", _crlf(text)),
        _unchanged("clean HTML with attachment", _crlf(html)),
        _unchanged("8-bit and non-ASCII headers", _eight_bit()),
        Sample("EICAR test file", _crlf(infected), "infected", "blocked", _never),
        Sample("EICAR in a zip in a zip", _crlf(nested), "infected", "blocked", _never),
        Sample("EICAR in the curable form", _crlf(curable), "disinfected", "cured", _is_cured),
        Sample("encrypted zip", _crlf(locked), "protected", "blocked", _never),
        _unchanged("5 MB mail", _crlf(large)),
        _spam("advertising nobody asked for", _crlf(_advertising())),
        _spam("GTUBE test mail", _crlf(_mail("Test of anti-spam", f"{_GTUBE.decode()}\n"))),
        _unchanged("newsletter", _crlf(_newsletter())),
    )


def _unchanged(name: str, content: bytes) -> Sample:
    return Sample(name, content, "clean", "delivered", lambda arrived: arrived == content)


def _spam(name: str, content: bytes) -> Sample:
    return Sample(name, content, "clean", "labelled", lambda arrived: b"\nSubject: [!! SPAM] " in arrived, "spam")


def _never(_: bytes) -> bool:
    return False


def _is_cured(arrived: bytes) -> bool:
    return b"CURED" in arrived or base64.b64encode(b"CURED") in arrived


def _mail(subject: str, text: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = f"Sample Sender <{SENDER}>"
    mail["To"] = f"Sample User <{RECIPIENT}>"
    mail["Subject"] = subject
    mail["Date"] = formatdate(localtime=True)
    mail["Message-ID"] = make_msgid(domain="partner.example")
    mail.set_content(text)
    return mail


def _advertising() -> EmailMessage:
    return _mail(
        "You have WON !!! claim your prize now      xkqz",
        "Dear friend,\n\nCongratulations! You have won 1,000,000 USD in our lottery. Buy cheap viagra and cialis\n"
        "without prescription, lowest prices guaranteed, 100% risk free. Act now, limited time offer!\n\n"
        "Click here: http://203.0.113.7/claim?id=3774\n",
    )


def _newsletter() -> EmailMessage:
    mail = _mail(
        "What to plant in November",
        "Hello,\n\nthis week: bulbs, mulch, and how to bring roses through the frost.\n\n"
        "Read more: https://garden.partner.example/november\nUnsubscribe: https://garden.partner.example/bye/123\n",
    )
    mail["List-Id"] = "Garden weekly <weekly.garden.partner.example>"
    mail["List-Unsubscribe"] = "<https://garden.partner.example/bye/123>"
    return mail


def _with_attachment(subject: str, data: bytes, name: str) -> EmailMessage:
    mail = _mail(subject, "The file is attached.\n")
    mail.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return mail


def _eight_bit() -> bytes:
    return (
        f"From: Jürgen Größe <{SENDER}>\r\nTo: <{RECIPIENT}>\r\nSubject: Grüße aus Köln, привет, 你好\r\n"
        f"Date: {formatdate(localtime=True)}\r\nMessage-ID: {make_msgid(domain='partner.example')}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n\r\nÄÖÜ äöü ß — 8-bit text goes through as it is.\r\n.\r\n..two dots\r\n"
    ).encode()


def _crlf(mail: EmailMessage) -> bytes:
    return mail.as_bytes(policy=mail.policy.clone(linesep="\r\n"))


def _zipped(data: bytes, name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()
