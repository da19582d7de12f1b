"""Cures of documents: PDF, older and newer Office files, OpenDocument; and the parts of them that are written anew."""

import contextlib
import functools
import io
import math
import struct
import zipfile
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Budget, OverBudget
from gatepost.antivirus.cure.biff import disarm_workbook
from gatepost.antivirus.cure.compound import Node, read_compound, write_compound
from gatepost.antivirus.cure.cured import Uncurable
from gatepost.antivirus.cure.zips import read_zip, unpack_part, write_zip
from gatepost.antivirus.kinds import Kind

from .compounds import join, split
from .cured import cure
from .pdf import seeds as _pdf_seeds
from .unpacked import OPTIONS, open_as

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 3000
_STREAM, _STORAGE, _ROOT = 2, 1, 5
_PARTS: Final = (
    "[Content_Types].xml", "_rels/.rels", "word/document.xml", "word/_rels/document.xml.rels", "xl/workbook.xml", "word/vbaProject.bin", "word/embeddings/a.bin",
    "xl/externalLinks/externalLink1.xml", "ppt/slides/slide1.xml", "word/settings.xml",
)  # fmt: skip
_ODF_PARTS: Final = ("content.xml", "META-INF/manifest.xml", "Basic/Standard/Module1.xml", "styles.xml", "settings.xml")
_STREAMS: Final = (
    "WordDocument",
    "1Table",
    "Workbook",
    "\x01Ole10Native",
    "\x01CompObj",
    "PROJECT",
    "dir",
    "PowerPoint Document",
    "Current User",
    "Contents",
)
_STORAGES: Final = ("VBA", "Macros", "_VBA_PROJECT_CUR", "ObjectPool", "_123")
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def execute(data: bytes) -> None:
    """Take the first byte as the form, the rest as a file, or as the parts that one is made of."""
    if not data:
        return
    which, rest = data[0] % 8, data[1:]
    if which == 0:
        _cure(b"%PDF-1.7\n" + rest, Kind.PDF)
    elif which == 1:
        _cure(_OLE + rest, Kind.OLE)
        _copy_compound(_OLE + rest)
    elif which == 2:
        _cure(_build_compound(rest), Kind.OLE)
    elif which == 3:
        with contextlib.suppress(Uncurable):
            disarmed, _ = disarm_workbook(rest)
            assert len(disarmed) == len(rest)
            assert disarm_workbook(disarmed) == (disarmed, [])
    elif which in (4, 5):
        _cure(_build_package(rest, _PARTS), Kind.OOXML)
    elif which == 6:
        _cure(_build_package(rest, _ODF_PARTS, b"application/vnd.oasis.opendocument.text"), Kind.ODF)
    else:
        _copy_zip(rest)


def _cure(data: bytes, kind: Kind) -> None:
    active = [each for each in open_as(data, kind) if each.content_type.startswith(("text/x-", "text/javascript"))]
    cured = cure(data, kind, active)
    if cured is not None and kind is Kind.PDF:
        assert not [each.name for each in open_as(cured.data, kind) if each.content_type == "text/javascript"]
    if cured is not None and kind is not Kind.PDF:
        assert not [each.name for each in open_as(cured.data, kind) if each.content_type == "text/x-vba"]


def _copy_compound(data: bytes) -> None:
    """What is read and written is read as the same."""
    with contextlib.suppress(Uncurable):
        tree = read_compound(data)
        written = write_compound(tree)
        copy = read_compound(written)
        assert _contents(copy) == _contents(tree)
        assert write_compound(copy) == written


def _contents(tree: Node) -> list[tuple[str, int, bytes]]:
    return sorted((node.name, node.kind, node.data) for node in tree.walk())


def _copy_zip(data: bytes) -> None:
    with contextlib.suppress(Uncurable):
        archive = read_zip(data)
        written = write_zip(archive.parts, archive.comment)
        copy = read_zip(written)
        assert (copy.comment, [part.raw_name for part in copy.parts]) == (
            archive.comment,
            [part.raw_name for part in archive.parts],
        )
        budget = Budget(OPTIONS, math.inf)
        with contextlib.suppress(OverBudget):
            for part, other in zip(archive.parts, copy.parts, strict=True):
                assert unpack_part(part, budget) == unpack_part(other, budget)


def _build_compound(rest: bytes) -> bytes:
    root = Node("Root Entry", _ROOT)
    place = root
    for number, content in split(rest):
        if number >= 0xF0:
            name = _STORAGES[number % len(_STORAGES)]
            place = root.child(name) or Node(name, _STORAGE)
            if root.child(name) is None:
                root.children.append(place)
            continue
        name = _STREAMS[number % len(_STREAMS)]
        if place.child(name) is None:
            place.children.append(Node(name, _STREAM, content))
    return write_compound(root)


