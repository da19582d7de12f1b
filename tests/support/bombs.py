"""All bombs by name, as whole mails, in two sizes: `full` is the one that hurts, the other shows in a test that the
limit is there.

`Bomb.make(full)` builds the mail; nothing is stored. Statuses a bomb may end with are in `Bomb.ends`: never clean, but
for what is no bomb for a gateway that does not decode it.
"""

import bz2
import gzip
import lzma
from collections.abc import Callable
from typing import NamedTuple

from gatepost.model.zstandard import zstd
from tests.support import bombs_documents as documents
from tests.support import bombs_mime as mime
from tests.support import bombs_packed as packed
from tests.support.bombs_mime import RUNS, attached, text
from tests.support.bombs_packed import GIB
from tests.support.quine import build_quine

MIB = 1 << 20
NEVER_CLEAN = frozenset({"error", "protected", "suspicious", "infected", "disinfected"})
HARMLESS = NEVER_CLEAN | {"clean"}
"""Large or odd, and read to its end all the same."""


class Bomb(NamedTuple):
    """One of them."""

    make: Callable[[bool], bytes]
    ends: frozenset[str] = NEVER_CLEAN
    """Headline statuses of the mail."""


def _packed(build: Callable[[int], bytes], full: int, small: int, name: str = "bomb.bin") -> Bomb:
    return Bomb(lambda is_full: attached(build(full if is_full else small), name))


def _mail(build: Callable[[int], bytes], full: int, small: int, ends: frozenset[str] = NEVER_CLEAN) -> Bomb:
    return Bomb(lambda is_full: build(full if is_full else small), ends)


def _file(build: Callable[[int], bytes], name: str, full: int, small: int, ends: frozenset[str] = NEVER_CLEAN) -> Bomb:
    return Bomb(lambda is_full: attached(build(full if is_full else small), name), ends)


