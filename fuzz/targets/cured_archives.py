"""Cures of archives: what was bad is not in the cured form in any reading, and everything else is."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import Kind

from .cured import cure
from .unpacked import open_as

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 2000
_KINDS: Final = (Kind.ZIP, Kind.TAR, Kind.GZIP, Kind.BZIP2, Kind.XZ)
_NOTE: Final = "what is missing"


def execute(data: bytes) -> None:
    """Take the first byte as the kind, the second as which members are bad, the rest as the archive, and cure it."""
    if len(data) < 3:
        return
    kind, choice, archive = _KINDS[data[0] % len(_KINDS)], data[1], data[2:]
    members = [each for each in open_as(archive, kind) if each.data is not None]
    bad = [each for number, each in enumerate(members) if each.data and choice >> number % 8 & 1]
    cured = cure(archive, kind, bad, _NOTE if data[0] & 0x80 else "")
    if cured is None:
        return
    doomed = {each.data for each in bad}
    left = [each.data for each in open_as(cured.data, kind)]
    assert not doomed.intersection(left)
    clear = not any(each.trouble or each.protected for each in members)
    assert not clear or all(each.data in left for each in members if each.data not in doomed)


WORDS: Final = (
    b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"\x08\x00", b"ustar\x0000", b"ustar  \0", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"././@LongLink",
    b"PaxHeader", b"13 path=abcd\n", b"size=5\n", b"0000005\0", bytes(32), b"\xff\xff\xff\xff", b"1", b"2", b"L", b"x", b"S",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield archives of two files, the first or the second of them bad, and what cannot be cured."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("a/"), b"")
        archive.writestr(zipfile.ZipInfo("a/one"), b"one" * 10)
        archive.writestr(zipfile.ZipInfo("two"), b"two" * 10)
        archive.comment = b"comment"
    for choice in (1, 2, 4, 7):
        yield bytes((choice & 2 and 0x85, choice)) + out.getvalue()
    tars = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
            for name, content in (("one", b"one"), ("\u00e4" * (20 if form == tarfile.PAX_FORMAT else 1), b"two")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        tars.append(packed.getvalue().rstrip(b"\0") + bytes(1024))
    for tar_file in tars:
        for number, shrunk in (
            (2, gzip.compress(tar_file, mtime=0)),
            (3, bz2.compress(tar_file)),
            (4, lzma.compress(tar_file)),
        ):
            yield bytes((number, 1)) + shrunk
        if len(tar_file) < LENGTH_LIMIT:
            yield b"\x81\1" + tar_file
    old = b"one".ljust(100, b"\0") + b"0000644\0" * 3 + b"00000000003\0" + b"0" * 11 + b"\0"
    old += b"%06o\0 " % (sum(old) + 8 * 32 + ord("0")) + b"0"
    yield b"\1\1" + old.ljust(512, b"\0") + b"one".ljust(512, b"\0")
    yield b"\2\1" + gzip.compress(b"content", mtime=0)