def _build_package(rest: bytes, names: tuple[str, ...], mimetype: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        if mimetype:
            archive.writestr(zipfile.ZipInfo("mimetype"), mimetype)
        written = set()
        for number, content in split(rest):
            name = names[number % len(names)]
            if name not in written:
                written.add(name)
                archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


WORDS: Final = (
    b"/JS", b"/JavaScript", b"/OpenAction", b"/AA", b"/Launch", b"/EF", b"/XFA", b"/Names", b"/Annots", b"/Next", b"obj", b"endobj", b"stream\n", b"<<", b">>", b"1 0 R",
    b"<w:instrText>", b"<w:fldChar w:fldCharType='begin'/>", b"DDEAUTO", b"<Relationship Id='r' Type='", b"TargetMode='External'", b"vbaProject", b"attachedTemplate",
    b"<office:scripts>", b"<script:event-listener", b"xlink:href='macro:x'", b"\x09\x08\x10\0", b"\x85\0", b"\x18\0", b"\x0a\0\0\0", b"\xec\xa5", b"\0\2\0\1", b"\xf0\0\0",
    b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"<!DOCTYPE a>", b"&amp;", b"xmlns='http://schemas.openxmlformats.org/package/2006/relationships'",
)  # fmt: skip
_RELATIONS: Final = b"<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'><Relationship Id='r' Type='%b' Target='%b'%b/></Relationships>"
_MAIN: Final = b"application/vnd.ms-word.document.macroEnabled.main+xml"
_OFFICE: Final = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


@functools.cache
def _word() -> bytes:
    types = (
        b"<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'><Default Extension='bin' ContentType='application/vnd.ms-office.vbaProject'/>"
        b"<Default Extension='xml' ContentType='application/xml'/><Override PartName='/word/document.xml' ContentType='"
        + _MAIN
        + b"'/></Types>"
    )
    field = b"<w:r><w:fldChar w:fldCharType='begin'/></w:r><w:r><w:instrText>DDEAUTO a b</w:instrText></w:r><w:r><w:fldChar w:fldCharType='end'/></w:r>"
    document = (
        b"<w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:body><w:p>"
        + field
        + b"</w:p></w:body></w:document>"
    )
    return join(
        (0, types),
        (1, _RELATIONS % (_OFFICE + b"officeDocument", b"word/document.xml", b"")),
        (2, document),
        (3, _RELATIONS % (_OFFICE + b"attachedTemplate", b"http://a/b.dotm", b" TargetMode='External'")),
        (5, b"not a project"),
        (6, b"MZ\x90\0"),
    )


def seeds() -> Iterator[bytes]:
    """Yield documents that do something, of each form."""
    for document in _pdf_seeds():
        if len(document) < LENGTH_LIMIT:
            yield b"\0" + document
    yield b"\1" + _build_compound(join((0, b"\xec\xa5" + bytes(500)), (0xF1, b""), (5, b"x")))[8 : 8 + 2900]
    streams = join(
        (0, b"\xec\xa5" + bytes(700)),
        (1, b"table"),
        (3, b"\x10\0\0\0\2\0a.exe\0"),
        (0xF0, b""),
        (6, b"dir" * 40),
        (0xF1, b""),
        (5, b"ID"),
    )
    yield b"\2" + streams
    book = struct.pack("<2H", 0x0809, 16) + struct.pack("<4HLL", 0x0600, 5, 0x0DBB, 0x07CC, 0, 6)
    book += (
        struct.pack("<2HLBBB", 0x0085, 13, 0, 0, 1, 5)
        + b"\0Macro"
        + struct.pack("<2H", 0x0018, 4)
        + b"\x20\0\0\1"
        + struct.pack("<2H", 0x000A, 0)
    )
    yield b"\3" + book
    yield b"\2" + join((2, book))
    yield b"\4" + _word()
    manifest = b"<m:manifest xmlns:m='urn:oasis:names:tc:opendocument:xmlns:manifest:1.0'><m:file-entry m:full-path='Basic/Standard/Module1.xml'/></m:manifest>"
    content = (
        b"<office:document-content xmlns:office='urn:oasis:names:tc:opendocument:xmlns:office:1.0' xmlns:script='urn:oasis:names:tc:opendocument:xmlns:script:1.0'>"
        b"<office:scripts><script:event-listener script:a='b'/></office:scripts><office:body/></office:document-content>"
    )
    yield b"\6" + join((0, content), (1, manifest), (2, b"<x/>"))
    yield b"\7" + _build_package(_word()[:900], _PARTS)
