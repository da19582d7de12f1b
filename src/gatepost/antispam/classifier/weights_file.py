"""The file of learned weights as it lies on the disk: its layout, whether it is sound, and a blank one.

Imported by those who only look after the file (master, doctor), so it costs them no arrays; `classifier.learned` maps
it. Only the learner makes the file or replaces it (the first one the master lays, before anybody maps it). All others
read it, and work with the base model alone where they cannot.
"""

import os
import stat
import struct
from pathlib import Path
from typing import Final

import msgspec

TEXT_BITS: Final = 18
"""Slots of the text table: 16 bits cost an eighth of the accuracy, 20 bits gain nothing."""
HEADER_BITS: Final = 18
MAGIC: Final = b"GPLEARN1"
DOMAINS: Final = 32
"""Recipient domains with weights of their own; further ones learn with the gateway."""
DOMAIN_SHIFT: Final = 2
"""A domain's tables have a quarter of the slots: it learns from fewer messages."""
STATE: Final = struct.Struct("<8sIIddd")
PAGE: Final = 16 * 1024
GATEWAY_SLOTS: Final = (1 << TEXT_BITS) + (1 << HEADER_BITS)
DOMAIN_SLOTS: Final = GATEWAY_SLOTS >> DOMAIN_SHIFT
FILE_SIZE: Final = PAGE + 4 * (GATEWAY_SLOTS + DOMAINS * DOMAIN_SLOTS)


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


def pack_blank_state() -> bytes:
    """Return the beginning of a file in which nothing was learned; the rest of it is zeros."""
    return STATE.pack(MAGIC, 0, 0, 1.0, 1.0, 0.0)


def lay_blank(path: Path) -> None:
    """Make a file in which nothing was learned, over whatever lies there. Most of it is a hole. OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pack_blank_state())
        stream.truncate(FILE_SIZE)
