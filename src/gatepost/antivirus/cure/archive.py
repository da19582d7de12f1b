"""Archives without their infected members: `repack`.

Called by `plan`. Zip and tar files lose members or get their cured forms; compressed files get the cured form of what
they hold, or of the tar file they hold. Everything else stays as it was, byte for byte. A member is known by the
digest of its content; one that cannot be unpacked here, by its name. Promises: a bad member that is not found in the
archive, or an archive with nothing left, is no cure.
"""

import bz2
import hashlib
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.cure.cured import BadMember, Cured, Uncurable, build_cured
from gatepost.antivirus.cure.zips import build_part, read_zip, replace_content, unpack_part, write_zip
from gatepost.antivirus.kinds import Kind

NOTE_NAME: Final = "REMOVED.txt"
"""Of the member that says what is missing."""
_BLOCK: Final = tarfile.BLOCKSIZE
_STREAMS: Final = 64
"""Of a compressed file; each costs a copy of what follows it."""
_GZIP_CHECKSUM, _GZIP_EXTRA, _GZIP_NAME, _GZIP_COMMENT = 0x02, 0x04, 0x08, 0x10
_XZ_MEMORY: Final = 128 * 1024 * 1024
_XZ_PRESET: Final = 2
"""What is packed again is to be small enough, soon."""
_TAR_MARK: Final = b"ustar"
_TAR_MARK_AT: Final = 257


def repack(data: bytes, kind: Kind, bad: Sequence[BadMember], budget: Budget, note: str = "") -> Cured | None:
    """Return the archive with `bad` members replaced by their cured forms, or without them. `note`: text of a member
    that says so, "" = none is added. None when that cannot be done; OverBudget.
    """
    repacker = _REPACKERS.get(kind)
    if repacker is None or not bad:
        return None
    search = _Search(bad)
    try:
        repacked = repacker(data, search, budget, note)
        search.finish()
        return build_cured(repacked, search.removed)
    except Uncurable:
        return None


