"""The file of learned weights as it lies on the disk: whether it is sound, and a blank one.

Called by those who only look after the file (master, doctor), to whom it costs no arrays; its layout is in
`model.learned_weights`. Only the learner makes the file or replaces it (the first one the master lays, before anybody
maps it). All others read it, and work with the base model alone where they cannot.
"""

import os
import stat
from array import array
from math import isfinite
from pathlib import Path
from typing import Final

import msgspec

from gatepost.model.learned_weights import FILE_SIZE, MAGIC, PAGE, STATE, pack_blank_state

_STEP: Final = 64 * 1024
"""Bytes of values that are added up at once."""
_BLANK: Final = bytes(_STEP)
_NO_NUMBERS: Final = "it holds values that are no numbers"


class Look(msgspec.Struct, frozen=True):
    """What a look at the file said."""

    inode: int = 0
    """Of a sound file; 0 for any other. One that is mapped somewhere is not used again, so a new file has a new one."""
    trouble: str = ""
    """Why it cannot be used, in words."""


def look_at(path: Path) -> Look:
    """Look at size and head of the file: cheap enough to be done every few seconds. Never raises for what it finds."""
    try:
        # Whoever put a pipe in its place shall not keep us waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Look(trouble="there is none")
    except OSError as error:
        return Look(trouble=f"it cannot be read: {error.strerror}")
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return Look(trouble="it is not a file")
        head = os.read(descriptor, len(MAGIC))
    except OSError as error:
        return Look(trouble=f"it cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)
    if facts.st_size != FILE_SIZE:
        return Look(trouble=f"it has {facts.st_size} bytes, not {FILE_SIZE}")
    if head != MAGIC:
        return Look(trouble="it is damaged, or of another version of the program")
    return Look(facts.st_ino)


def find_no_numbers(path: Path) -> str:
    """Read all values of a file whose head is sound; return in words that some are no numbers, "" when all are, or when
    it cannot be read, which `look_at` tells. Takes some tenths of a second at most.
    """
    try:
        with path.open("rb", buffering=0) as stream:
            head = stream.read(PAGE)
            if len(head) < STATE.size or not all(map(isfinite, STATE.unpack_from(head)[3:])):
                return _NO_NUMBERS if head.startswith(MAGIC) else ""
            while len(chunk := stream.read(_STEP)) >= array("f").itemsize:
                if not _BLANK.startswith(chunk) and not isfinite(sum(array("f", chunk[: len(chunk) & ~3]))):
                    return _NO_NUMBERS
    except OSError:
        return ""
    return ""


def lay_blank(path: Path) -> None:
    """Make a file in which nothing was learned, over whatever lies there. Most of it is a hole. OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pack_blank_state())
        stream.truncate(FILE_SIZE)
