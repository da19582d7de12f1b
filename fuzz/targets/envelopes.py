"""Envelopes of mail (CMS, OpenPGP, Apple's), texts with base64, scripts: nothing raises, nothing is without end."""

import base64
import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import detect_kind
from gatepost.antivirus.openers.apple import open_apple
from gatepost.antivirus.openers.cms import open_cms
from gatepost.antivirus.openers.pgp import open_pgp
from gatepost.antivirus.openers.texts import open_script, open_text

from .opened import check

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 4_000
WORDS: Final = (
    b"\x30\x80", b"\x24\x80", b"\xa0\x80", b"\x04\x82", b"\x31\x00", b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", b"\0\0", b"\xa3\x01", b"\xa3\x02",
    b"\xa3\x03", b"\xcb", b"\xc8", b"\xe0", b"\xff\0\0\0", b"-----BEGIN PGP MESSAGE-----\n\n", b"-----BEGIN PKCS7-----\n", b"\0\x05\x16\0\0\x02\0\0",
    b"\0\0\0\x01", b"\0\0\0\x02", b"UEsDBBQA", b"' + '", b"\\x50\\x4b", b"\\120\\113", b"atob('", b"\n\x1f\x8b\x08", b"\\/", b"\\n", b"MZ",
)  # fmt: skip
_OPENERS: Final = (open_cms, open_pgp, open_apple, open_text, open_script)
_FILE: Final = b"PK\x05\x06" + bytes(18)
_LONG: Final = b"PK\x03\x04" + bytes(range(200))


def execute(data: bytes) -> None:
    """Take the first byte as the opener, the rest as the file; ask for its kind as well."""
    if not data:
        return
    rest = data[1:]
    for name in ("", "a.txt", "a.gpg"):
        detect_kind(rest, name)
    opener = _OPENERS[data[0] % len(_OPENERS)]
    if opener is open_apple and detect_kind(rest) != "apple":
        return  # only what is told by its header is opened
    check(opener, rest)


def seeds() -> Iterator[bytes]:
    """Yield one of each."""
    data, signed = bytes.fromhex("06092a864886f70d010701"), bytes.fromhex("06092a864886f70d010702")
    end = b"\0\0"
    pieces = b"\x24\x80\x04\x04" + _FILE[:4] + b"\x04\x12" + _FILE[4:] + end
    content = b"\x30\x80" + data + b"\xa0\x80" + pieces + 2 * end
    yield b"\0\x30\x80" + signed + b"\xa0\x80\x30\x80\x02\x01\x01\x31\x00" + content + b"\x31\0" + 3 * end
    packet = b"\xcb" + bytes((len(_FILE) + 7,)) + b"b\x01a" + bytes(4) + _FILE
    yield b"\1" + packet
    yield b"\1\xa3\x02" + zlib.compress(packet)
    yield b"\1-----BEGIN PGP MESSAGE-----\n\n" + base64.encodebytes(packet) + b"=abcd\n-----END PGP MESSAGE-----\n"
    entry = b"\0\0\0\x01\0\0\0\x26" + len(_FILE).to_bytes(4, "big")
    yield b"\2\0\x05\x16\0\0\x02\0\0" + bytes(16) + b"\0\x01" + entry + _FILE
    yield b'\3{"a": "' + base64.b64encode(_LONG).replace(b"/", b"\\/") + b'"}'
    yield b"\4eval(atob('" + base64.b64encode(b"a='" + base64.b64encode(_LONG) + b"'") + b"'))"
