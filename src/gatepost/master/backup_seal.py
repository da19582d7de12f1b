"""A backup under a passphrase: `SealedWriter` and `SealedReader`, streams around a file.

Used by `master.backup` and `master.restore`. A line with the parameters of scrypt, then pieces of AES-256-GCM: each
bound to the line, to its number and to whether it is the last, so none can be changed, moved, left out or cut off.
"""

import io
import os
import struct
from typing import BinaryIO, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC: Final = b"GATEPOST SEALED BACKUP 1\n"
PIECE: Final = 256 * 1024
"""Bytes of one piece in clear."""
_TAG: Final = 16
_COST: Final = 2**16
"""scrypt with r = 8: 64 MiB and a third of a second for each guess."""
_COST_LIMIT: Final = 2**20
"""A file that asks for more would only keep us busy."""
_HEAD_LIMIT: Final = 1024
_LENGTH: Final = struct.Struct(">I")


class SealError(Exception):
    """The passphrase is wrong, or the file was changed or cut off."""


class _Head(msgspec.Struct, frozen=True):
    salt: bytes
    cost: int


def _key(head: _Head, passphrase: str) -> AESGCM:
    return AESGCM(Scrypt(salt=head.salt, length=32, n=head.cost, r=8, p=1).derive(passphrase.encode()))


def _bound(head: bytes, number: int, *, last: bool) -> bytes:
    return head + struct.pack(">Q?", number, last)


class SealedWriter:
    """Seals what is written to it; `close` ends it and leaves the file below open."""

    def __init__(self, file: BinaryIO, passphrase: str, cost: int = _COST) -> None:
        head = _Head(os.urandom(16), cost)
        self._line = msgspec.json.encode(head) + b"\n"
        self._key = _key(head, passphrase)
        self._file = file
        self._waiting = bytearray()
        self._number = 0
        file.write(MAGIC + self._line)

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self._waiting += data
        while len(self._waiting) > PIECE:
            self._seal(bytes(self._waiting[:PIECE]), last=False)
            del self._waiting[:PIECE]

    def close(self) -> None:
        """Write the last piece."""
        self._seal(bytes(self._waiting), last=True)

    def _seal(self, piece: bytes, *, last: bool) -> None:
        # The key is for this file alone, so the number of the piece never comes twice under it.
        nonce = self._number.to_bytes(12, "big")
        sealed = self._key.encrypt(nonce, piece, _bound(self._line, self._number, last=last))
        self._file.write(_LENGTH.pack(len(sealed) | (1 << 31 if last else 0)) + sealed)
        self._number += 1


class SealedReader(io.RawIOBase):
    """Opens what a `SealedWriter` has sealed; no byte is given that was not proved. SealError."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        """`file` stands behind `MAGIC`."""
        super().__init__()
        self._file = file
        self._line = file.readline(_HEAD_LIMIT)
        try:
            head = msgspec.json.decode(self._line, type=_Head)
        except msgspec.MsgspecError as error:
            raise SealError("it is damaged at its beginning") from error
        if not 2 <= head.cost <= _COST_LIMIT or head.cost & (head.cost - 1) or len(head.salt) > _HEAD_LIMIT:
            raise SealError("it is damaged at its beginning")
        self._key = _key(head, passphrase)
        self._number = 0
        self._open = b""
        self._at = 0
        self._ended = False

    def readable(self) -> bool:
        """Tell that it can be read from."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Fill a buffer; 0 at the end."""
        while self._at == len(self._open):
            if self._ended:
                return 0
            self._open, self._at = self._next(), 0
        piece = self._open[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _next(self) -> bytes:
        raw = self._file.read(_LENGTH.size)
        if len(raw) < _LENGTH.size:
            raise SealError("it is cut off")
        told = _LENGTH.unpack(raw)[0]
        length, last = told & ~(1 << 31), bool(told >> 31)
        if length > PIECE + _TAG:
            raise SealError("it is damaged")
        sealed = self._file.read(length)
        if len(sealed) < length:
            raise SealError("it is cut off")
        try:
            piece = self._key.decrypt(
                self._number.to_bytes(12, "big"), sealed, _bound(self._line, self._number, last=last)
            )
        except InvalidTag as error:
            what = "the passphrase is wrong, or the file is damaged" if not self._number else "it is damaged"
            raise SealError(what) from error
        if last and self._file.read(1):
            raise SealError("something follows its end")
        self._number += 1
        self._ended = last
        return piece
