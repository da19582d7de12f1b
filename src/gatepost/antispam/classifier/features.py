"""What the classifier sees of a message: hashed runs of characters of its text and of its header.

Used by `classifier.check` (in the filter) and by training. Pure; linear in the limits below, not in the size of the
message. Characters are UTF-16 units, so that a run means the same in every script.
"""

import re
import zlib
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gatepost.antispam.view import MailView
from gatepost.model.learned_weights import HEADER_BITS, TEXT_BITS

Indices: TypeAlias = npt.NDArray[np.uint32]

TEXT_RUN = 5
"""Characters of a run of text: the best of 3 to 6 for mail of other places and times."""
HEADER_RUN = 5
HEAD_LIMIT = 3_000
"""Characters of the text looked at from its start: more gained nothing."""
TAIL_LIMIT = 700
"""And from its end, where newsletters say who sends them and how to stop them."""
_ENOUGH = 2 * (HEAD_LIMIT + TAIL_LIMIT)
"""Characters, white space included, out of which start and end are taken."""
VALUE_LIMIT = 100
"""Bytes of one field: what follows tells machines apart, not senders."""
HEADER_LIMIT = 4_000
FIELDS_LIMIT = 100
_OUR_LABEL = re.compile(r"^(?:\s*\[(?:!!|\?\?|--)[^\]]{1,40}\])+")
"""Labels of verdicts in a subject: a message that is learned from a mailbox may bear one."""
_DIGITS = (ord("0"), ord("9"))
_PLAIN = bytes(range(128)).lower().translate(bytes.maketrans(b"123456789", b"0" * 9)) + bytes(128)
"""ASCII in lower case with its digits made alike."""
_STEP = np.uint32(0x01000193)
_MIX = np.uint32(2654435769)
_MIX_AGAIN = np.uint32(0x85EBCA6B)
_TEXT_SALT = np.uint32(3)
_FOREIGN = (
    "x-spam",
    "authentication-results",
    "x-virus",
    "x-bogosity",
    "x-rspamd",
    "x-text-class",
    "lines",
    "status",
    "x-status",
)
"""Starts of names of fields that hold somebody's verdict, or that a mailbox adds: no evidence, and easily forged."""


class Features(NamedTuple):
    """Slots that a message uses, sorted, each once."""

    text: Indices
    header: Indices


def extract(view: MailView) -> Features:
    """Return the features of a message."""
    return Features(
        distinct(text_runs(text_units(reader_text(view.subject, view.body)))), distinct(header_runs(header_lines(view)))
    )


def reader_text(subject: str, body: str) -> str:
    """Return subject and visible text as the classifier reads them: white space collapsed, start and end only."""
    if len(body) > _ENOUGH:
        body = f"{body[: _ENOUGH - 2 * TAIL_LIMIT]} {body[-2 * TAIL_LIMIT :]}"
    text = " ".join(f"{_OUR_LABEL.sub('', subject)} {body}".split())
    if len(text) > HEAD_LIMIT + TAIL_LIMIT:
        text = f"{text[:HEAD_LIMIT]} {text[-TAIL_LIMIT:]}"
    return f" {text} "


def text_units(text: str) -> Indices:
    """Return the UTF-16 units of a text in lower case, digits made alike: both tell texts apart that say the same."""
    if text.isascii():
        return np.frombuffer(text.encode().translate(_PLAIN), np.uint8).astype(np.uint32)
    units = np.frombuffer(text.lower().encode("utf-16-le", "surrogatepass"), np.uint16).astype(np.uint32)
    units[(units >= _DIGITS[0]) & (units <= _DIGITS[1])] = _DIGITS[0]
    return units


def text_runs(units: Indices) -> Indices:
    """Return the slot of every run of `TEXT_RUN` units, in order."""
    return _runs(units, None, TEXT_RUN, TEXT_BITS)


def header_lines(view: MailView) -> list[tuple[str, bytes]]:
    """Return names and cut values of the fields that count.

    Fields above our own Received field are left out: a message that is learned from a mailbox has more of them than
    the same message had when it came in.
    """
    fields = view.fields[:FIELDS_LIMIT]
    own = f"by {view.options.hostname}".lower().encode() if view.options.hostname else b""
    start = 0
    if own:
        for number, field in enumerate(fields):
            if field.name == "received" and own in field.raw.lower():
                start = number + 1
    prefix = view.options.header_prefix.lower()
    return [
        (field.name, field.raw[:VALUE_LIMIT])
        for field in fields[start:]
        if not field.name.startswith(_FOREIGN) and not field.name.startswith(prefix)
    ]


def header_runs(lines: list[tuple[str, bytes]]) -> Indices:
    """Return the slot of every run of `HEADER_RUN` bytes of the fields, in order; in each field it is another run."""
    pieces, salts, total = [], [], 0
    for name, value in lines:
        piece = b"\n" + value + b"\n\0\0\0\0"
        pieces.append(piece)
        salts.append(_salt(name))
        total += len(piece)
        if total > HEADER_LIMIT:
            break
    units = np.frombuffer(b"".join(pieces), np.uint8).astype(np.uint32)
    return _runs(
        units, np.repeat(np.array(salts, np.uint32), [len(piece) for piece in pieces]), HEADER_RUN, HEADER_BITS
    )


@lru_cache(1024)
def _salt(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "surrogateescape"))


def _runs(units: Indices, salts: Indices | None, length: int, bits: int) -> Indices:
    count = len(units) - length + 1
    if count < 1:
        return np.zeros(0, np.uint32)
    runs = units[:count] + (_TEXT_SALT if salts is None else salts[:count])
    for offset in range(1, length):
        runs *= _STEP
        runs ^= units[offset : offset + count]
    runs *= _MIX
    runs ^= runs >> np.uint32(15)
    runs *= _MIX_AGAIN
    runs >>= np.uint32(32 - bits)
    return runs


def distinct(runs: Indices) -> Indices:
    """Return the slots sorted, each once. Eight times faster than `numpy.unique` for these sizes."""
    if not len(runs):
        return runs
    return _once(np.sort(runs))


def distinct_halves(runs: Indices) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """Return the slots as `distinct` does; those of the first and the second half, sorted, each once in each half; and
    which of these are of the second. All of it with one sort, which is what costs.
    """
    keys = runs << _ONE
    keys[len(runs) // 2 :] |= _ONE
    keys.sort()
    keys = _once(keys)
    slots = keys >> _ONE
    return _once(slots), slots, (keys & _ONE).astype(np.bool_)


def _once(ordered: Indices) -> Indices:
    """Return the last of each run of equals."""
    kept = np.empty(len(ordered), np.bool_)
    kept[-1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=kept[:-1])
    return ordered[kept]


_ONE = np.uint32(1)
