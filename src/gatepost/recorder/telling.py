"""Records and summaries as others get them: plain objects with names, queue ids as texts. Pure.

Used by the JSON lines and by answers to searches. Text from outside is as it came; whoever shows it cleans it.
"""

import functools
from typing import Any, Final, NamedTuple, get_args, get_type_hints

import msgspec

from gatepost.model.ids import format_queue_id
from gatepost.model.record import Record
from gatepost.storage.tracking.summary import Summary

_IDS: Final = ("id", "source")


def tell_record(record: Record) -> dict[str, Any]:
    """Return a record as an object: its `type`, then its fields; ids of 0 are left out."""
    told: dict[str, Any] = msgspec.to_builtins(name_record(record, "source"))
    return told


def name_record(record: Record, source: str) -> msgspec.Struct:
    """Return what is encoded as the object that `tell_record` describes: a fifth of the work of a dictionary.

    `source`: the name under which it has the mail it is about.
    """
    form = _form_of(type(record), source)
    values = list(msgspec.structs.astuple(record))
    for index in form.ids:
        values[index] = format_queue_id(values[index]) if values[index] else msgspec.UNSET
    for index, note in form.notes:
        values[index] = [note(*msgspec.structs.astuple(each)) for each in values[index]]
    return form.kind(*values)


class _Form(NamedTuple):
    """A kind of record with names: records are arrays."""

    kind: type[msgspec.Struct]
    ids: tuple[int, ...]
    """Fields that hold ids ..."""
    notes: tuple[tuple[int, type[msgspec.Struct]], ...]
    """... and those that hold arrays of other structs."""


@functools.cache
def _form_of(kind: type[Record], source: str) -> _Form:
    names = kind.__struct_fields__
    hints = get_type_hints(kind)
    notes = [
        (index, each)
        for index, name in enumerate(names)
        for each in get_args(hints[name])
        if isinstance(each, type) and issubclass(each, msgspec.Struct)
    ]
    return _Form(
        msgspec.defstruct(
            kind.__name__,
            [(name, Any) for name in names],
            tag_field="type",
            tag=kind.__struct_config__.tag,
            rename={"source": source},
            gc=False,
        ),
        tuple(names.index(name) for name in _IDS if name in names),
        tuple((index, _named(each)) for index, each in notes),
    )


def _named(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    return msgspec.defstruct(kind.__name__, [(name, Any) for name in kind.__struct_fields__], gc=False)


def tell_summary(summary: Summary) -> dict[str, Any]:
    """Return a summary as an object."""
    told = msgspec.structs.asdict(summary)
    told["id"] = format_queue_id(summary.id)
    told["source"] = format_queue_id(summary.source) if summary.source else ""
    return told
