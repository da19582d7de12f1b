"""Opens what is packed: which kinds are containers, and who opens them.

Called by `stage` for every object. Kinds that are known to pack something but have no opener here are `error`: what was
not looked into must not pass as clean.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from gatepost.antivirus.budget import OverBudget
from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.openers import archive
from gatepost.antivirus.openers.activemime import open_active_mime
from gatepost.antivirus.openers.apple import open_apple
from gatepost.antivirus.openers.archive import open_cab, open_tar, opener_of
from gatepost.antivirus.openers.arj import open_arj
from gatepost.antivirus.openers.calendar import open_calendar
from gatepost.antivirus.openers.cms import open_cms
from gatepost.antivirus.openers.disk import open_disk_image
from gatepost.antivirus.openers.encoded import open_encoded
from gatepost.antivirus.openers.gzip import open_gzip
from gatepost.antivirus.openers.html import open_page
from gatepost.antivirus.openers.iso import open_iso
from gatepost.antivirus.openers.lnk import open_lnk
from gatepost.antivirus.openers.mailbase import open_mail, open_mbox
from gatepost.antivirus.openers.msg import open_msg
from gatepost.antivirus.openers.ole import open_ole
from gatepost.antivirus.openers.onenote import open_onenote
from gatepost.antivirus.openers.ooxml import open_office, open_packed
from gatepost.antivirus.openers.pdf import open_pdf
from gatepost.antivirus.openers.pgp import open_pgp
from gatepost.antivirus.openers.polyglot import open_others
from gatepost.antivirus.openers.rar import open_rar
from gatepost.antivirus.openers.rtf import open_rtf
from gatepost.antivirus.openers.seven_zip import open_seven_zip
from gatepost.antivirus.openers.stream import (
    open_bzip2,
    open_compress,
    open_lz4,
    open_lzip,
    open_lzma,
    open_szdd,
    open_xz,
    open_zstd,
)
from gatepost.antivirus.openers.texts import open_script, open_text
from gatepost.antivirus.openers.tnef import open_tnef
from gatepost.antivirus.openers.udf import open_udf
from gatepost.antivirus.openers.xml import open_xml
from gatepost.antivirus.opening import Member, Opener, Opening

ARCHIVES: Final[Mapping[Kind, Opener | None]] = {
    Kind.ZIP: open_packed,
    Kind.GZIP: open_gzip,
    Kind.BZIP2: open_bzip2,
    Kind.XZ: open_xz,
    Kind.LZMA: open_lzma,
    Kind.LZIP: open_lzip,
    Kind.ZSTD: open_zstd,
    Kind.LZ4: open_lz4,
    Kind.COMPRESS: open_compress,
    Kind.SZDD: open_szdd,
    Kind.TAR: open_tar,
    Kind.CPIO: opener_of(archive.CPIO),
    Kind.AR: opener_of(archive.AR),
    Kind.RPM: opener_of(archive.RPM),
    Kind.XAR: opener_of(archive.XAR),
    Kind.LHA: opener_of(archive.LHA),
    Kind.CAB: open_cab,
    Kind.RAR: open_rar,
    Kind.SEVEN_ZIP: open_seven_zip,
    Kind.ISO: open_iso,
    Kind.ARJ: open_arj,
    Kind.DISK_IMAGE: open_disk_image,
    Kind.UDF: open_udf,
    Kind.ACE: None,
    Kind.CHM: None,
    Kind.OTHER_ARCHIVE: None,
}
"""Opened with `ScanOptions.archives`; None: nobody here can."""
DOCUMENTS: Final[Mapping[Kind, Opener | None]] = {
    Kind.OOXML: open_office,
    Kind.ODF: open_office,
    Kind.OLE: open_ole,
    Kind.RTF: open_rtf,
    Kind.PDF: open_pdf,
    Kind.HTML: open_page,
    Kind.SVG: open_page,
    Kind.XML: open_xml,
    Kind.LNK: open_lnk,
    Kind.ONENOTE: open_onenote,
    Kind.TNEF: open_tnef,
    Kind.ACTIVE_MIME: open_active_mime,
    Kind.UUENCODE: open_encoded,
    Kind.YENC: open_encoded,
    Kind.BINHEX: open_encoded,
    Kind.SCRIPT: open_script,
    Kind.CALENDAR: open_calendar,
    Kind.CMS: open_cms,
    Kind.PGP: open_pgp,
    Kind.APPLE: open_apple,
    Kind.ENCODED_TEXT: open_text,
}
"""Files that carry others (documents, pages, encodings): always opened."""
MAIL_BASES: Final[Mapping[Kind, Opener | None]] = {Kind.MBOX: open_mbox, Kind.MAIL: open_mail, Kind.MSG: open_msg}
"""Opened with `ScanOptions.mail_bases`."""


def is_opened(kind: Kind, opening: Opening) -> bool:
    """Tell whether an object of this kind is to be opened."""
    options = opening.options
    return kind in DOCUMENTS or (kind in ARCHIVES and options.archives) or (kind in MAIL_BASES and options.mail_bases)


def open_container(data: bytes, kind: Kind, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of a container that `is_opened`. OverBudget when the message has cost enough."""
    opener = ARCHIVES.get(kind) or DOCUMENTS.get(kind) or MAIL_BASES.get(kind)
    if opener is None:
        what = f"archive-not-opened: files of kind {kind} cannot be opened, so nobody knows what is in it"
        yield Member("", trouble=what)
        return
    members = opener(data, name, opening)
    if opening.options.archives:
        members = open_others(data, kind, name, opening, members)
    try:
        yield from members
    except (OverBudget, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a fault of an opener must not make the rest look scanned
        yield Member("", trouble=f"opening it failed: {type(error).__name__}: {error}")
