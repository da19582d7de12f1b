"""Mail in the directories of other installations: files of messages, Maildirs and mboxes. Reads, and changes nothing.

How older gateways laid out queue, archives and quarantine is not documented. Taken is therefore what can be told for
sure: a file that begins with a header (RFC 5322), with an envelope file of its name beside it (`NAME.env` or
`NAME.envelope`) or without; a Maildir; an mbox. Everything else is named as left, with the reason.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gatepost.migration.envelopes import Told, parse_envelope, read_header

SIZE_LIMIT: Final = 512 * 1024 * 1024
"""Bytes of one file: more than a documented gateway accepted, and it is read whole."""
ENVELOPE_LIMIT: Final = 16 * 1024 * 1024
ENVELOPES: Final = (".env", ".envelope")
MESSAGES: Final = (".eml", ".msg", ".mail")
_SKIPPED: Final = re.compile(r"(?i)(\.|lock$|.*\.(lock|pid|idx|db|db-wal|db-shm|log|tmp)$)")
"""Names of what installations keep beside mail."""
_HEADER: Final = re.compile(rb"(?:[!-9;-~]+[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*)+(?:\r?\n|\Z)")
_MBOX: Final = re.compile(rb"(?m)^From [^ \r\n]+ +(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [^\r\n]*\r?\n")
"""A line of text that begins with From has no day of the week there."""
_QUOTED: Final = re.compile(rb"(?m)^>(>*From )")
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class Mail(msgspec.Struct, frozen=True):
    """One message."""

    path: Path
    content: bytes
    """With the line ends of SMTP."""
    at: float
    """When its file was written last (Unix seconds)."""
    told: Told | None
    """None: nobody says whom it is for."""
    number: int = 0
    """Place in an mbox, from 1."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return f"{self.path}#{self.number}" if self.number else str(self.path)


class Left(msgspec.Struct, frozen=True):
    """A file, or a message in it, that is not taken."""

    name: str
    why: str


def read_mail(directory: Path, listing: dict[str, Told]) -> Iterator[Mail | Left]:
    """Yield what there is below a directory, in the order of names. `listing`: envelopes by the tools' ids."""

    def complain(error: OSError) -> None:
        troubles.append(Left(str(error.filename), (error.strerror or str(error)).lower()))

    troubles: list[Left] = []
    for folder, names, files in os.walk(directory, onerror=complain):
        names.sort()
        for name in sorted(files):
            path = Path(folder, name)
            if _SKIPPED.match(name) or name.endswith(ENVELOPES):
                continue
            yield from _read_file(path, listing)
    yield from troubles


def _read_file(path: Path, listing: dict[str, Told]) -> Iterator[Mail | Left]:
    try:
        raw, at = _read_raw(path)
        if _MBOX.match(raw):
            yield from _read_mbox(path, raw, at)
            return
        told = listing.get(_stem(path)) or _read_beside(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        yield Left(str(path), why or str(error))
        return
    if not _HEADER.match(raw):
        yield Left(str(path), "it does not begin with the header of a message")
        return
    yield Mail(path, _LINE_END.sub(b"\r\n", raw), at, told or read_header(raw))


def _read_raw(path: Path) -> tuple[bytes, float]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if found.st_size > SIZE_LIMIT:
            raise ValueError(f"it is larger than {SIZE_LIMIT // 1024**2} MiB")
        return file.read(SIZE_LIMIT), found.st_mtime


def _stem(path: Path) -> str:
    name = path.name.partition(":2,")[0]  # of a Maildir
    return next((name.removesuffix(end) for end in MESSAGES if name.endswith(end)), name)


def _read_beside(path: Path) -> Told | None:
    """Return what the envelope file of a message says, None when there is none. OSError, ValueError."""
    for stem in dict.fromkeys((path.name, _stem(path))):
        for end in ENVELOPES:
            beside = path.with_name(stem + end)
            if beside.is_file():
                with beside.open("rb") as file:
                    try:
                        return parse_envelope(file.read(ENVELOPE_LIMIT))
                    except ValueError as error:
                        raise ValueError(f"its envelope file cannot be used: {error}") from error
    return None


def _read_mbox(path: Path, raw: bytes, at: float) -> Iterator[Mail | Left]:
    starts = [found.end() for found in _MBOX.finditer(raw) if _begins(raw, found.start())]
    ends = [*[found.start() for found in _MBOX.finditer(raw) if _begins(raw, found.start())][1:], len(raw)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
        content = _QUOTED.sub(rb"\1", raw[start:end])
        if not _HEADER.match(content):
            yield Left(f"{path}#{number}", "it does not begin with the header of a message")
            continue
        content = _LINE_END.sub(b"\r\n", content).removesuffix(b"\r\n")
        yield Mail(path, content, at, read_header(content), number)


def _begins(raw: bytes, at: int) -> bool:
    """Tell whether a line that begins with From begins a message: it stands at the start, or behind an empty line."""
    return at == 0 or raw[max(0, at - 3) : at].endswith((b"\n\n", b"\n\r\n"))
