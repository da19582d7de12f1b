"""The PROXY decoder: both versions, every limit, any pieces, any bytes."""

import ipaddress
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire.proxy import BINARY_LIMIT, TEXT_LIMIT, ProxyDecoder, ProxyError, ProxyHeader

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack("!HH", 50000, 25)
V6 = ipaddress.ip_address("2001:db8::1").packed + ipaddress.ip_address("2001:db8::2").packed + V4[-4:]


def binary(command: int, family: int, block: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(block) if length is None else length) + block


def decode(stream: bytes, size: int = 0) -> tuple[ProxyHeader | None, bytes]:
    """Return the header and everything behind it."""
    decoder = ProxyDecoder()
    size = size or len(stream) or 1
    for position in range(0, len(stream), size):
        header = decoder.feed(stream[position : position + size])
        if header is not None:
            return header, decoder.rest + stream[position + size :]
    return None, b""


CASES = {
    "v1 IPv4": (
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 25\r\n",
        ProxyHeader("192.0.2.1", 50000, "198.51.100.2", 25),
    ),
    "v1 IPv6": (
        b"PROXY TCP6 2001:DB8:0::1 2001:db8::2 0 65535\r\n",
        ProxyHeader("2001:db8::1", 0, "2001:db8::2", 65535),
    ),
    "v1 mapped": (
        b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n",
        ProxyHeader("192.0.2.1", 1, "192.0.2.2", 2),
    ),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", ProxyHeader()),
    "v1 unknown with anything": (b"PROXY UNKNOWN " + b"x" * (TEXT_LIMIT - 16) + b"\r\n", ProxyHeader()),
    "v2 IPv4": (binary(0x21, 0x11, V4), ProxyHeader("192.0.2.1", 50000, "198.51.100.2", 25)),
    "v2 IPv6": (binary(0x21, 0x21, V6), ProxyHeader("2001:db8::1", 50000, "2001:db8::2", 25)),
    "v2 with additions": (
        binary(0x21, 0x11, V4 + b"\x20" + bytes(BINARY_LIMIT - 13)),
        ProxyHeader("192.0.2.1", 50000, "198.51.100.2", 25),
    ),
    "v2 local": (binary(0x20, 0x00, b""), ProxyHeader(local=True)),
    "v2 local with addresses": (binary(0x20, 0x11, V4), ProxyHeader(local=True)),
    "v2 unspecified": (binary(0x21, 0x00, b"xyz"), ProxyHeader()),
    "v2 Unix": (binary(0x21, 0x31, bytes(216)), ProxyHeader()),
    "v2 datagram": (binary(0x21, 0x12, V4), ProxyHeader()),
}


@pytest.mark.parametrize(("header", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("rest", [b"", b"EHLO x\r\n", b"PROXY UNKNOWN\r\n"])
def test_headers(header, expected, rest):
    for size in (0, 1, 7):
        assert decode(header + rest, size) == (expected, rest)
    for end in range(len(header)):
        assert decode(header[:end]) == (None, b"")


@pytest.mark.parametrize(
    "stream",
    [
        b"EHLO user\r\n",
        b"P\r\n",
        b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n" + b"x" * TEXT_LIMIT,
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 \xff 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 999999\r\n",
        b"PROXY UNKNOWN " + b"x" * (TEXT_LIMIT - 15) + b"\r\n",
        b"PROXY " + b"x" * 100_000,
        SIGNATURE[:5] + b"x",
        binary(0x11, 0x11, V4),
        binary(0x22, 0x11, V4),
        binary(0x21, 0x13, V4),
        binary(0x21, 0x41, V4),
        binary(0x21, 0x11, V4[:-1]),
        binary(0x21, 0x21, V6[:-1]),
        binary(0x21, 0x11, b"", BINARY_LIMIT + 1),
        binary(0x20, 0x00, b"", 65535),
    ],
)
def test_no_headers(stream):
    for size in (0, 1, 7):
        with pytest.raises(ProxyError):
            decode(stream, size)


ADDRESSES = st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)) | st.tuples(
    st.ip_addresses(v=6), st.ip_addresses(v=6)
)
PORTS = st.integers(0, 65535)


def shown(address):
    return str(getattr(address, "ipv4_mapped", None) or address)


@settings(max_examples=200, deadline=None)
@given(addresses=ADDRESSES, ports=st.tuples(PORTS, PORTS), rest=st.binary(max_size=20), size=st.integers(1, 40))
def test_both_versions_say_the_same(addresses, ports, rest, size):
    source, destination = addresses
    text = b"PROXY TCP%d %s %s %d %d\r\n" % (source.version, str(source).encode(), str(destination).encode(), *ports)
    block = source.packed + destination.packed + struct.pack("!HH", *ports)
    expected = ProxyHeader(shown(source), ports[0], shown(destination), ports[1])
    assert decode(text + rest, size) == (expected, rest)
    assert decode(binary(0x21, 0x11 if source.version == 4 else 0x21, block) + rest, size) == (expected, rest)


STREAMS = st.lists(
    st.sampled_from([b"PROXY ", b"TCP4 ", b"UNKNOWN", b"192.0.2.1 ", b"25", b"\r\n", SIGNATURE, b"\x21\x11\0\x0c", b"\x20\0\0\0"])
    | st.binary(max_size=6),
    max_size=12,
).map(b"".join)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(stream=STREAMS, size=st.integers(1, 40))
def test_any_bytes_give_the_same_in_any_pieces(stream, size):
    def outcome(size):
        try:
            return decode(stream, size)
        except ProxyError:
            return "error"

    assert outcome(0) == outcome(size) == outcome(1)
