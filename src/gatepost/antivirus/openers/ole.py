"""Compound files: older Office documents, installers, embedded objects; all streams, and what hides in them.

Called by `unpack`, and again for whatever is found inside. Every stream is a member, so that engines see it in one
piece; macros, macro sheets, fields and links come out as texts.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Damaged, inflate
from gatepost.antivirus.compound import CompoundFile, Stream
from gatepost.antivirus.kinds import OLE_STREAM
from gatepost.antivirus.openers import hwp
from gatepost.antivirus.openers.biff import read_workbook
from gatepost.antivirus.openers.fields import OFFICE_FIELD, XLM, is_telling
from gatepost.antivirus.openers.office_crypt import open_encrypted
from gatepost.antivirus.openers.package import parse_package
from gatepost.antivirus.openers.taking import take, take_text
from gatepost.antivirus.openers.vba import open_project
from gatepost.antivirus.opening import Member, Opening

_DULL: Final = frozenset(
    {
        "\x01compobj", "\x05summaryinformation", "\x05documentsummaryinformation", "\x03objinfo", "current user",
        "projectwm", "\x03eprint", "\x03linkinfo",
    }
)  # fmt: skip
"""Streams of titles and lists: seen by engines in the file itself, nothing is packed in them."""
_PACKAGE: Final = "encryptedpackage"
_PACKAGE_INFO: Final = "encryptioninfo"
"""Of newer Office files behind a password ([MS-OFFCRYPTO] 2.3.4)."""
_ENCRYPTED_WORD: Final = 0x0100
_FIELD_8 = re.compile(rb"\x13([^\x13\x14\x15\x00]{3,8000})[\x14\x15\x13]")
_FIELD_16 = re.compile(rb"\x13\x00((?:[^\x13\x14\x15]\x00|[\x00-\xff][\x01-\xff]){3,4000}?)[\x13-\x15]\x00")
FIELDS_LIMIT: Final = 1000
"""Of one document, those shown."""
_EMBEDDING: Final = 0x1011
"""ExOleObjStg and the storage of the macros ([MS-PPT] 2.10.34, 2.4.7): a compound file, packed."""
OBJECTS_LIMIT: Final = 1000
NAMES_BEHIND: Final = 2048
"""Behind a package stand its names once more, in UTF-16."""


def open_ole(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield streams, packages, macros and fields. OverBudget."""
    try:
        compound = CompoundFile(data)
    except Damaged as error:
        yield Member("", trouble=str(error))
        return
    names = {stream.name.lower(): stream for stream in compound.streams}
    if _PACKAGE in names:  # the rest is looked into all the same: Word does not ask for this stream elsewhere
        info = names.get(_PACKAGE_INFO)
        yield from open_encrypted(data, name, compound.read(info) if info else b"", opening)
    projects = [storage for storage in compound.storages if storage[-1].lower() == "vba"]
    for storage in projects:
        streams = {stream.name.lower(): compound.read(stream) for stream in compound.under(storage)}
        yield from open_project(streams, opening)
    encrypted = "encryptedsummary" in names
    hancom = [each for each in map(compound.read, _root_streams(compound, hwp.HEADER)) if hwp.is_hwp(each)]
    if any(map(hwp.is_locked, hancom)):
        yield Member("", protected=True)
    for stream in compound.streams:
        label = stream.name.lower()
        if label in _DULL or not stream.size or stream.path[:-1] in projects:
            continue
        if label == _PACKAGE and len(stream.path) == 1:  # elsewhere it may be anything
            continue
        content = compound.read(stream)
        if label == "\x01ole10native" or label.endswith("ole10native"):
            yield from _open_package(content, opening)
        elif label in ("workbook", "book"):
            sheets = read_workbook(content)
            encrypted = encrypted or sheets.encrypted
            if sheets.macros:
                yield take_text(opening, "macro-sheets", "\n".join(sheets.macros), XLM)
            if sheets.links:
                yield take_text(opening, "links", "\n".join(sheets.links), OFFICE_FIELD)
            yield take(opening, stream.name, content, OLE_STREAM)
        elif label == "worddocument":
            encrypted = encrypted or bool(int.from_bytes(content[0x0A:0x0C], "little") & _ENCRYPTED_WORD)
            yield from _open_fields(content, opening)
            yield take(opening, stream.name, content, OLE_STREAM)
        elif label == "powerpoint document":
            yield from _open_slides(content, opening)
        else:
            yield take(opening, stream.name, content, OLE_STREAM)
            if hancom:
                yield from hwp.open_packed_stream(stream.path, content, opening)
    if encrypted:
        yield from open_encrypted(data, name, b"", opening)


def _root_streams(compound: CompoundFile, label: str) -> list[Stream]:
    """Return the streams of a name (in lower case) that lie in no storage: there it would be none of the format's."""
    return [stream for stream in compound.streams if len(stream.path) == 1 and stream.name.lower() == label]


def _open_package(content: bytes, opening: Opening) -> Iterator[Member]:
    package = parse_package(content)
    if package is not None:
        yield take(opening, package.name, package.data)
        if package.behind > NAMES_BEHIND:  # the length inside lies
            yield take(opening, "Ole10Native", content[4:])
    elif content:
        yield take(opening, "Ole10Native", content[4:])


def _open_fields(content: bytes, opening: Opening) -> Iterator[Member]:
    shown = 0
    for pattern, charset in ((_FIELD_8, "latin-1"), (_FIELD_16, "utf-16-le")):
        for found in pattern.finditer(content):
            text = found[1].decode(charset, "replace").strip()
            if is_telling(text):
                shown += 1
                if shown > FIELDS_LIMIT:
                    yield Member("", trouble=f"more than {FIELDS_LIMIT} fields in one document")
                    return
                yield take_text(opening, f"field-{shown}", text, OFFICE_FIELD)


def _open_slides(content: bytes, opening: Opening) -> Iterator[Member]:
    """Yield the embedded compound files of a presentation, and the stream itself."""
    yield take(opening, "PowerPoint Document", content, OLE_STREAM)
    mark = _EMBEDDING.to_bytes(2, "little")
    position = content.find(mark)
    count = 0
    while position >= 2:
        if count >= OBJECTS_LIMIT:
            yield Member("", trouble=f"more than {OBJECTS_LIMIT} objects in one presentation")
            return
        version = int.from_bytes(content[position - 2 : position], "little")
        length = int.from_bytes(content[position + 2 : position + 6], "little")
        if version in (0x0000, 0x0010) and 0 < length <= len(content) - position - 6:
            count += 1
            raw = memoryview(content)[position + 6 : position + 6 + length]
            yield from _open_storage(raw, version, count, opening)
        position = content.find(mark, position + 2)


def _open_storage(raw: memoryview, version: int, number: int, opening: Opening) -> Iterator[Member]:
    if version == 0:
        yield take(opening, f"embedded-{number}", bytes(raw))
        return
    opening.budget.take_member()
    try:
        content, _, ended = inflate(raw[4:], zlib.MAX_WBITS, opening.budget)
    except Damaged as error:
        yield Member(f"embedded-{number}", trouble=str(error))
        return
    whole = ended or len(content) == int.from_bytes(raw[:4], "little")  # PowerPoint cuts the checksum off
    trouble = "" if whole else "the embedded object is damaged or cut off"
    yield Member(f"embedded-{number}", content, trouble=trouble)
