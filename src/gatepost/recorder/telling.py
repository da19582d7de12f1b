"""Records and summaries as others get them: plain objects with names, queue ids as texts. Pure.

Used by the JSON lines and by answers to searches. Text from outside is as it came; whoever shows it cleans it.
"""

from typing import Any, Final

import msgspec

from gatepost.model.ids import format_queue_id
from gatepost.model.record import Record
from gatepost.storage.tracking.summary import Summary

_IDS: Final = frozenset({"id", "source"})


def tell_record(record: Record) -> dict[str, Any]:
    """Return a record as an object: its `type`, then its fields; ids of 0 are left out."""
    told: dict[str, Any] = {"type": record.__struct_config__.tag}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name in _IDS:
            if value:
                told[name] = format_queue_id(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
            told[name] = [msgspec.structs.asdict(each) for each in value]
        else:
            told[name] = value
    return told


def tell_summary(summary: Summary) -> dict[str, Any]:
    """Return a summary as an object."""
    told = msgspec.structs.asdict(summary)
    told["id"] = format_queue_id(summary.id)
    told["source"] = format_queue_id(summary.source) if summary.source else ""
    return told
