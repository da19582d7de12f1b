"""Files in envelopes of mail: S/MIME and OpenPGP, signed, packed or encrypted; Apple's; made at run time."""

import base64
import bz2
import struct
import zlib
from typing import Final

_DATA = bytes.fromhex("06092a864886f70d010701")
_SIGNED = bytes.fromhex("06092a864886f70d010702")
_COMPRESSED = bytes.fromhex("060b2a864886f70d0109100109")
_ZLIB = bytes.fromhex("060b2a864886f70d0109100308")
_SHA256 = bytes.fromhex("0609608648016503040201")
PIECE = 50


def der(tag: int, content: bytes) -> bytes:
    """One element with its length."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + content


def signed(data: bytes) -> bytes:
    """S/MIME as most programs write it, without certificates and signatures."""
    content = der(0x30, _DATA + der(0xA0, der(4, data)))
    inner = b"\2\1\1" + der(0x31, der(0x30, _SHA256)) + content + der(0x31, b"")
    return der(0x30, _SIGNED + der(0xA0, der(0x30, inner)))


def signed_in_pieces(data: bytes) -> bytes:
    """The same in BER, everything without lengths, as a stream is written."""
    pieces = b"".join(der(4, data[at : at + PIECE]) for at in range(0, len(data), PIECE))
    end = b"\0\0"
    content = b"\x30\x80" + _DATA + b"\xa0\x80\x24\x80" + pieces + 3 * end
    algorithms = b"\x31\x80\x30\x80" + _SHA256 + 2 * end
    return b"\x30\x80" + _SIGNED + b"\xa0\x80\x30\x80\2\1\1" + algorithms + content + b"\x31\0" + 3 * end


def compressed(data: bytes) -> bytes:
    """S/MIME that is compressed (RFC 3274)."""
    content = der(0x30, _DATA + der(0xA0, der(4, zlib.compress(data))))
    return der(0x30, _COMPRESSED + der(0xA0, der(0x30, b"\2\1\0" + der(0x30, _ZLIB) + content)))


def detached() -> bytes:
    """A signature that stands beside what it signs."""
    inner = b"\2\1\1" + der(0x31, der(0x30, _SHA256)) + der(0x30, _DATA) + der(0x31, b"")
    return der(0x30, _SIGNED + der(0xA0, der(0x30, inner)))


def pem(data: bytes) -> bytes:
    """S/MIME as text."""
    return b"-----BEGIN PKCS7-----\n" + base64.encodebytes(data) + b"-----END PKCS7-----\n"


def packet(tag: int, body: bytes) -> bytes:
    """An OpenPGP packet in the newer form."""
    return bytes((0xC0 | tag, 0xFF)) + len(body).to_bytes(4, "big") + body


def literal(data: bytes, name: bytes = b"letter.txt") -> bytes:
    """An OpenPGP packet that holds a file."""
    return packet(11, b"b" + bytes((len(name),)) + name + bytes(4) + data)


def packed(data: bytes, method: int = 2) -> bytes:
    """What `gpg --sign` makes: a packed packet, in it the file between what belongs to the signature."""
    inner = packet(4, bytes(13)) + literal(data) + packet(2, bytes(20))
    ways = (lambda raw: raw, lambda raw: zlib.compress(raw)[2:-4], zlib.compress, bz2.compress)
    return b"\xa3" + bytes((method,)) + ways[method](inner)


def in_partial_lengths(data: bytes) -> bytes:
    """A file in a packet whose length is told in pieces."""
    body = b"b\0" + bytes(4) + data
    pieces = b"".join(b"\xe5" + body[at : at + 32] for at in range(0, len(body) - 32, 32))
    rest = body[(len(body) - 1) // 32 * 32 :]
    return b"\xcb" + pieces + bytes((len(rest),)) + rest


def armoured(data: bytes) -> bytes:
    """OpenPGP as text."""
    head = b"-----BEGIN PGP MESSAGE-----\r\nComment: a line\r\n\r\n"
    return head + base64.encodebytes(data) + b"=abcd\r\n-----END PGP MESSAGE-----\r\n"


def apple_single(data: bytes, *, double: bool = False) -> bytes:
    """AppleSingle, or AppleDouble with the file as resources."""
    name = b"letter.txt"
    head = bytes.fromhex("0005160700020000" if double else "0005160000020000") + bytes(16)
    table = struct.pack(">HIIIIII", 2, 3, 50, len(name), 2 if double else 1, 50 + len(name), len(data))
    return head + table + name + data


def mac_binary(data: bytes, *, checked: bool = True) -> bytes:
    """MacBinary II, or the first version, which has no checksum."""
    name = b"letter.txt"
    head = (b"\0" + bytes((len(name),)) + name).ljust(65, b"\0") + b"TEXT????" + bytes(10)
    head = (head + struct.pack(">II", len(data), 0)).ljust(122, b"\0") + b"\x81\x81"
    rest = 0
    for byte in head:
        rest ^= byte << 8
        for _ in range(8):
            rest = (rest << 1 ^ 0x1021 if rest & 0x8000 else rest << 1) & 0xFFFF
    return head + (rest if checked else 0).to_bytes(2, "big") + bytes(2) + data + bytes(-len(data) % 128)


def json_of(data: bytes) -> bytes:
    """A text that carries a file, with the signs escaped that programs escape."""
    return b'{"name": "a", "content": "' + base64.encodebytes(data).replace(b"/", b"\\/").replace(b"\n", b"\\n") + b'"}'


_ENVELOPED: Final = {
    "enveloped": bytes.fromhex("06092a864886f70d010703"),
    "encrypted": bytes.fromhex("06092a864886f70d010706"),
    "authenveloped": bytes.fromhex("060b2a864886f70d0109100117"),
}


def enveloped(form: str = "enveloped", *, endless: bool = False) -> bytes:
    """S/MIME that is encrypted, as far as anybody sees it who has no key."""
    recipients = b"" if form == "encrypted" else der(0x31, der(0x30, b"\2\1\0" + der(4, bytes(256))))
    body = b"\2\1\0" + recipients + der(0x30, _DATA + der(0x30, _SHA256) + der(0x80, bytes(range(200))))
    if endless:
        return b"\x30\x80" + _ENVELOPED[form] + b"\xa0\x80\x30\x80" + body + 6 * b"\0"
    return der(0x30, _ENVELOPED[form] + der(0xA0, der(0x30, body)))


def for_a_key(*, keys: int = 1, tag: int = 18) -> bytes:
    """OpenPGP that is encrypted for RSA keys of 2,048 bits."""
    locks = b"".join(b"\x85\x01\x0c\x03" + number.to_bytes(8, "big") + b"\x01" + bytes(258) for number in range(keys))
    return locks + packet(tag, b"\x01" + bytes(range(250)))


def for_a_password(others: bytes = b"") -> bytes:
    """OpenPGP that is encrypted with a password; `others`: the same for keys, in front."""
    return others + packet(3, b"\x04\x09\x03\x08" + bytes(9)) + packet(18, b"\x01" + bytes(range(250)))
