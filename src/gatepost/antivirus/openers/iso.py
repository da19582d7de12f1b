"""ISO 9660 images, in each of the readings that systems have of them.

Opener of `unpack.ARCHIVES`. One image may hold different trees: the plain one with its Rock Ridge names, the one of
Joliet, and a UDF file system, which Windows prefers to both.
"""

import itertools
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import extension_of
from gatepost.antivirus.openers.archive import ISO, read_archive
from gatepost.antivirus.openers.udf import open_udf
from gatepost.antivirus.opening import Member, Opening

SECTOR: Final = 2048
FIRST_DESCRIPTOR: Final = 16 * SECTOR
DESCRIPTORS: Final = 32
"""Descriptors looked at; images have three to six."""
_SUPPLEMENTARY: Final = 2
_UDF_MARKS: Final = (b"NSR02", b"NSR03")


def open_iso(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield what every reading of the image shows; the same content once, unless it is another kind of file by name."""
    found = [data[at : at + 6] for at in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + DESCRIPTORS * SECTOR, SECTOR)]
    readings = ["!joliet"]
    if any(each[:1] == bytes((_SUPPLEMENTARY,)) and each[1:] == b"CD001" for each in found):
        readings = ["!rockridge", "!joliet"]
    trees: list[Iterator[Member]] = [read_archive(data, 0, ISO, opening, options) for options in readings]
    if any(each[1:] in _UDF_MARKS for each in found):
        trees.append(open_udf(data, name, opening))
    given: set[int] = set()
    for member in itertools.chain.from_iterable(trees):
        print_of_it = hash((member.data, member.trouble, extension_of(member.name)))
        if member.data is None or print_of_it not in given:
            given.add(print_of_it)
            yield member
