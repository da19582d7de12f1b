"""The PROXY protocol: however the header arrives, the same value, and no byte of the client's lost."""

import ipaddress
from collections.abc import Iterator
from typing import Final

from gatepost.wire.proxy import BINARY_LIMIT, TEXT_LIMIT, ProxyDecoder, ProxyError, ProxyHeader

from .cutting import cut

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 400

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"


def execute(data: bytes) -> None:
    """Read the input whole and in pieces."""
    if not data:
        return
    stream = data[1:].replace(b"~L~", b"x" * BINARY_LIMIT, 1)
    header, rest, used = _read(stream, 0)
    again, rest_again, used_again = _read(stream, data[0])
    if header is None and used:  # refused: with how much of it there was does not matter
        assert again is None
        assert used_again
        return
    assert again == header
    if header is None:
        assert len(stream) < 16 + BINARY_LIMIT
        return
    assert rest_again == rest
    assert stream.endswith(rest)
    size = len(stream) - len(rest)
    if stream.startswith(b"PROXY "):
        assert size <= TEXT_LIMIT
        assert stream[:size].endswith(b"\r\n")
        assert stream[:size].count(b"\r\n") == 1
    else:
        assert stream.startswith(_SIGNATURE)
        assert size == 16 + int.from_bytes(stream[14:16], "big")
    for text, port in ((header.source, header.source_port), (header.destination, header.destination_port)):
        assert 0 <= port <= 65535
        if text:
            address = ipaddress.ip_address(text)
            assert str(address) == text
            assert address.version == 4 or getattr(address, "ipv4_mapped", None) is None
            assert not header.local
    assert bool(header.source) == bool(header.destination)


def _read(stream: bytes, seed: int) -> tuple[ProxyHeader | None, bytes, bool]:
    """Return (header, what is behind it, whether it was refused)."""
    decoder = ProxyDecoder()
    pieces = cut(stream, seed)
    for piece in pieces:
        try:
            header = decoder.feed(piece)
        except ProxyError:
            return None, b"", True
        if header is not None:
            return header, decoder.rest + b"".join(pieces), False
        assert len(decoder._raw) < 16 + BINARY_LIMIT
    return None, b"", False


WORDS: Final = (
    b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"192.0.2.1 ", b"2001:db8::1 ", b"::ffff:192.0.2.1 ", b"65535", b"25\r\n", b"\r\n", _SIGNATURE,
    b"\x21\x11\x00\x0c", b"\x21\x21\x00\x24", b"\x20\x00\x00\x00", b"\x21\x31\x00\xd8", b"\x10\x00", b"~L~", b"EHLO a\r\n", b"%1", b"00", b"\xff\xff",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield headers of both versions with a command behind."""
    headers = (
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1025 25\r\n", b"PROXY TCP6 2001:db8::1 2001:db8::2 1025 25\r\n", b"PROXY UNKNOWN x y\r\n",
        _SIGNATURE + b"\x21\x11\x00\x0c" + bytes(range(12)), _SIGNATURE + b"\x21\x21\x00\x27" + bytes(range(36)) + b"\x04\x00\x00",
        _SIGNATURE + b"\x20\x00\x00\x00", _SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216), _SIGNATURE + b"\x21\x11\x10\x00" + bytes(12) + b"~L~",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 0 0" + b" " * 80 + b"\r\n", b"GET / HTTP/1.1\r\n",
    )  # fmt: skip
    for header in headers:
        for seed in (100, 251):
            yield bytes((seed,)) + header + b"EHLO a\r\n"