def _run(unit: bytes, kind: str) -> Bomb:
    def make(full: bool) -> bytes:
        body = unit * ((4 * MIB if full else MIB // 4) // len(unit))
        return attached(body, "run.bin") if kind == "attached" else text(body, kind)

    return Bomb(make, HARMLESS)


PACKED: dict[str, Bomb] = {
    "gzip": _packed(lambda n: packed.in_a_row(lambda b: gzip.compress(b, mtime=0), 1 << 24, n), GIB, 32 * MIB),
    "bzip2": _packed(lambda n: packed.in_a_row(bz2.compress, 1 << 24, n), GIB, 32 * MIB),
    "xz": _packed(lambda n: packed.in_a_row(lambda b: lzma.compress(b, preset=0), 1 << 25, n), GIB, 32 * MIB),
    "zstd": _packed(lambda n: packed.in_a_row(zstd.compress, 1 << 25, n), GIB, 32 * MIB),
    "zip": _packed(lambda n: packed.zip_by_hand([(b"zeros", packed.deflated(n), n, 0)]), GIB, 32 * MIB),
    "zip that says 10 bytes": _packed(
        lambda n: packed.zip_by_hand([(b"small", packed.deflated(n), 10, 0)]), GIB, 32 * MIB
    ),
    "7z": _packed(packed.seven_zip_of_zeros, 128 * MIB, 32 * MIB),
    "42.zip": _packed(lambda n: packed.nested(5, n), 17, 5),
    "overlapping zip": _packed(lambda n: packed.overlapping(n, 20 * MIB), 250, 20),
    "gzip of itself": Bomb(lambda _: attached(build_quine(), "qq.gz")),
    "many empty members": _packed(packed.many_empty, 1_000_000, 20_000),
    "many members of a tar": _packed(
        lambda n: b"".join(packed.tar_header(str(each), 0) for each in range(n)) + bytes(1024), 100_000, 12_000
    ),
    "many gzip streams": _packed(lambda n: gzip.compress(b"", mtime=0) * n, 1_000_000, 100_000),
    "sparse tar": _packed(packed.sparse_tar, 8 << 40, 8 << 40),
    "tar in tar": _packed(packed.tar_in_tar, 1000, 50),
}
DOCUMENTS: dict[str, Bomb] = {
    "PDF, ten filters": _file(documents.pdf_filters, "a.pdf", GIB, 32 * MIB),
    "PDF with zeros": _file(documents.pdf_of_zeros, "a.pdf", GIB, 72 * MIB),
    "PDF streams in a circle": _file(documents.pdf_circle, "a.pdf", 1000, 10, HARMLESS),
    "PDF trees in a circle": _file(documents.pdf_tree, "a.pdf", 1_000_000, 1000, HARMLESS),
    "PDF actions": _file(documents.pdf_actions, "a.pdf", 200_000, 11_000),
    "docx, entities": _file(lambda n: documents.docx(documents.laughs(n)), "a.docx", GIB, MIB, HARMLESS),
    "docx, one long entity": _file(
        lambda n: documents.docx(documents.quadratic_entity(n)), "a.docx", 4 * MIB, MIB // 8, HARMLESS
    ),
    "docx, depth": _file(lambda n: documents.docx(documents.deep_xml(n)), "a.docx", 100_000, 5_000, HARMLESS),
    "docx, attributes": _file(
        lambda n: documents.docx(documents.many_attributes(n)), "a.docx", 100_000, 5_000, HARMLESS
    ),
    "svg, entities": _file(lambda n: documents.svg(documents.laughs(n)), "a.svg", GIB, MIB, HARMLESS),
    "svg, depth": _file(lambda n: documents.svg(documents.deep_xml(n)), "a.svg", 100_000, 5_000, HARMLESS),
    "RTF, depth": _file(documents.deep_rtf, "a.rtf", 1_000_000, 20_000, HARMLESS),
    "RTF, objects": _file(documents.rtf_objects, "a.rtf", 100_000, 11_000),
    "RTF, binary data": _file(documents.rtf_binary, "a.rtf", 50 * MIB, MIB, HARMLESS),
    "compound file in a circle": _file(documents.ole_circle, "a.doc", 20_000, 100),
    "page of files": _file(documents.html_urls, "a.html", 200_000, 11_000),
    "page, depth": _file(documents.deep_html, "a.html", 500_000, 10_000, HARMLESS),
    "mail base": _file(documents.mbox, "a.mbox", 500_000, 11_000),
    "TNEF": _file(documents.tnef, "winmail.dat", 200_000, 11_000),
    "picture": _file(documents.png, "a.png", 65_000, 4_000, HARMLESS),
}
MIME: dict[str, Bomb] = {
    "header fields": _mail(mime.fields, 100_000, 21_000),
    "long field": _mail(mime.long_field, 50 * MIB, 2 * MIB),
    "parts": _mail(mime.parts, 100_000, 21_000),
    "multiparts in each other": _mail(mime.deep, 10_000, 200),
    "messages in each other": _mail(mime.forwarded, 1_000, 200),
    "encoded messages in each other": _mail(mime.forwarded_encoded, 40, 15, HARMLESS),
    "long boundary": _mail(mime.long_boundary, 10_240, 10_240, HARMLESS),
    "base64 on one line": _mail(mime.one_line, 100 * MIB, 2 * MIB, HARMLESS),
    "name in pieces": _mail(mime.continuations, 1_000_000, 70_000),
    "encoded words": _mail(mime.encoded_words, 50 * MIB, 2 * MIB),
    "addresses": _mail(mime.addresses, 1_000_000, 30_000),
    "encoded blocks": _mail(mime.uu_blocks, 1_000_000, 30_000),
    "readings": _mail(mime.readings, 500_000, 10_000),
}
REPEATED: dict[str, Bomb] = {
    f"{name} ({kind})": _run(unit, kind)
    for name, unit in RUNS.items()
    for kind in ("text/plain", "text/html", "attached")
}
BOMBS: dict[str, Bomb] = PACKED | DOCUMENTS | MIME
