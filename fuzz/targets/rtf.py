"""RTF documents: objects in hex, fields, templates."""

from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.openers.rtf import open_rtf

from .opened import check

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 2000


def execute(data: bytes) -> None:
    """Open the input as RTF."""
    check(open_rtf, b"{\\rtf1" + data)


WORDS: Final = (
    b"{\\*\\objdata ", b"\\object", b"\\objupdate", b"\\bin4 ", b"\\bin-1 ", b"\\'41", b"{\\*\\", b"{", b"}", b"0105000002000000", b"0B000000",
    b"{\\*\\fldinst ", b"DDEAUTO", b"\\u68 ?", b"{\\*\\template ", b"d0cf11e0a1b11ae1", b"\\datastore", b"\\par",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield one object in each disguise."""
    header = b"0105000002000000080000005061636b616765000000000000000000"
    package = b"0200612e65786500433a5c612e657865000000030004000000612e657800040000004d5a9000"
    whole = header + b"%08x" % int.from_bytes((len(package) // 2).to_bytes(4, "little"), "big") + package
    yield b"{\\object\\objupdate{\\*\\objdata " + whole + b"}}"
    yield (
        b"{\\object{\\*\\objdata "
        + whole[:20]
        + b"{\\*\\x 00}\\par\\'00{"
        + whole[20:40]
        + b"}\\bin2 ab"
        + whole[44:]
        + b"}}"
    )
    yield b"{\\*\\objdata d0cf11e0a1b11ae1}{\\field{\\*\\fldinst {\\b DDE}AUTO \\u99 ?md}}{\\*\\template http://a/b}"
