"""The changes of a copy as edits of header fields, for those who can only change fields (milters). Pure, and linear.

Called by `service.ruling` with the content as it came, the fields to go in front of it and its splices. Promises: made
one after the other, in their order, the edits turn the header into the edited one, byte for byte, but for fields that
are added between others or get another name: they come to stand in front. Lines that are no fields stay as they are.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from gatepost.model.filtering import FieldEdit, FieldOp
from gatepost.model.verdict import Splice

_FIELD: Final = re.compile(rb"[^\n]*+\n(?:[ \t][^\n]*+(?:\n|\Z))*+|[^\n]++\Z")
"""A line with those that continue it."""
_BLANK: Final = re.compile(rb"(?:\A|(?<=\n))\r?\n")
_AROUND: Final = b" \t\r\n"
_NONE: Final[deque[int]] = deque()


class _Field:
    """One field of the header as it came."""

    __slots__ = ("end", "index", "name", "raw", "start")

    def __init__(self, start: int, raw: bytes) -> None:
        self.start = start
        self.end = start + len(raw)
        self.raw = raw
        self.name = _name(raw)
        self.index = 0


def plan_field_edits(
    content: bytes, header_end: int, prefix: bytes, splices: Sequence[Splice]
) -> tuple[tuple[FieldEdit, ...], bool]:
    """Return the edits, and whether the body is changed as well.

    `header_end`: where the empty line behind the header begins; `content` may end there. `splices` rise. First come
    changes and removals, by what was there; then what is added, the last of it in front of all.
    """
    edits: list[FieldEdit] = []
    added = _split(prefix)
    appended: list[bytes] = []
    header = [splice for splice in splices if splice.start <= header_end]
    if header:
        changes = _Changes(content[:header_end])
        for start, end, own in _gaps(changes.fields, header, header_end):
            changes.take(start, end, own)
        edits = [*changes.changed, *reversed(changes.deleted)]
        added += changes.added
        appended = changes.appended
    edits += [_new(FieldOp.APPEND, raw) for raw in appended if _name(raw)]
    edits += [_new(FieldOp.INSERT, raw) for raw in reversed(added) if _name(raw)]
    return tuple(edits), any(splice.end > header_end for splice in splices)


def apply_field_edits(header: bytes, edits: Iterable[FieldEdit]) -> bytes:
    """Return a header with these edits made, as a mail system makes them."""
    fields = _split(header)
    for edit in edits:
        raw = edit.name.encode("latin-1") + b": " + edit.value + b"\r\n"
        if edit.op is FieldOp.INSERT:
            fields.insert(0, raw)
        elif edit.op is FieldOp.APPEND:
            fields.append(raw)
        else:
            named = [place for place, each in enumerate(fields) if _name(each) == edit.name.lower()]
            if edit.index <= len(named):
                place = named[edit.index - 1]
                fields[place : place + 1] = [raw] if edit.op is FieldOp.CHANGE else []
    return b"".join(fields)


class _Changes:
    """What becomes of a header."""

    def __init__(self, header: bytes) -> None:
        self._header = header
        self.fields: list[_Field] = []
        count: dict[str, int] = {}
        for found in _FIELD.finditer(header):
            field = _Field(found.start(), found[0])
            field.index = count[field.name] = count.get(field.name, 0) + 1
            self.fields.append(field)
        self.changed: list[FieldEdit] = []
        self.deleted: list[FieldEdit] = []
        self.added: list[bytes] = []
        self.appended: list[bytes] = []
        self._at = 0

    def take(self, start: int, end: int, splices: Sequence[Splice]) -> None:
        """Note what becomes of the bytes between two fields that stay."""
        after = _split(_edit(self._header, start, end, splices))
        while self._at < len(self.fields) and self.fields[self._at].start < start:
            self._at += 1
        before = []
        while self._at < len(self.fields) and self.fields[self._at].end <= end:
            before.append(self.fields[self._at])
            self._at += 1
        known: dict[str, deque[int]] = {}
        for number, field in enumerate(before):
            known.setdefault(field.name, deque()).append(number)
        place, last = 0, end == len(self._header)
        new: list[bytes] = []
        for raw in after:
            name = _name(raw)
            same = known.get(name, _NONE)
            while same and same[0] < place:
                same.popleft()
            if not same or (new and last):
                new.append(raw)
                continue
            self.added += new
            new = []
            match = same.popleft()
            self._delete(before[place:match])
            place = match + 1
            if raw != before[match].raw and name:
                self.changed.append(_new(FieldOp.CHANGE, raw, before[match].index))
        (self.appended if last else self.added).extend(new)
        self._delete(before[place:])

    def _delete(self, fields: Sequence[_Field]) -> None:
        self.deleted += [FieldEdit(FieldOp.DELETE, _spelled(each.raw), b"", each.index) for each in fields if each.name]


def _gaps(fields: Sequence[_Field], splices: Sequence[Splice], end: int) -> Iterator[tuple[int, int, Sequence[Splice]]]:
    """Yield the ranges between fields that stay in which something changes, each with its splices."""
    start = first = place = 0
    for field in fields:
        while place < len(splices) and _ends_before(splices[place], field.start):
            place += 1
        if place < len(splices) and splices[place].start < field.end:
            continue
        if place > first:
            yield start, field.start, splices[first:place]
        start, first = field.end, place
    if first < len(splices):
        yield start, end, splices[first:]


def _ends_before(splice: Splice, start: int) -> bool:
    """Tell whether a splice leaves a field alone: one whose text runs on into it does not."""
    return splice.end < start or (splice.end == start and (not splice.data or splice.data.endswith(b"\n")))


def _edit(header: bytes, start: int, end: int, splices: Sequence[Splice]) -> bytes:
    """Return a range of the header with its splices; where one of them ends the header, nothing follows."""
    pieces = []
    for splice in splices:
        pieces += [header[start : splice.start], splice.data]
        start = splice.end
    text = b"".join((*pieces, header[start:end]))
    blank = _BLANK.search(text)
    return text[: blank.start()] if blank is not None else text


def _split(header: bytes) -> list[bytes]:
    return _FIELD.findall(header)


def _spelled(raw: bytes) -> str:
    return raw.partition(b":")[0].strip(_AROUND).decode("latin-1") if b":" in raw else ""


def _name(raw: bytes) -> str:
    return _spelled(raw).lower()


def _new(op: FieldOp, raw: bytes, index: int = 1) -> FieldEdit:
    value = raw.partition(b":")[2]
    value = value.removeprefix(b" ").removesuffix(b"\n").removesuffix(b"\r")
    return FieldEdit(op, _spelled(raw), value, index)
