"""Documents and pictures made to exhaust who reads them. Made when asked for; the argument says how far to go."""

import struct
import zlib

from tests.support.bombs_packed import zip_of

CONTENT_TYPES = (
    b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    b'<Default Extension="xml" ContentType="application/xml"/></Types>'
)


def zeros(size: int) -> bytes:
    """Return so many zeros, deflated (RFC 1950)."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def pdf_of(*objects: bytes) -> bytes:
    """Return a PDF of these objects: 1 is its root, 2 its list of pages, the last one a page."""
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, each in enumerate((*objects, b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"), 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    start = len(out)
    count = len(offsets)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (count + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return bytes(out) + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count + 1, start)


def _stream(fields: bytes, data: bytes) -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (fields, len(data), data)


_ROOT = b"<</Type/Catalog/Pages 2 0 R/OpenAction 3 0 R>>"


def _pages(last: int) -> bytes:
    return b"<</Type/Pages/Kids[%d 0 R]/Count 1>>" % last


def pdf_filters(size: int) -> bytes:
    """Return a PDF whose script is packed ten times."""
    data = zeros(size)
    for _ in range(9):
        data = zlib.compress(data, 9)
    script = _stream(b"/Filter[" + b"/FlateDecode" * 10 + b"]", data)
    return pdf_of(_ROOT, _pages(5), b"<</S/JavaScript/JS 4 0 R>>", script)


def pdf_of_zeros(size: int) -> bytes:
    """Return a PDF with an attached file of zeros."""
    root = b"<</Type/Catalog/Pages 2 0 R/Names<</EmbeddedFiles<</Names[(a)3 0 R]>>>>>>"
    file = _stream(b"/Type/EmbeddedFile/Filter/FlateDecode", zeros(size))
    return pdf_of(root, _pages(5), b"<</Type/Filespec/F(a)/EF<</F 4 0 R>>>>", file)


def pdf_circle(count: int) -> bytes:
    """Return a PDF whose object streams hold and extend themselves."""
    out = bytearray(b"%PDF-1.7\n")
    rows = bytearray(b"\0\0\0\0\0\0")
    for number in range(1, count + 1):
        rows += struct.pack(">BLB", 2, number, 0)  # object n is the first in object stream n
        body = b"%d 0 <</Type/ObjStm/N 1/First 10/Extends %d 0 R>>" % (number, number)
        out += b"%d 0 obj\n%s\nendobj\n" % (
            number,
            _stream(b"/Type/ObjStm/N 1/First 10/Extends %d 0 R" % number, body),
        )
    start = len(out)
    table = _stream(b"/Type/XRef/Size %d/W[1 4 1]/Root 1 0 R" % (count + 1), bytes(rows))
    return bytes(out) + b"%d 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n" % (count + 1, table, start)


def pdf_tree(depth: int) -> bytes:
    """Return a PDF with a tree of pages in a circle, a tree of names in a circle and a deep array."""
    root = b"<</Type/Catalog/Pages 2 0 R/Names<</JavaScript 3 0 R/EmbeddedFiles 3 0 R>>/OpenAction 4 0 R>>"
    action = b"<</S/URI/URI(a)/Next[4 0 R 4 0 R]>>"
    pages = b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>"
    return pdf_of(root, pages, b"<</Kids[3 0 R 3 0 R]>>", action, b"[" * depth + b"]" * depth)


def pdf_actions(count: int) -> bytes:
    """Return a PDF with so many scripts, one after the other."""
    actions = [b"<</S/JavaScript/JS(a%d)/Next %d 0 R>>" % (n, n + 4) for n in range(count)]
    return pdf_of(_ROOT, _pages(count + 4), *actions, b"<</S/JavaScript/JS(end)>>")


def laughs(size: int) -> bytes:
    """Return XML of entities that expand to ten times `size` and more."""
    rows = [b'<!ENTITY a0 "' + b"ha" * 50 + b'">']
    level, reach = 0, 100
    while reach < 10 * size:
        level, reach = level + 1, reach * 10
        rows.append(b'<!ENTITY a%d "%s">' % (level, b"&a%d;" % (level - 1) * 10))
    return b'<?xml version="1.0"?><!DOCTYPE w [' + b"".join(rows) + b"]><w>&a%d;</w>" % level


def quadratic_entity(size: int) -> bytes:
    """Return XML with one long entity that is called often."""
    return b'<?xml version="1.0"?><!DOCTYPE w [<!ENTITY a "' + b"x" * size + b'">]><w>' + b"&a;" * (size // 3) + b"</w>"


def deep_xml(depth: int) -> bytes:
    """Return XML nested so deep."""
    return b'<?xml version="1.0"?>' + b"<w>" * depth + b"</w>" * depth


def many_attributes(count: int) -> bytes:
    """Return XML with one element of so many attributes and name spaces."""
    rows = b"".join(b' xmlns:a%d="u:%d" a%d:b="c"' % (n, n, n) for n in range(count))
    return b'<?xml version="1.0"?><w' + rows + b"/>"


def docx(document: bytes) -> bytes:
    """Return a word processor's file with that text."""
    return zip_of(("[Content_Types].xml", CONTENT_TYPES), ("word/document.xml", document))


