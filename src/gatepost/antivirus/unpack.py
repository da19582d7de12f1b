"""Opens what is packed: which containers there are, and their members one after the other.

Called by `stage` for every object. The kind is told by content, never by name. Kinds that are known but cannot be
opened here are `error`: what was not looked into must not pass as clean.
"""

import re
import zlib
from collections.abc import Iterator

from gatepost.antivirus.budget import Budget, Damaged, inflate
from gatepost.antivirus.zips import Member, is_appended, read_members

ZIP = "zip"
GZIP = "gzip"

_MAGIC = re.compile(
    rb"(?P<zip>PK(?:\x03\x04|\x05\x06|\x30\x30PK\x03\x04))|(?P<gzip>\x1f\x8b\x08)|(?P<rar>Rar!\x1a\x07)"
    rb"|(?P<sevenzip>7z\xbc\xaf\x27\x1c)|(?P<bzip2>BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90))|(?P<xz>\xfd7zXZ\x00)"
    rb"|(?P<cab>MSCF\x00\x00\x00\x00)|(?P<lha>..-l(?:h[0-7dx]|z[s45])-)|(?P<arj>\x60\xea.[\x00-\x0a][\x1e-\x30][\x01-\x0d])"
    rb"|(?P<zstd>\x28\xb5\x2f\xfd)|(?P<lz4>\x04\x22\x4d\x18)|(?P<compress>\x1f[\x9d\xa0])|(?P<ace>.{7}\*\*ACE\*\*)"
    rb"|(?P<lzip>LZIP\x01)|(?P<xar>xar!\x00\x1c)|(?P<tar>.{257}ustar)",
    re.DOTALL,
)
_NAMES = {"sevenzip": "7-Zip", "rar": "RAR", "cab": "Cabinet", "lha": "LHA", "arj": "ARJ", "ace": "ACE", "xar": "XAR"}
_ISO_MARK = b"CD001"
_ISO_OFFSET = 32_769
_GZIP_NAME = 0x08
_GZIP_EXTRA = 0x04
_NAME_LIMIT = 255


def detect_kind(data: bytes) -> str:
    """Return the kind of container `data` is, "" when it is none."""
    found = _MAGIC.match(data)
    if found is not None:
        return found.lastgroup or ""
    if len(data) > _ISO_OFFSET and data.startswith(_ISO_MARK, _ISO_OFFSET):
        return "iso"
    return ZIP if is_appended(data) else ""


def open_container(data: bytes, kind: str, name: str, budget: Budget) -> Iterator[Member]:
    """Yield the members of a container of `kind`. OverBudget when the message has cost enough."""
    if kind == ZIP:
        yield from read_members(data, budget)
    elif kind == GZIP:
        yield _read_gzip(data, name, budget)
    else:
        yield Member("", trouble=f"archive-not-opened: {_NAMES.get(kind, kind)} archives cannot be opened")


def _read_gzip(data: bytes, name: str, budget: Budget) -> Member:
    """Unpack all streams of a gzip file (RFC 1952 §2.2) as the one file they make."""
    inner = _gzip_name(data) or name.removesuffix(".gz").removesuffix(".GZ")
    rest = memoryview(data)
    pieces: list[bytes] = []
    ended = True
    while rest and (not pieces or bytes(rest[:2]) == b"\x1f\x8b"):
        budget.take_member()
        try:
            piece, consumed, ended = inflate(rest, zlib.MAX_WBITS | 16, budget)
        except Damaged as error:
            if not pieces:
                return Member(inner, trouble=str(error))
            ended = False
            break
        pieces.append(piece)
        if not ended:
            break
        rest = rest[consumed:]
    return Member(
        inner,
        pieces[0] if len(pieces) == 1 else b"".join(pieces),
        trouble="" if ended else "gzip data is damaged or cut off",
    )


def _gzip_name(data: bytes) -> str:
    """Return the file name in a gzip header without path, "" when it has none."""
    if len(data) < 12 or not data[3] & _GZIP_NAME:
        return ""
    start = 10
    if data[3] & _GZIP_EXTRA:
        start += 2 + int.from_bytes(data[10:12], "little")
    end = data.find(b"\0", start, start + _NAME_LIMIT)
    return data[start:end].decode("latin-1").rpartition("/")[2] if end > 0 else ""
