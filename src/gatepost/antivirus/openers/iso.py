"""ISO 9660 images, in each of the readings that systems have of them.

Opener of `unpack.ARCHIVES`. One image may hold different trees: the plain one with its Rock Ridge names, the one of
Joliet (which Windows shows), and a UDF file system, which is not read here and therefore trouble.
"""

from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.openers.archive import ISO, read_archive
from gatepost.antivirus.opening import Member, Opening

SECTOR: Final = 2048
FIRST_DESCRIPTOR: Final = 16 * SECTOR
DESCRIPTORS: Final = 32
"""Descriptors looked at; images have three to six."""
_SUPPLEMENTARY: Final = 2
_UDF_MARKS: Final = (b"NSR02", b"NSR03")


def open_iso(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield what every reading of the image shows; the same content once."""
    found = [data[at : at + 6] for at in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + DESCRIPTORS * SECTOR, SECTOR)]
    readings = ["!joliet"]
    if any(each[:1] == bytes((_SUPPLEMENTARY,)) and each[1:] == b"CD001" for each in found):
        readings = ["!rockridge", "!joliet"]
    given: set[int] = set()
    for options in readings:
        for member in read_archive(data, 0, ISO, opening, options):
            print_of_it = hash((member.data, member.trouble))
            if member.data is None or print_of_it not in given:
                given.add(print_of_it)
                yield member
    if any(each[1:] in _UDF_MARKS for each in found):
        yield Member("", trouble="the image has a UDF file system as well, which cannot be read")
