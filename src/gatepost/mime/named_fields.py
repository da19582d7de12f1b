"""Header fields of certain names: where they stand and what they say, for rules. Pure.

Called in the filter for messages whose rules ask for fields (`ScanOptions.fields`). Only the header of the message
itself counts, never that of a message inside it.
"""

from collections.abc import Sequence
from typing import Final

from gatepost.mime.part import Message
from gatepost.mime.words import decode_header
from gatepost.model.finding import FIELDS_LIMIT, NamedField
from gatepost.model.spam import FieldSpot

VALUE_LIMIT: Final = 1_000
"""Characters told of a value ..."""
VALUES_LIMIT: Final = 64 * 1_000
"""... and of all together: what has more was made to be dear. Where the rest stands is told all the same."""


def find_named(message: Message, names: Sequence[str]) -> tuple[NamedField, ...]:
    """Return the fields with these names (lower case) in order."""
    wanted = {name.encode("ascii", "replace"): name for name in names}
    content, told = message.content, 0
    found: list[NamedField] = []
    for field in message.root.fields:
        name = wanted.get(field.name)
        if name is None:
            continue
        if len(found) == FIELDS_LIMIT:
            break
        value = field.value + content.startswith((b" ", b"\t"), field.value, field.value_end)
        text = ""
        if told < VALUES_LIMIT:
            text = decode_header(content[value : min(field.value_end, value + 8 * VALUE_LIMIT)])[:VALUE_LIMIT]
            told += len(text)
        found.append(NamedField(name, FieldSpot(field.start, field.end, value, text)))
    return tuple(found)
