"""Outlook messages ([MS-OXMSG]): the body in all its forms, attachments, messages inside messages, reminders.

Called by `unpack` when mail bases are scanned. A message attached to a message is a storage in the same file, so one
walk over all streams finds everything, however deep.
"""

import struct
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Damaged
from gatepost.antivirus.compound import CompoundFile, Stream
from gatepost.antivirus.openers.taking import take
from gatepost.antivirus.openers.tnef import COMMON_SET, REMINDER_FILE, decode_text, read_body, read_reminder
from gatepost.antivirus.opening import Member, Opening

_PREFIX: Final = "__substg1.0_"
_ATTACHMENT: Final = "__attach_version1.0_"
_DATA: Final = 0x3701
_NAMES: Final = (0x3707, 0x3704, 0x3001)
_HEADERS: Final = 0x007D
_BODIES: Final = frozenset({0x1000, 0x1009, 0x1013})
_NAME_TABLES: Final = "__nameid_version1.0"
_GUIDS, _ENTRIES = (0x0002, 0x0102), (0x0003, 0x0102)
_ENTRY = struct.Struct("<LHH")
_FIRST_GUID: Final = 3
"""Indexes below mean no name set, MAPI's and PS_PUBLIC_STRINGS; the stream of sets begins with this one."""


def open_msg(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield bodies, transport headers and attachments. OverBudget."""
    try:
        compound = CompoundFile(data)
    except Damaged as error:
        yield Member("", trouble=str(error))
        return
    names: dict[tuple[str, ...], str] = {}
    for wanted in reversed(_NAMES):
        for stream in compound.streams:
            number, kind = _property(stream)
            if number == wanted and stream.path[-2:-1] and stream.path[-2].startswith(_ATTACHMENT):
                names[stream.path[:-1]] = decode_text(compound.read(stream), kind)
    reminders = _reminder_numbers(compound)
    for stream in compound.streams:
        number, kind = _property(stream)
        if number in reminders and not _is_of_names(stream):
            yield from read_reminder(kind, compound.read(stream), opening)
        elif number in _BODIES:
            yield from read_body(number, kind, compound.read(stream), opening)
        elif number == _DATA:
            name = names.get(stream.path[:-1]) or "attachment"
            yield take(opening, name, compound.read(stream))
        elif number == _HEADERS:
            text = decode_text(compound.read(stream), kind)
            yield take(opening, "headers", text.encode("utf-8", "replace"), "text/plain")
        elif number < 0 and stream.size and "nameid" not in stream.path[0].lower() and not _is_table(stream):
            yield take(opening, stream.name, compound.read(stream))


def _property(stream: Stream) -> tuple[int, int]:
    """Return (number, type) of the property a stream holds, (-1, 0) when it holds none."""
    name = stream.name.lower()
    if not name.startswith(_PREFIX):
        return -1, 0
    try:
        return int(name[len(_PREFIX) :][:4], 16), int(name[len(_PREFIX) :][4:8], 16)
    except ValueError:
        return -1, 0


def _reminder_numbers(compound: CompoundFile) -> frozenset[int]:
    """Return the numbers under which the file keeps a reminder's sound ([MS-OXMSG] 2.2.3.1): one table for the whole
    file, messages inside messages too. Of several that could be this table, each counts: which one Outlook takes is
    its affair.
    """
    tables = [stream for stream in compound.streams if _is_of_names(stream)]
    places = set()
    for guids in (compound.read(stream) for stream in tables if _property(stream) == _GUIDS):
        places |= {at for at in range(0, len(guids), len(COMMON_SET)) if guids.startswith(COMMON_SET, at)}
    found = set()
    for entries in (compound.read(stream) for stream in tables if _property(stream) == _ENTRIES):
        for name, place, index in _ENTRY.iter_unpack(entries[: len(entries) // _ENTRY.size * _ENTRY.size]):
            at = ((place >> 1) - _FIRST_GUID) * len(COMMON_SET)
            if name == REMINDER_FILE and not place & 1 and at in places:
                found.add(0x8000 + index)
    return frozenset(found)


def _is_of_names(stream: Stream) -> bool:
    return stream.path[0].lower() == _NAME_TABLES


def _is_table(stream: Stream) -> bool:
    return stream.name.lower().startswith("__properties_version")
