"""Windows shortcuts ([MS-SHLLINK]): the command they run, and what is hung behind them.

Called by `unpack`. A shortcut is shown as one text: target, arguments, working folder, icon. Never raises.
"""

import re
import struct
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.openers.taking import take, take_text
from gatepost.antivirus.opening import Member, Opening

LINK_COMMAND: Final = "text/x-lnk-command"
_HEADER: Final = 0x4C
_HAS_IDS, _HAS_INFO, _UNICODE = 0x01, 0x02, 0x80
_STRINGS: Final = (
    (0x04, "description"),
    (0x08, "relative path"),
    (0x10, "working folder"),
    (0x20, "arguments"),
    (0x40, "icon"),
)
_BLOCK_NAMES: Final = {0xA0000001: "environment target", 0xA0000007: "icon of the environment"}
EXTRA_BLOCKS: Final = 64
"""Blocks behind the strings: there are eleven kinds."""
APPENDED: Final = 16
"""Bytes behind the end that are padding."""
_READABLE = re.compile(rb"[\x20-\x7e]{4,260}|(?:[\x20-\x7e]\0){4,260}")


def open_lnk(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the command as text, and data behind the shortcut. OverBudget."""
    lines, end = _read(data)
    yield take_text(opening, f"{name or 'shortcut'} command", "\n".join(lines), LINK_COMMAND)
    if len(data) - end > APPENDED and data[end:].strip(b"\0"):
        yield take(opening, "appended", data[end:])


def _read(data: bytes) -> tuple[list[str], int]:
    """Return (what the shortcut says line by line, where it ends)."""
    lines: list[str] = []
    flags = int.from_bytes(data[0x14:0x18], "little")
    position = _HEADER
    if flags & _HAS_IDS:
        size = int.from_bytes(data[position : position + 2], "little")
        items = data[position + 2 : position + 2 + size]
        texts = [_decode(found[0]) for found in _READABLE.finditer(items)]
        lines.append("target items: " + " | ".join(texts))
        position += 2 + size
    if flags & _HAS_INFO:
        size = int.from_bytes(data[position : position + 4], "little")
        lines += _read_info(data[position : position + size])
        position += max(size, 4)
    width = 2 if flags & _UNICODE else 1
    for flag, title in _STRINGS:
        if flags & flag:
            length = int.from_bytes(data[position : position + 2], "little") * width
            raw = data[position + 2 : position + 2 + length]
            text = raw.decode("utf-16-le", "replace") if width == 2 else raw.decode("latin-1")
            lines.append(f"{title}: {text}")
            position += 2 + length
    for _ in range(EXTRA_BLOCKS):
        size = int.from_bytes(data[position : position + 4], "little")
        if size < 4 or position + size > len(data):
            position += 4
            break
        title = _BLOCK_NAMES.get(int.from_bytes(data[position + 4 : position + 8], "little"), "")
        if title:
            block = data[position + 8 : position + size]
            lines.append(f"{title}: {block[260:].decode('utf-16-le', 'replace').partition(chr(0))[0]}")
            lines.append(f"{title}: {block[:260].partition(bytes(1))[0].decode('latin-1')}")
        position += size
    return lines, min(position, len(data))


def _read_info(info: bytes) -> list[str]:
    """Return the target paths of a LinkInfo structure ([MS-SHLLINK] 2.3)."""
    if len(info) < 28:
        return []
    _, header, _, _, base, _, suffix = struct.unpack_from("<7L", info)
    texts = [info[offset:].partition(b"\0")[0].decode("latin-1") for offset in (base, suffix) if offset]
    if header >= 0x24 and len(info) >= 0x24:
        wide = struct.unpack_from("<2L", info, 28)
        texts += [info[offset:].decode("utf-16-le", "replace").partition("\0")[0] for offset in wide if offset]
    return [f"target: {text}" for text in texts if text]


def _decode(raw: bytes) -> str:
    return raw.replace(b"\0", b"").decode("latin-1")
