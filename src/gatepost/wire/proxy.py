"""The PROXY protocol, versions 1 and 2: the header in which a balancer tells whom a connection comes from.

Called by the relay for connections from balancers it trusts, before the first byte is read as anything else. Promises:
memory is bounded by the limits below, nothing is taken for a header that is not one, and no byte behind it is lost. The
additions (TLV) of version 2 are skipped.
"""

import ipaddress
import struct
from typing import Final

import msgspec

TEXT_LIMIT: Final = 107
"""Octets of a version 1 header with its CRLF, specification §2.1."""
BINARY_LIMIT: Final = 4096
"""Octets behind the fixed part of a version 2 header: addresses of any family take 216, balancers' additions a few
hundred; the protocol would allow 65535."""
PORT_LIMIT: Final = 65535

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_TEXT_START: Final = b"PROXY "
_FIXED: Final = 16
"""Octets of a version 2 header before the addresses."""
_VERSION: Final = 2
_LOCAL: Final = 0
_PROXY: Final = 1
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_SHAPES: Final = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}
_OTHER_FAMILIES: Final = frozenset({0x00, 0x12, 0x22, 0x31, 0x32})
"""Unspecified, datagrams, Unix sockets: legal, and nothing a mail client comes from."""


class ProxyError(ValueError):
    """What came is no header; the connection is to be closed without a word."""


class ProxyHeader(msgspec.Struct, frozen=True, gc=False):
    """Whom a connection comes from. Without addresses those of the connection itself count."""

    source: str = ""
    """IPv4 or IPv6 address of the client in canonical form (an IPv4-mapped one as IPv4); "" when it is not told."""
    source_port: int = 0
    destination: str = ""
    """Address the client connected to."""
    destination_port: int = 0
    local: bool = False
    """The balancer speaks for itself (health check): version 2, LOCAL."""


class ProxyDecoder:
    """Reads one header, in whatever pieces it comes."""

    def __init__(self) -> None:
        self._raw = b""
        self.rest = b""
        """What came behind the header, once `feed` has returned it: the first bytes of the client."""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take bytes; return the header when it is complete, None while it is not. Raises `ProxyError`."""
        raw = self._raw + data
        self._raw = raw
        if raw[: len(_TEXT_START)] == _TEXT_START[: len(raw)]:
            return self._read_text(raw)
        if raw[: len(_SIGNATURE)] == _SIGNATURE[: len(raw)]:
            return self._read_binary(raw)
        raise ProxyError("not a PROXY header")

    def _read_text(self, raw: bytes) -> ProxyHeader | None:
        end = raw.find(b"\r\n", 0, TEXT_LIMIT)
        if end < 0:
            if len(raw) >= TEXT_LIMIT:
                raise ProxyError(f"a header of more than {TEXT_LIMIT} octets")
            return None
        self._finish(raw, end + 2)
        return _parse_text(raw[len(_TEXT_START) : end])

    def _read_binary(self, raw: bytes) -> ProxyHeader | None:
        if len(raw) < _FIXED:
            return None
        version, command = divmod(raw[12], 16)
        length = int.from_bytes(raw[14:_FIXED], "big")
        if version != _VERSION or command not in {_LOCAL, _PROXY}:
            raise ProxyError(f"version {version}, command {command}")
        if length > BINARY_LIMIT:
            raise ProxyError(f"{length} octets of addresses and additions")
        if len(raw) < _FIXED + length:
            return None
        self._finish(raw, _FIXED + length)
        if command == _LOCAL:
            return ProxyHeader(local=True)
        return _parse_addresses(raw[13], raw[_FIXED : _FIXED + length])

    def _finish(self, raw: bytes, end: int) -> None:
        self._raw = b""
        self.rest = raw[end:]


def _parse_text(line: bytes) -> ProxyHeader:
    words = line.split(b" ")
    if words[0] == b"UNKNOWN":
        return ProxyHeader()  # what follows is to be ignored
    if len(words) != 5 or words[0] not in {b"TCP4", b"TCP6"}:
        raise ProxyError("malformed version 1 header")
    version = 4 if words[0] == b"TCP4" else 6
    source, destination = (_parse_address(word, version) for word in words[1:3])
    source_port, destination_port = (_parse_port(word) for word in words[3:5])
    return ProxyHeader(source, source_port, destination, destination_port)


def _parse_address(word: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(word.decode("ascii"))
    except ValueError:  # UnicodeDecodeError is one
        raise ProxyError("malformed address") from None
    if address.version != version or b"%" in word:
        raise ProxyError("an address of another family than announced")
    return _canonical(address)


def _parse_port(word: bytes) -> int:
    if not (word.isdigit() and len(word) <= len(str(PORT_LIMIT))) or (word[:1] == b"0" and word != b"0"):
        raise ProxyError("malformed port")
    port = int(word)
    if port > PORT_LIMIT:
        raise ProxyError("malformed port")
    return port


def _parse_addresses(family: int, block: bytes) -> ProxyHeader:
    shape = _SHAPES.get(family)
    if shape is None:
        if family not in _OTHER_FAMILIES:
            raise ProxyError(f"unknown family {family:#04x}")
        return ProxyHeader()
    if len(block) < shape.size:
        raise ProxyError("addresses cut off")
    source, destination, source_port, destination_port = shape.unpack_from(block)
    return ProxyHeader(
        _canonical(ipaddress.ip_address(source)),
        source_port,
        _canonical(ipaddress.ip_address(destination)),
        destination_port,
    )


def _canonical(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
