r"""RTF documents: objects in hex or binary, and the instructions of fields and templates.

Called by `unpack`. Word reads RTF forgivingly, and malware lives on that: control words, groups, blanks and `\'xx`
between the digits, `\bin` in the middle, headers that make no sense. So every `\objdata` is read from where it
stands to the end of its group, and when the groups inside it leave two readings, both are given.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.compound import MAGIC
from gatepost.antivirus.openers.fields import OFFICE_FIELD, RELATIONSHIP, is_telling
from gatepost.antivirus.openers.package import parse_embedded, parse_package
from gatepost.antivirus.openers.taking import take, take_text
from gatepost.antivirus.opening import Member, Opening

OBJECT: Final = "text/x-rtf-object"
_DATA = re.compile(rb"\\(?:objdata|datastore|datafield)(?![a-zA-Z])(?P<number>-?[0-9]{1,250})?")
_INSTRUCTION = re.compile(rb"\\(?:fldinst|ddeauto|ddeexec)(?![a-zA-Z])|(?P<template>\\\*\\template(?![a-zA-Z]))")
_TOKEN = re.compile(
    rb"(?P<hex>[0-9a-fA-F\s]+)|(?P<open>\{(?P<star>[\s]*\\\*)?)|(?P<close>\})|\\bin(?P<bin>-?\d{1,10})? ?|\\'.{0,2}"
    rb"|\\[a-zA-Z]{1,250}-?\d{0,250} ?|\\[^a-zA-Z]|(?P<other>[^\\{}0-9a-fA-F]+)",
    re.DOTALL,
)
_FIELD_TOKEN = re.compile(
    rb"\\'(?P<byte>[0-9a-fA-F]{2})|\\u(?P<unit>-?\d{1,6}) ?\??|\\(?P<word>[a-zA-Z]{1,32})-?\d{0,10} ?"
    rb"|\\(?P<sign>[^a-zA-Z])|(?P<open>\{)|(?P<close>\})|(?P<text>[^\\{}]+)",
    re.DOTALL,
)
_NOT_HEX = bytes(set(range(256)) - set(b"0123456789abcdefABCDEF"))
OBJECTS_LIMIT: Final = 1000
"""Objects and instructions of one document."""
INSTRUCTION_BYTES: Final = 16 * 1024
"""Of one field: the names and commands in it are short, the group may be the rest of the file."""
INSTRUCTIONS_BYTES: Final = 1024 * 1024
"""Of all fields: read again and again where they lie in each other without an end, a thousand take seconds."""
OBJECT_TOKENS: Final = 2_000_000
"""Pieces of one object's hex: about a second of reading; a document without tricks has a handful."""


def open_rtf(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield objects as members, instructions as texts. OverBudget."""
    end = 0
    count = 0
    updated = b"\\objupdate" in data
    for found in _DATA.finditer(data):
        if found.start() < end:
            continue
        count += 1
        if count > OBJECTS_LIMIT:
            yield Member("", trouble=f"more than {OBJECTS_LIMIT} objects in one RTF document")
            return
        readings, end = _read_object(data, found.end())
        if found["number"]:  # of the control word, or the beginning of the hex
            readings += _read_object(data, found.start("number"))[0]
        if not readings:
            yield Member(f"object-{count}", trouble="an object of the RTF document is too much in pieces to be read")
        for raw in readings:
            yield from _open_object(raw, count, opening, updated=updated)
    left = INSTRUCTIONS_BYTES
    for count, found in enumerate(_INSTRUCTION.finditer(data), 1):
        if count > OBJECTS_LIMIT or left <= 0:
            yield Member("", trouble=f"more than {OBJECTS_LIMIT} fields in one RTF document, or endless ones")
            return
        text, end = _read_text(data, found.end())
        left -= end - found.end()
        if found["template"]:
            yield take_text(opening, f"{name} template", f"attachedTemplate {text}", RELATIONSHIP)
        elif is_telling(text):
            yield take_text(opening, f"field-{count}", text, OFFICE_FIELD)


def _read_object(data: bytes, start: int) -> tuple[list[bytes], int]:
    """Return (the readings of the hex that starts here, where its group ends)."""
    group = data.find(b"}", start)
    if group >= 0 and data.find(b"\\", start, group) < 0 and data.find(b"{", start, group) < 0:
        return [_decode(data[start:group].translate(None, _NOT_HEX))], group
    plain: list[bytes] = []
    skipping: list[bytes] = []
    depth = 0
    starred = 0  # depth of the outermost group that readers who do not know it pass over
    position = start
    for _ in range(OBJECT_TOKENS):
        found = _TOKEN.match(data, position)
        if found is None:
            break
        position = found.end()
        kind = found.lastgroup
        if kind == "hex":
            digits = found[0].translate(None, _NOT_HEX)
            plain.append(digits)
            if not starred:
                skipping.append(digits)
        elif kind == "open":
            depth += 1
            if found["star"] is not None and not starred:
                starred = depth
        elif kind == "close":
            if depth == 0:
                break
            if starred == depth:
                starred = 0
            depth -= 1
        elif kind == "bin":
            length = max(0, int(found["bin"]))
            raw = binascii.hexlify(data[position : position + length])
            position += length
            plain.append(raw)
            if not starred:
                skipping.append(raw)
    else:
        return [], position
    first, second = b"".join(plain), b"".join(skipping)
    return [_decode(first)] if first == second else [_decode(second), _decode(first)], position


def _decode(digits: bytes) -> bytes:
    return binascii.unhexlify(digits[: len(digits) & ~1])


def _open_object(raw: bytes, number: int, opening: Opening, *, updated: bool) -> Iterator[Member]:
    embedded = parse_embedded(raw)
    if embedded is None:
        if raw.strip(b"\0"):
            yield take(opening, f"object-{number}", raw)
            compound = raw.find(MAGIC)
            if compound > 0:
                yield take(opening, f"object-{number} compound file", raw[compound:])
        return
    words = [f"class {embedded.class_name}", f"topic {embedded.topic}", f"item {embedded.item}"]
    words += ["linked"] * embedded.linked + ["updated when the document is opened"] * updated
    yield take_text(opening, f"object-{number} class", "\n".join(words), OBJECT)
    package = parse_package(embedded.data, sized=False) if embedded.class_name.lower() == "package" else None
    if package is not None:
        yield take(opening, package.name, package.data)
    elif embedded.data:
        yield take(opening, f"object-{number} {embedded.class_name}", embedded.data)


def _read_text(data: bytes, start: int) -> tuple[str, int]:
    """Return (text from here to the end of the group, without what is only form; where that was)."""
    pieces: list[str] = []
    depth = 0
    position = start
    end = min(len(data), start + INSTRUCTION_BYTES)
    while position < end:
        found = _FIELD_TOKEN.match(data, position, end)
        if found is None:
            break
        position = found.end()
        kind = found.lastgroup
        if kind == "text":
            pieces.append(found["text"].translate(None, b"\r\n").decode("latin-1"))
        elif kind == "byte":
            pieces.append(chr(int(found["byte"], 16)))
        elif kind == "unit":
            pieces.append(chr(int(found["unit"]) & 0xFFFF))
        elif kind == "sign":
            pieces.append("" if found["sign"] == b"*" else found["sign"].decode("latin-1"))
        elif kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
            if depth < 0:
                break
    return "".join(pieces).strip(), position