def svg(body: bytes) -> bytes:
    """Return a drawing: XML whose outermost element is put into one of a drawing."""
    declaration, _, rest = body.partition(b"?>")
    return (
        declaration
        + b"?>"
        + rest.replace(b"<w>", b'<svg xmlns="http://www.w3.org/2000/svg"><w>', 1).replace(
            b"<!DOCTYPE w", b"<!DOCTYPE svg", 1
        )
    )


def deep_rtf(depth: int) -> bytes:
    """Return RTF nested so deep."""
    return b"{\\rtf1 " + b"{\\b" * depth + b" x" + b"}" * depth + b"}"


def rtf_objects(count: int) -> bytes:
    """Return RTF with so many objects."""
    native = struct.pack("<LLL", 0x501, 2, 8) + b"Package\0" + struct.pack("<LLL", 0, 0, 4) + b"data"
    return b"{\\rtf1 " + (b"{\\object\\objemb{\\*\\objdata " + native.hex().encode() + b"}}") * count + b"}"


def rtf_binary(size: int) -> bytes:
    """Return RTF whose binary data claim more than there is, and hexadecimal ones that never end."""
    return b"{\\rtf1 {\\*\\objdata \\bin4294967295 " + b"ab" * (size // 4) + b"{\\*\\objdata " + b"ab" * (size // 4)


def png(side: int) -> bytes:
    """Return a picture of that width and height, all black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    header = struct.pack(">LLBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zeros(max(1 << 20, side * (side // 8 + 1) >> 20 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def ole_circle(sectors: int) -> bytes:
    """Return a compound file whose directory runs in a circle, and every stream of it through one sector for ever."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<LLLLLLLLL", 0, 1, 1, 0, 4096, 2, 1, 0, 1) + struct.pack("<L", 0) * 109
    table = struct.pack("<128L", 0xFFFFFFFD, *([1] * 127))
    entry = "Root Entry".encode("utf-16-le").ljust(64, b"\0") + struct.pack("<HBBLLL", 22, 5, 1, 0, 0, 0) + bytes(36)
    stream = "A".encode("utf-16-le").ljust(64, b"\0") + struct.pack("<HBBLLL", 4, 2, 1, 0, 0, 0) + bytes(36)
    start = struct.pack("<LQ", 1, 1 << 31)
    return header.ljust(512, b"\0") + table + entry + start + (stream + start) * 3 + bytes(512) * sectors


def html_urls(count: int) -> bytes:
    """Return a page that carries so many files in itself."""
    return b"<html><body>" + b"<img src='data:application/x-thing;base64,TVqQAAMAAAA='>" * count + b"</body></html>"


def deep_html(depth: int) -> bytes:
    """Return a page nested so deep."""
    return b"<html><body>" + b"<div><b>" * depth + b"x</body></html>"


def mbox(count: int) -> bytes:
    """Return a mail base of so many small messages."""
    return b"From a@b Thu Jan  1 00:00:00 1970\nFrom: a@b\nSubject: x\n\ntext\n\n" * count


def tnef(count: int) -> bytes:
    """Return a TNEF of so many attachments."""

    def attribute(level: int, tag: int, data: bytes) -> bytes:
        return struct.pack("<BLL", level, tag, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)

    one = attribute(2, 0x00069002, struct.pack("<HLHHL", 1, 0, 0, 0, 0)) + attribute(2, 0x0006800F, b"data")
    return struct.pack("<LH", 0x223E9F78, 1) + one * count
