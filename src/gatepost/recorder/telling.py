"""Records and summaries as others get them: plain objects with names, queue ids as texts. Pure.

Used by the JSON lines and by answers to searches. Text from outside is as it came; whoever shows it cleans it.
"""

import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple

from gatepost.model.ids import format_queue_id
from gatepost.model.record import Record
from gatepost.storage.tracking.summary import Summary


def tell_record(record: Record) -> dict[str, Any]:
    """Return a record as an object: its `type`, then its fields; ids of 0 are left out."""
    form = _object_form(type(record))
    told: dict[str, Any] = msgspec.to_builtins(_name(form, record, form.kind(form.tag, *astuple(record)), _Ids()))
    return told


def name_lines(records: Iterable[Record], source: str, number: int, shard: int) -> list[msgspec.Struct]:
    """Return what is encoded as lines: objects as `tell_record` describes, with outbox, number and shard before them.

    The mail that a record is about is called `about`: the source of a record is a mail, that of a line an outbox.
    `number` is the first one's. Done for each record: a tenth of the work of dictionaries.
    """
    lines, ids = [], _Ids()
    for place, record in enumerate(records, number):
        form = _line_form(type(record))
        lines.append(_name(form, record, form.kind(source, place, shard, form.tag, *astuple(record)), ids))
    return lines


class _Ids(dict[int, str | msgspec.UnsetType]):
    """Queue ids as texts: the records of a mail have the same one."""

    def __missing__(self, number: int) -> str | msgspec.UnsetType:
        text = self[number] = format_queue_id(number) if number else UNSET
        return text


def _name(form: "_Form", record: Any, named: Any, ids: _Ids) -> msgspec.Struct:
    """Write ids as texts, and structs that are arrays with names."""
    named.id = ids[record.id]
    if form.has_source:
        named.source = ids[record.source]
    for name, note in form.notes:
        if notes := getattr(record, name):
            setattr(named, name, [note(*astuple(each)) for each in notes])
    return named  # type: ignore[no-any-return]


class _Form(NamedTuple):
    """A kind of record with names: records are arrays."""

    kind: type[msgspec.Struct]
    tag: str
    has_source: bool
    notes: tuple[tuple[str, type[msgspec.Struct]], ...]
    """Fields that hold arrays of other structs."""


@functools.cache
def _object_form(kind: type[Record]) -> _Form:
    return _build_form(kind, {"line_type": "type"})


@functools.cache
def _line_form(kind: type[Record]) -> _Form:
    before = {"line_source": "source", "line_number": "number", "line_shard": "shard", "line_type": "type"}
    return _build_form(kind, before, {"source": "about"})


def _build_form(kind: type[Record], before: dict[str, str], renamed: Mapping[str, str] = MappingProxyType({})) -> _Form:
    names = kind.__struct_fields__
    hints = get_type_hints(kind)
    notes = [
        (name, each)
        for name in names
        for each in get_args(hints[name])
        if isinstance(each, type) and issubclass(each, msgspec.Struct)
    ]
    return _Form(
        msgspec.defstruct(
            kind.__name__, [(name, Any) for name in (*before, *names)], rename={**before, **renamed}, gc=False
        ),
        str(kind.__struct_config__.tag),
        "source" in names,
        tuple((name, _named(each)) for name, each in notes),
    )


def _named(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    return msgspec.defstruct(kind.__name__, [(name, Any) for name in kind.__struct_fields__], gc=False)


def tell_summary(summary: Summary) -> dict[str, Any]:
    """Return a summary as an object."""
    told = msgspec.structs.asdict(summary)
    told["id"] = format_queue_id(summary.id)
    told["source"] = format_queue_id(summary.source) if summary.source else ""
    return told
