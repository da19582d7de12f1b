"""Archives that libarchive reads: tar, cpio, ar, 7z, rar, cab, ISO images, lha, xar and rpm.

Openers of `unpack.ARCHIVES`. Only the formats a kind stands for are switched on. Every block is taken from the budget
before it is kept; what was read of a member before the archive broke is still given. Links, folders and devices hold
nothing to scan and are counted only.
"""

import re
from collections.abc import Generator, Iterator
from typing import Final

from gatepost.antivirus import appended
from gatepost.antivirus.appended import find_first
from gatepost.antivirus.budget import Budget, Content
from gatepost.antivirus.kinds import is_old_tar
from gatepost.antivirus.libarchive import FOLDER, LINK, ArchiveReader, Broken, Entry
from gatepost.antivirus.opening import Member, Opener, Opening

NAME_LIMIT: Final = 255
TAR: Final = ("format_tar",)
CPIO: Final = ("format_cpio",)
AR: Final = ("format_ar",)
SEVEN_ZIP: Final = ("format_7zip",)
RAR: Final = ("format_rar",)
RAR5: Final = ("format_rar5",)
CAB: Final = ("format_cab",)
ISO: Final = ("format_iso9660",)
LHA: Final = ("format_lha",)
XAR: Final = ("format_xar",)
RPM: Final = (
    "filter_rpm", "filter_gzip", "filter_bzip2", "filter_xz", "filter_lzma", "filter_zstd", "format_cpio",
)  # fmt: skip

TAR_BLOCK: Final = 512
_FILLED = re.compile(rb"[^\0]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LOCKED = re.compile(r"encrypt|[Cc]rypto|passphrase")
"""The library's words for what a password keeps shut."""
_LIMITS: Final = {
    "rar solid archive": "a solid RAR 4 archive, which is not read, so nobody knows what is in it",
    "multivolume": "it is one of several volumes, and the others are not here",
}
"""What the library cannot do rather than cannot make out, by its own words in lower case."""


def opener_of(supports: tuple[str, ...]) -> Opener:
    """Return the opener for archives of these formats that begin with the first byte."""

    def open_archive(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
        return read_archive(data, 0, supports, opening)

    return open_archive


def open_tar(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of a tar archive and of those behind its end, which `tar --ignore-zeros` reads as well."""
    start = 0
    while start >= 0:
        end = yield from read_archive(data, start, TAR, opening)
        opening.budget.take_member()  # an archive may hold nothing, and there may be a thousand
        start = _find_next_tar(data, max(end, start + TAR_BLOCK))


def _find_next_tar(data: bytes, end: int) -> int:
    """Return where a header stands in the first block behind `end` that is not all zeros; -1: nowhere."""
    behind = _FILLED.search(data, end)
    if behind is None:
        return -1
    start = behind.start() - (behind.start() - end) % TAR_BLOCK
    header = data[start : start + TAR_BLOCK]
    return start if header[257:262] == b"ustar" or is_old_tar(header) else -1


def open_cab(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of the first cabinet in `data`."""
    return read_archive(data, find_first(data, appended.CAB), CAB, opening)


def read_archive(
    data: bytes, start: int, supports: tuple[str, ...], opening: Opening, options: str = ""
) -> Generator[Member, None, int]:
    """Yield the members of the archive that begins at `start`, and return where it ends. OverBudget; all other trouble
    is a member's.

    `options`: as the library has them, for example "!joliet".
    """
    budget = opening.budget
    packed = len(data) - start
    given = 0
    empty = True
    with ArchiveReader(data, start, supports, options) as reader:
        while True:
            try:
                entry = reader.next_entry()
            except Broken as error:
                if is_locked(error):
                    yield Member("", protected=True)
                else:
                    yield Member("", trouble=f"archive cannot be read: {_explain(error)}")
                return len(data)
            if entry is None:
                if empty:  # damage that the library took for the end
                    yield Member("", trouble="archive holds nothing that can be read")
                return start + reader.consumed
            empty = False
            budget.take_member()
            if entry.kind in {FOLDER, LINK}:
                continue
            member = _read_member(reader, entry, budget, Content(budget, packed, given))
            given += len(member.data or b"")
            yield member


def _read_member(reader: ArchiveReader, entry: Entry, budget: Budget, content: Content) -> Member:
    name = clean_name(entry.name)
    trouble = entry.trouble
    try:
        while (block := reader.read_block()) is not None:
            content.write_at(*block)
            budget.take_time()
        if entry.sparse_size > 0:
            content.extend(entry.sparse_size)
        trouble = trouble or reader.warning
    except Broken as error:
        if entry.encrypted or is_locked(error):
            return Member(name, protected=True)
        trouble = f"archive member cannot be read: {_explain(error)}"
    return Member(name, content.take(), trouble=trouble)


def _explain(error: Broken) -> str:
    """Return what the library says, in an administrator's words where it is a limit and not damage."""
    text = str(error)
    return next((words for mark, words in _LIMITS.items() if mark in text.lower()), text)


def is_locked(error: Broken) -> bool:
    """Tell whether the library says that a password is missing."""
    return _LOCKED.search(str(error)) is not None


def clean_name(name: str) -> str:
    """Return a member's name as it may be shown: bounded, the end kept, without control characters."""
    return _CONTROL.sub("?", name[-NAME_LIMIT:])
