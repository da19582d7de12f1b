"""The subject of a message, for those who look for it later. Called by the filter. Pure, never raises."""

from gatepost.mime.part import Message
from gatepost.mime.words import decode_header
from gatepost.model.finding import SUBJECT_LIMIT

_RAW_LIMIT = 8 * SUBJECT_LIMIT
"""Bytes that are decoded: encoded words are longer than what they say."""


def read_subject(message: Message) -> str:
    """Return the text of the first Subject field, cut at `SUBJECT_LIMIT` characters; "" without one. Not cleaned."""
    for field in message.root.fields:
        if field.name == b"subject":
            raw = message.content[field.value : min(field.value_end, field.value + _RAW_LIMIT)]
            return decode_header(raw).strip()[:SUBJECT_LIMIT]
    return ""
