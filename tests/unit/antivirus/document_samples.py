"""Documents and mail made at run time: each holds something that has to come out."""

import base64
import io
import struct
import zipfile
from collections.abc import Iterable

FREE = 0xFFFFFFFF
END = 0xFFFFFFFE
OLE_MARK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
PROGRAM = b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0" + b"program" * 10


def compound(streams: dict[tuple[str, ...], bytes], root_class: bytes = bytes(16)) -> bytes:
    """A compound file; every stream in whole sectors of its own (sizes are padded to 4096 with zeros)."""
    names: list[tuple[str, ...]] = [()]
    for path in streams:
        for depth in range(1, len(path) + 1):
            if path[:depth] not in names:
                names.append(path[:depth])
    children = {path: [number for number, each in enumerate(names) if each and each[:-1] == path] for path in names}
    directory_sectors = (len(names) * 128 + 511) // 512
    fat: list[int] = []
    body = b""
    starts: dict[tuple[str, ...], tuple[int, int]] = {}
    first = 8 + directory_sectors  # eight sectors of FAT come first
    for path, data in streams.items():
        padded = data.ljust(4096, b"\0")
        padded += bytes(-len(padded) % 512)
        count = len(padded) // 512
        starts[path] = (first + len(fat), max(len(data), 4096))
        fat += [first + len(fat) + step + 1 for step in range(count - 1)] + [END]
        body += padded
    entries = []
    for path in names:
        under = children.get(path, [])
        siblings = children.get(path[:-1], []) if path else []
        here = names.index(path)
        position = siblings.index(here) if here in siblings else -1
        right = siblings[position + 1] if 0 <= position < len(siblings) - 1 else FREE
        label = (path[-1] if path else "Root Entry").encode("utf-16-le")
        kind = 5 if not path else 2 if path in streams else 1
        start, size = starts.get(path, (END, 0))
        entries.append(
            label.ljust(64, b"\0")
            + struct.pack("<HBBLLL", len(label) + 2, kind, 1, FREE, right, under[0] if under else FREE)
            + (root_class if not path else bytes(16))
            + struct.pack("<20xLQ", start, size)
        )
    directory = b"".join(entries)
    directory += (bytes(68) + struct.pack("<LLL", FREE, FREE, FREE) + bytes(48)) * ((-len(directory) % 512) // 128)
    links = [0xFFFFFFFD] * 8 + [8 + step + 1 for step in range(directory_sectors - 1)] + [END] + fat
    table = struct.pack(f"<{len(links)}L", *links).ljust(8 * 512, b"\xff")
    header = OLE_MARK + bytes(16) + struct.pack("<5H6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<3L4x5L", 0, 8, 8, 4096, END, 0, END, 0) + struct.pack("<109L", *range(8), *([FREE] * 101))
    return header + table + directory + body


def vba_compress(text: bytes) -> bytes:
    """A compressed container that holds the text in literal tokens only ([MS-OVBA] 2.4.1)."""
    out = b"\x01"
    for start in range(0, len(text), 3000):
        piece = text[start : start + 3000]
        raw = b"".join(b"\0" + piece[place : place + 8] for place in range(0, len(piece), 8))
        out += struct.pack("<H", (len(raw) + 2 - 3) | 0xB000) + raw
    return out


def vba_streams(
    source: bytes, compiled: bytes = b"", stream: str = "Module1", offset: int | None = None, page: int = 1252
) -> dict[str, bytes]:
    """The streams of a storage `VBA` with one module."""

    def record(number: int, value: bytes) -> bytes:
        return struct.pack("<HL", number, len(value)) + value

    directory = record(0x01, struct.pack("<L", 1)) + record(0x03, struct.pack("<H", page))
    directory += struct.pack("<HLLH", 0x09, 4, 1, 1)
    directory += record(0x19, b"Module1") + record(0x1A, stream.encode()) + record(0x32, stream.encode("utf-16-le"))
    directory += record(0x31, struct.pack("<L", len(compiled) if offset is None else offset)) + struct.pack(
        "<HL", 0x2B, 0
    )
    return {"dir": vba_compress(directory), stream: compiled + vba_compress(source)}


def document_with_macros(source: bytes, compiled: bytes = b"") -> bytes:
    streams = {("Macros", "VBA", name): data for name, data in vba_streams(source, compiled).items()}
    return compound({("WordDocument",): bytes(512), **streams})


def package(data: bytes, name: str = "invoice.exe") -> bytes:
    """The stream Ole10Native of a packaged file."""
    label = name.encode() + b"\0"
    path = b"C:\\temp\\" + label
    inner = (
        b"\x02\0"
        + label
        + path
        + struct.pack("<LL", 0x00030000, len(path))
        + path
        + struct.pack("<L", len(data))
        + data
    )
    return struct.pack("<L", len(inner)) + inner


def rtf_object(class_name: bytes, native: bytes) -> bytes:
    """An embedded object of the first OLE."""
    name = class_name + b"\0"
    return struct.pack("<LLL", 0x501, 2, len(name)) + name + bytes(8) + struct.pack("<L", len(native)) + native


def zipped(parts: Iterable[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts:
            archive.writestr(name, data)
    return out.getvalue()


def stored(parts: Iterable[tuple[str, bytes]], comment: bytes = b"") -> bytes:
    """A zip archive that packs nothing."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = comment
        for name, data in parts:
            archive.writestr(name, data)
    return out.getvalue()


def word(*parts: tuple[str, bytes]) -> bytes:
    return zipped((("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w:document/>"), *parts))


def tnef(data: bytes, name: bytes = b"invoice.exe") -> bytes:
    def attribute(level: int, number: int, value: bytes) -> bytes:
        return struct.pack("<BLL", level, number, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)

    return (
        b"\x78\x9f\x3e\x22\x01\x00"
        + attribute(1, 0x00089006, struct.pack("<L", 0x00010000))
        + attribute(1, 0x0002800C, b"see attachment\0")
        + attribute(2, 0x00069002, bytes(14))
        + attribute(2, 0x00018010, name + b"\0")
        + attribute(2, 0x0006800F, data)
    )


def shortcut(arguments: str, appended: bytes = b"") -> bytes:
    """A shortcut with a relative path and arguments in UTF-16."""
    head = struct.pack("<L16sL", 0x4C, bytes.fromhex("0114020000000000c000000000000046"), 0x08 | 0x20 | 0x80)
    texts = b"".join(struct.pack("<H", len(text)) + text.encode("utf-16-le") for text in ("..\\cmd.exe", arguments))
    return head.ljust(0x4C, b"\0") + texts + bytes(4) + appended


def notebook(*files: bytes) -> bytes:
    mark = bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac")
    start = bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3") + bytes(100)
    return start + b"".join(mark + struct.pack("<QLQ", len(data), 0, 0) + data + bytes(16) for data in files)


def quoted_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
