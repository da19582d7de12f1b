"""Opens what is packed: which kinds are containers, and who opens them.

Called by `stage` for every object. Kinds that are known to pack something but have no opener here are `error`: what was
not looked into must not pass as clean.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.openers.gzip import open_gzip
from gatepost.antivirus.openers.zip import open_zip
from gatepost.antivirus.opening import Member, Opener, Opening

ARCHIVES: Final[Mapping[Kind, Opener | None]] = {
    Kind.ZIP: open_zip,
    Kind.GZIP: open_gzip,
    Kind.RAR: None,
    Kind.SEVEN_ZIP: None,
    Kind.BZIP2: None,
    Kind.XZ: None,
    Kind.CAB: None,
    Kind.LHA: None,
    Kind.ARJ: None,
    Kind.ZSTD: None,
    Kind.LZ4: None,
    Kind.COMPRESS: None,
    Kind.ACE: None,
    Kind.LZIP: None,
    Kind.XAR: None,
    Kind.TAR: None,
    Kind.ISO: None,
}
"""Opened with `ScanOptions.archives`; None: nobody here can."""
DOCUMENTS: Final[Mapping[Kind, Opener | None]] = {Kind.OOXML: open_zip, Kind.ODF: open_zip}
"""Files that carry others (documents, pages, encodings): always opened."""
MAIL_BASES: Final[Mapping[Kind, Opener | None]] = {}
"""Opened with `ScanOptions.mail_bases`."""


def is_opened(kind: Kind, opening: Opening) -> bool:
    """Tell whether an object of this kind is to be opened."""
    options = opening.options
    return kind in DOCUMENTS or (kind in ARCHIVES and options.archives) or (kind in MAIL_BASES and options.mail_bases)


def open_container(data: bytes, kind: Kind, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of a container that `is_opened`. OverBudget when the message has cost enough."""
    opener = ARCHIVES.get(kind) or DOCUMENTS.get(kind) or MAIL_BASES.get(kind)
    if opener is None:
        yield Member("", trouble=f"archive-not-opened: files of kind {kind} cannot be opened")
        return
    yield from opener(data, name, opening)