class _Decompressor(Protocol):
    """What the decompressors of the standard library have in common."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...


class _Search:
    """Which members are bad, and which of those have been met."""

    def __init__(self, bad: Sequence[BadMember]) -> None:
        self._by_digest = {each.digest: each for each in bad}
        self._by_name = {each.name: each for each in bad}
        self._missing = set(self._by_digest)
        self.removed: list[str] = []
        self.left = 0
        """Members that stay, cured or as they were."""

    def look(self, content: bytes | None, name: str) -> BadMember | None:
        """Return what is known of a member if it is bad. `content` None: it could not be unpacked."""
        digest = b"" if content is None else hashlib.sha256(content).digest()
        found = self._by_digest.get(digest) if digest else self._by_name.get(name)
        if found is None:
            self.left += 1
            return None
        self._missing.discard(found.digest)
        if found.cured is not None:
            self.left += 1
            self.removed.append(f"content of {name or 'the packed file'} cured")
        else:
            self.removed.append(f"{name or 'the packed file'}")
        return found

    def knows(self, content: bytes) -> bool:
        """Tell whether `content` is bad itself."""
        return hashlib.sha256(content).digest() in self._by_digest

    def finish(self) -> None:
        """Raise Uncurable unless every bad member was met and something is left."""
        if self._missing:
            raise Uncurable("a bad member is not where it can be taken out")
        if not self.left:
            raise Uncurable("nothing is left")


def _repack_zip(data: bytes, search: _Search, budget: Budget, note: str) -> bytes:
    archive = read_zip(data)
    kept = []
    for part in archive.parts:
        budget.take_member()
        content = unpack_part(part, budget)
        if not content and content is not None and part.name.endswith("/"):
            kept.append(part)
            continue
        found = search.look(content, part.name)
        if found is None:
            kept.append(part)
        elif found.cured is not None:
            if part.encrypted:
                raise Uncurable("what was encrypted cannot be put back without its password")
            kept.append(replace_content(part, found.cured))
    if note:
        kept.append(build_part(NOTE_NAME, note.encode()))
    return write_zip(kept, archive.comment)


def _repack_tar(data: bytes, search: _Search, budget: Budget, note: str) -> bytes:
    out: list[bytes] = []
    copied = end = 0
    gone: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                budget.take_member()
                end = _tar_end(member)
                if end > len(data):
                    raise Uncurable("tar member cut off")
                if member.islnk() and member.linkname in gone:
                    out.append(data[copied : member.offset])
                    copied = end
                    continue
                if not member.isreg() or member.issparse():
                    continue
                found = search.look(data[member.offset_data :][: member.size], member.name)
                if found is None:
                    continue
                out.append(data[copied : member.offset])
                copied = end
                if found.cured is None:
                    gone.add(member.name)
                else:
                    out.append(_tar_member(member, found.cured))
    except (tarfile.TarError, ValueError, OverflowError, EOFError, OSError) as error:
        raise Uncurable(f"tar file is damaged: {error}") from None
    out.append(data[copied:end])
    if note:
        out.append(_tar_member(tarfile.TarInfo(NOTE_NAME), note.encode()))
    out.append(data[end:])
    return b"".join(out)


def _tar_end(member: tarfile.TarInfo) -> int:
    """Return where the member ends: its data fill whole blocks, and only files have data."""
    size = member.size if member.isreg() and not member.issparse() else 0
    return member.offset_data + -(-size // _BLOCK) * _BLOCK


def _tar_member(member: tarfile.TarInfo, content: bytes) -> bytes:
    member.size = len(content)
    member.pax_headers = {key: value for key, value in member.pax_headers.items() if key != "size"}
    header = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return header + content + bytes(-len(content) % _BLOCK)


def _repack_gzip(data: bytes, search: _Search, budget: Budget, note: str) -> bytes:
    content = _unpack_streams(data, lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), budget)
    cured = _repack_content(content, search, budget, note)
    stream = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    tail = struct.pack("<2L", zlib.crc32(cured), len(cured))
    return _gzip_header(data) + stream.compress(cured) + stream.flush() + tail


def _gzip_header(data: bytes) -> bytes:
    """Return the header (RFC 1952 §2.3) with name, time and comment, without its optional checksum."""
    flags = data[3]
    end = 10
    if flags & _GZIP_EXTRA:
        end += 2 + int.from_bytes(data[10:12], "little")
    for flag in (_GZIP_NAME, _GZIP_COMMENT):
        if flags & flag:
            end = data.index(b"\0", end) + 1
    return data[:3] + bytes([flags & ~_GZIP_CHECKSUM]) + data[4:end]


def _repack_bzip2(data: bytes, search: _Search, budget: Budget, note: str) -> bytes:
    content = _unpack_streams(data, bz2.BZ2Decompressor, budget)
    return bz2.compress(_repack_content(content, search, budget, note))


def _repack_xz(data: bytes, search: _Search, budget: Budget, note: str) -> bytes:
    content = _unpack_streams(data, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), budget)
    return lzma.compress(_repack_content(content, search, budget, note), preset=_XZ_PRESET)


def _repack_content(content: bytes, search: _Search, budget: Budget, note: str) -> bytes:
    """Return what is packed: a tar file without its bad members, anything else in its cured form."""
    if not search.knows(content) and content.startswith(_TAR_MARK, _TAR_MARK_AT):
        return _repack_tar(content, search, budget, note)
    found = search.look(content, "")
    if found is None or found.cured is None:
        raise Uncurable("nothing is left")
    return found.cured


def _unpack_streams(data: bytes, make: Callable[[], _Decompressor], budget: Budget) -> bytes:
    """Return what all the streams of a compressed file hold."""
    budget.take_member()
    allowed = budget.allowance(len(data))
    out = io.BytesIO()
    for _ in range(_STREAMS):
        stream = make()
        try:
            out.write(stream.decompress(data, allowed - out.tell() + 1))
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise Uncurable(f"packed data is damaged: {error}") from None
        if out.tell() > allowed:
            raise budget.refuse(len(data))
        if not stream.eof:
            raise Uncurable("packed data is cut off")
        data = stream.unused_data
        if not data:
            budget.take_bytes(out.tell())
            return out.getvalue()
    raise Uncurable("too many streams in one file")


_REPACKERS: Final[Mapping[Kind, Callable[[bytes, _Search, Budget, str], bytes]]] = {
    Kind.ZIP: _repack_zip,
    Kind.TAR: _repack_tar,
    Kind.GZIP: _repack_gzip,
    Kind.BZIP2: _repack_bzip2,
    Kind.XZ: _repack_xz,
}
