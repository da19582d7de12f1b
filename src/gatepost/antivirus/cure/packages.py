"""Files that are embedded in documents as OLE packages: which of them go, and what stands in their place.

Called by `office` and `ooxml` for the trees of compound files: `disarm_tree` takes out VBA projects, programs in
packages, and streams known to be bad.
"""

import hashlib
import re
import struct
from collections.abc import Mapping
from typing import Final

from gatepost.antivirus.cure.compound import Node
from gatepost.antivirus.cure.cured import BadMember, Uncurable
from gatepost.antivirus.kinds import Kind, detect_kind

Bad = Mapping[bytes, BadMember]
"""Bad members by the digest of their content."""

_NATIVE: Final = "\x01ole10native"
_STAND_IN_NAME: Final = b"removed.txt"
_STAND_IN: Final = b"The embedded file was removed because it is not safe.\r\n"
_PROGRAM_NAME: Final = re.compile(
    rb"\.(?:exe|com|scr|pif|cpl|dll|bat|cmd|ps1|psm1|vbs|vbe|js|jse|wsf|wsh|wsc|sct|hta|lnk|url|msi|msp|jar|reg|inf|chm"
    rb"|application|gadget|settingcontent-ms|library-ms|iqy|slk|xll|iso|img|vhd|one)[\s.]*$",
    re.IGNORECASE,
)
_PROGRAM: Final = re.compile(rb"MZ|\x7fELF|#!|L\0\0\0\x01\x14\x02\0|\xca\xfe\xba\xbe|[\xcf\xce]\xfa\xed\xfe")
_PROJECT_NAMES: Final = frozenset({"macros", "_vba_project_cur", "vba"})
_PROJECT_STREAMS: Final = frozenset({"project", "projectwm", "projectlk", "_vba_project"})
_SIGNATURES: Final = frozenset({"_signatures", "_xmlsignatures", "\x05digitalsignature"})
MAIN_STREAMS: Final = frozenset(
    {"worddocument", "workbook", "book", "powerpoint document", "0table", "1table", "data", "current user"}
)
"""What the document itself lies in: never emptied."""


def index_bad(bad: tuple[BadMember, ...] | list[BadMember]) -> Bad:
    return {each.digest: each for each in bad}


def disarm_tree(root: Node, bad: Bad) -> list[str]:
    """Take out of the tree what runs, and return what that was. Uncurable: the document itself is bad."""
    removed: list[str] = []
    pending = [root]
    while pending:
        storage = pending.pop()
        kept: list[Node] = []
        project = storage.child("VBA") is not None
        for node in storage.children:
            name = node.name.lower()
            if name in _SIGNATURES:
                removed.append("digital signature")
            elif not node.is_stream and (name in _PROJECT_NAMES or node.child("VBA") is not None):
                removed.append("VBA macros")
            elif project and node.is_stream and name in _PROJECT_STREAMS:
                continue
            else:
                kept.append(node)
                if node.is_stream:
                    removed += _disarm_stream(node, name, bad)
                else:
                    pending.append(node)
        storage.children = kept
    return removed


def _disarm_stream(node: Node, name: str, bad: Bad) -> list[str]:
    if name == _NATIVE:
        return _disarm_native(node, bad)
    found = bad.get(hashlib.sha256(node.data).digest()) if bad else None
    if found is None and not (name in ("package", "contents") and _PROGRAM.match(node.data)):
        return []
    if name in MAIN_STREAMS:
        raise Uncurable("the document itself is bad")
    node.data = b"" if found is None or found.cured is None else found.cured
    return [f"embedded {node.name}"]


def _disarm_native(node: Node, bad: Bad) -> list[str]:
    """Put something harmless in the place of a package that is a program, or that cannot be read."""
    parsed = _parse_native(node.data)
    if parsed is None:
        node.data = _build_native(_STAND_IN_NAME, _STAND_IN)
        return ["embedded file that cannot be read"]
    names, content = parsed
    label = names[0] or names[-1]
    found = bad.get(hashlib.sha256(content).digest())
    if found is not None and found.cured is not None:
        node.data = _build_native(label, found.cured)
    elif found is not None or is_program(content, names):
        node.data = _build_native(_STAND_IN_NAME, _STAND_IN)
    else:
        return []
    return [f"embedded file {label.decode('cp1252', 'replace')}"]


def is_program(content: bytes, names: list[bytes]) -> bool:
    """Tell whether a file is, or is called like, something that runs when it is opened."""
    return (
        _PROGRAM.match(content) is not None
        or any(_PROGRAM_NAME.search(name) for name in names)
        or detect_kind(content) in (Kind.EXECUTABLE, Kind.LNK, Kind.SCRIPT)
    )


def _parse_native(data: bytes) -> tuple[list[bytes], bytes] | None:
    """Return (label, file name and temporary path, content) of an Ole10Native stream, None when it is another form."""
    try:
        names: list[bytes] = []
        position = 6
        for _ in range(2):
            end = data.index(b"\0", position)
            names.append(data[position:end])
            position = end + 1
        position += 4
        (length,) = struct.unpack_from("<L", data, position)
        names.append(data[position + 4 : position + 4 + length].rstrip(b"\0"))
        position += 4 + length
        (size,) = struct.unpack_from("<L", data, position)
    except (ValueError, struct.error):
        return None
    content = data[position + 4 : position + 4 + size]
    return (names, content) if len(content) == size else None


def _build_native(name: bytes, content: bytes) -> bytes:
    """Return an Ole10Native stream of one file."""
    path = name + b"\0"
    body = struct.pack("<H", 2) + path + path + struct.pack("<2HL", 0, 3, len(path)) + path
    body += struct.pack("<L", len(content)) + content + b"\0\0"
    return struct.pack("<L", len(body)) + body
