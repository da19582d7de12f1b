"""UDF images put together at run time (ECMA-167), in the forms that their writers choose between."""

import struct

SECTOR = 2048
START = 300
"""Sector in which the partition begins."""


def _tag(kind: int, sector: int) -> bytes:
    raw = struct.pack("<HHBBHHHI", kind, 2, 0, 0, 0, 0, 0, sector)
    return raw[:4] + bytes((sum(raw) & 0xFF,)) + raw[5:]


def _place(block: int, length: int, partition: int = 0) -> bytes:
    return struct.pack("<IIH6x", length, block, partition)


def _name(text: str) -> bytes:
    try:
        return b"\x08" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"\x10" + text.encode("utf-16-be")


def _identifier(name: str, block: int, flags: int, partition: int) -> bytes:
    raw = _name(name) if name else b""
    head = _tag(257, block) + struct.pack("<HBB", 1, flags, len(raw)) + _place(block, SECTOR, partition)
    entry = head + struct.pack("<H", 0) + raw
    return entry + bytes(-len(entry) % 4)


class Image:
    """An image with one folder below its root. `form`: how files say where they are: 0 short, 1 long descriptors, 3 in
    the entry itself, "more" with descriptors that go on elsewhere. `partition`: plain, metadata, virtual.
    """

    def __init__(self, files: dict[str, bytes], form: int | str = 0, partition: str = "plain", *, wide: bool = False):
        self._form, self._wide = form, wide
        self._metadata = partition == "metadata"
        self._blocks: list[bytes] = []
        self._meta: list[bytes] = []
        own = 1 if self._metadata else 0
        self._home = self._meta if self._metadata else self._blocks
        self._home += [b"", b"", b""]  # the set of files, the entries of the root and of the folder
        inner = b""
        for name, content in files.items():
            inner += _identifier(name, self._file(content), 0, own)
        deleted = _identifier("deleted.exe", 9, 4, own)
        self._home[2] = self._entry(4, _identifier("", 1, 10, own) + inner + deleted, 3)
        root = _identifier("", 1, 10, own) + _identifier("folder", 2, 2, own)
        self._home[1] = self._entry(4, root, 3)
        self._home[0] = _tag(256, 0).ljust(400, b"\0") + _place(1, SECTOR, own)
        maps = b"\1\6" + struct.pack("<HH", 1, 0)
        if self._metadata:
            blob = b"".join(block.ljust(SECTOR, b"\0") for block in self._meta)
            start = len(self._blocks)
            self._blocks += [blob[at : at + SECTOR] for at in range(0, len(blob), SECTOR)]
            self._blocks.append(self._raw_entry(250, len(blob), struct.pack("<II", len(blob), start), 0))
            kind, extra = b"*UDF Metadata Partition", struct.pack("<I", len(self._blocks) - 1)
            maps += self._map(kind, extra)
        elif partition == "virtual":
            maps = self._map(b"*UDF Virtual Partition", b"")
        self._maps = maps

    @staticmethod
    def _map(kind: bytes, extra: bytes) -> bytes:
        return (b"\2\x40\0\0\0" + kind).ljust(36, b"\0") + (struct.pack("<HH", 1, 0) + extra).ljust(28, b"\0")

    def _raw_entry(self, kind: int, size: int, descriptors: bytes, form: int) -> bytes:
        head = _tag(266 if self._wide else 261, 0) + bytes(11) + bytes((kind,)) + bytes(6) + struct.pack("<H", form)
        head = head.ljust(56, b"\0") + struct.pack("<Q", size)
        head = head.ljust(208 if self._wide else 168, b"\0") + struct.pack("<II", 8, len(descriptors))
        return head + b"extended" + descriptors

    def _entry(self, kind: int, content: bytes, form: int | str) -> bytes:
        if form == 3:
            return self._raw_entry(kind, len(content), content, 3)
        half = len(content) // 2 // SECTOR * SECTOR
        pieces = [piece for piece in (content[:half], content[half:]) if piece]
        places = [(self._store(piece), len(piece)) for piece in pieces]
        if form == 1:
            return self._raw_entry(kind, len(content), b"".join(_place(*each) for each in places), 1)
        short = [struct.pack("<II", length, block) for block, length in places]
        if form == "more":
            rest = b"".join(short)
            more = self._store((_tag(258, 0) + struct.pack("<II", 0, len(rest)) + rest).ljust(SECTOR, b"\0"))
            return self._raw_entry(kind, len(content), struct.pack("<II", 3 << 30 | SECTOR, more), 0)
        return self._raw_entry(kind, len(content), b"".join(short), 0)

    def _store(self, content: bytes) -> int:
        block = len(self._blocks)
        self._blocks += [content[at : at + SECTOR] for at in range(0, len(content), SECTOR)]
        return block

    def _file(self, content: bytes) -> int:
        number = len(self._home)
        self._home.append(b"")
        self._home[number] = self._entry(5, content, 1 if self._metadata and self._form == 0 else self._form)
        return number

    def build(self) -> bytes:
        """Return the image."""
        sectors: dict[int, bytes] = {16: b"\0BEA01\1", 17: b"\0NSR02\1", 18: b"\0TEA01\1"}
        sectors[32] = (_tag(5, 32) + bytes(6) + struct.pack("<H", 0)).ljust(188, b"\0") + struct.pack("<II", START, 999)
        volume = _tag(6, 33).ljust(212, b"\0") + struct.pack("<I", SECTOR)
        volume = volume.ljust(248, b"\0") + _place(0, SECTOR, 1 if self._metadata else 0)
        count = 2 if self._metadata else 1
        sectors[33] = (volume + struct.pack("<II", len(self._maps), count)).ljust(440, b"\0") + self._maps
        sectors[34] = _tag(8, 34)
        sectors[256] = _tag(2, 256) + struct.pack("<II", 3 * SECTOR, 32)
        sectors |= {START + number: block for number, block in enumerate(self._blocks)}
        return b"".join(sectors.get(number, b"").ljust(SECTOR, b"\0") for number in range(max(sectors) + 2))
