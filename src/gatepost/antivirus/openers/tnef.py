"""TNEF files (winmail.dat; [MS-OXTNEF]): attachments, embedded messages, the body in all its forms (F-AV-02).

Called by `unpack`. Attributes are read in the order of the file, whatever their checksums say; what is cut off is given
as far as it goes, with that as its trouble.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.antivirus.budget import Damaged
from gatepost.antivirus.openers.lzfu import decompress_rtf
from gatepost.antivirus.openers.taking import take, take_text
from gatepost.antivirus.opening import Member, Opening

_ATTRIBUTE = struct.Struct("<BLL")
_SIGNATURE: Final = b"\x78\x9f\x3e\x22"
_TITLE: Final = 0x00018010
_DATA: Final = 0x0006800F
_RENDER: Final = 0x00069002
_ATTACHMENT: Final = 0x00069005
_MESSAGE: Final = 0x00069003
_BODY: Final = 0x0002800C
_RTF, _HTML, _PLAIN = 0x1009, 0x1013, 0x1000
_OBJECT: Final = 0x3701
_NAMES: Final = (0x3707, 0x3704, 0x3001)
"""Long file name, short file name, display name."""
COMMON_SET: Final = bytes.fromhex("0820060000000000c000000000000046")
"""PSETID_Common ([MS-OXPROPS] 1.3.2) as it lies in files."""
REMINDER_FILE: Final = 0x851F
"""PidLidReminderFileParameter: the sound that Outlook fetches, unasked, when the reminder is due (CVE-2023-23397)."""
REMINDER: Final = "text/x-outlook-reminder"
_NAMED: Final = 0x10000
"""Added to the number that a property has in the common set: its number in the file means nothing."""
_FIXED: Final = {2: 4, 3: 4, 4: 4, 0xA: 4, 0xB: 4, 5: 8, 6: 8, 7: 8, 0x14: 8, 0x40: 8, 0x48: 16}
"""Length of values by type, padded to four bytes."""
_TEXTS: Final = frozenset({0x1E, 0x1F})
_VARIABLE: Final = frozenset({0x1E, 0x1F, 0x0D, 0x102})


class _Attachment(msgspec.Struct):
    name: str = ""
    data: bytes | None = None
    objects: list[bytes] = []
    cut: bool = False


def open_tnef(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the body's forms and the attachments. OverBudget."""
    current = _Attachment()
    found = 0
    for attribute, value, whole in _attributes(data):
        if attribute == _RENDER:
            yield from _finish(current, opening)
            current = _Attachment()
        elif attribute == _TITLE:
            current.name = current.name or value.partition(b"\0")[0].decode("utf-8", "replace")
        elif attribute == _DATA:
            if current.data is not None:  # two contents of one attachment: both
                yield from _finish(current, opening)
            current.data = value
            current.cut = not whole
        elif attribute == _ATTACHMENT:
            for number, kind, content in read_properties(value):
                if number in _NAMES and kind in _TEXTS:
                    if number == _NAMES[0] or not current.name:
                        current.name = decode_text(content, kind)
                elif number == _OBJECT and content:
                    current.objects.append(content)
        elif attribute == _MESSAGE:
            for number, kind, content in read_properties(value):
                if number == _NAMED + REMINDER_FILE:
                    yield from read_reminder(kind, content, opening)
                else:
                    yield from read_body(number, kind, content, opening)
        elif attribute == _BODY:
            yield take(opening, "text body", value.rstrip(b"\0"), "text/plain")
        else:
            continue
        found += 1
    yield from _finish(current, opening)
    if not found:
        yield Member("", trouble=f"{name or 'TNEF file'} holds nothing that can be read")


def _attributes(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (number, value, whether it is whole)."""
    position = 6
    while position + _ATTRIBUTE.size <= len(data):
        level, number, length = _ATTRIBUTE.unpack_from(data, position)
        if level not in (1, 2):
            return
        start = position + _ATTRIBUTE.size
        position = start + length + 2
        yield number, data[start : start + length], start + length <= len(data)


def _finish(attachment: _Attachment, opening: Opening) -> Iterator[Member]:
    trouble = "the attachment is cut off" if attachment.cut else ""
    name = attachment.name or "attachment"
    if attachment.data is not None:
        yield take(opening, name, attachment.data, trouble=trouble)
    for content in attachment.objects:
        # An embedded object starts with the 16 bytes of its interface; a message is TNEF again ([MS-OXTNEF] 2.1.3.4).
        yield take(opening, name, content[16:] if _SIGNATURE in content[16:20] or len(content) > 16 else content)


def read_body(number: int, kind: int, content: bytes, opening: Opening) -> Iterator[Member]:
    """Yield a property that is a form of the body. OverBudget."""
    if number == _RTF:
        try:
            yield take(opening, "RTF body", decompress_rtf(content, opening.budget), "application/rtf")
        except Damaged as error:
            yield Member("RTF body", trouble=str(error))
    elif number == _HTML:
        yield take(opening, "HTML body", content, "text/html")
    elif number == _PLAIN and content:
        text = decode_text(content, kind).encode("utf-8", "replace") if kind in _TEXTS else content
        yield take(opening, "text body", text, "text/plain")


def read_reminder(kind: int, content: bytes, opening: Opening) -> Iterator[Member]:
    """Yield the path of a reminder's sound as text, when there is one. OverBudget."""
    if path := decode_text(content, kind):
        yield take_text(opening, "reminder", f"sound: {path}", REMINDER)


def read_properties(raw: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (number, type, value) of the MAPI properties in an attribute, as far as they make sense; the number of
    a named one of the common set is `_NAMED` + its number there.
    """
    if len(raw) < 4:
        return
    position = 4
    for _ in range(int.from_bytes(raw[:4], "little")):  # each takes some bytes: their end ends this
        if position + 4 > len(raw):
            return
        kind, number = struct.unpack_from("<HH", raw, position)
        position += 4
        if number >= 0x8000:
            identity, numeral = raw[position : position + 16], raw[position + 16 : position + 20] == bytes(4)
            if identity == COMMON_SET and numeral:
                number = _NAMED + int.from_bytes(raw[position + 20 : position + 24], "little")
            position = _skip_name(raw, position)
        multiple = kind & 0x1000
        kind &= 0x0FFF
        count = 1
        if multiple or kind in _VARIABLE:
            count = int.from_bytes(raw[position : position + 4], "little")
            position += 4
        for _ in range(count):
            if kind in _VARIABLE:
                length = int.from_bytes(raw[position : position + 4], "little")
                position += 4
            elif kind in _FIXED:
                length = _FIXED[kind]
            else:
                return
            if position >= len(raw):
                return
            yield number, kind, raw[position : position + length]
            position += (length + 3) & ~3


def _skip_name(raw: bytes, position: int) -> int:
    """Return the position behind the name of a named property."""
    form, value = int.from_bytes(raw[position + 16 : position + 20], "little"), raw[position + 20 : position + 24]
    position += 24
    if form == 1:
        position += (int.from_bytes(value, "little") + 3) & ~3
    return position


def decode_text(raw: bytes, kind: int) -> str:
    """Return a MAPI string of type 1E (bytes) or 1F (UTF-16) without the zero at its end."""
    if kind == 0x1F:
        return raw.decode("utf-16-le", "replace").partition("\0")[0]
    return raw.partition(b"\0")[0].decode("utf-8", "replace")
