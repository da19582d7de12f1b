"""Documents to be cured: those of the shared corpora, read in place, and small ones made here."""

import functools
import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import msoffcrypto
import pytest

from gatepost.antivirus.cure.compound import Node, write_compound

SHARED = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).parents[4] / "shared"))
_ARCHIVE = SHARED / "corpora/av/av-tests.tar.gz"
_PASSWORDS = ("VelvetSweatshop", "encrypted")


@functools.cache
def _corpus() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(_ARCHIVE) as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isfile() else None
            if file is not None:
                found[entry.name.rpartition("/")[2]] = file.read()
    return found


def corpus(name: str) -> bytes:
    """Return a file of the corpus: opened with its password, out of its zip file."""
    if not _ARCHIVE.is_file():
        pytest.skip("the shared corpora are not here (set GATEPOST_SHARED)")
    data = _corpus()[name]
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.read(archive.namelist()[0], b"infected-test")
    if "encrypt" in name:
        return _decrypt(data)
    return data


def _decrypt(data: bytes) -> bytes:
    document = msoffcrypto.OfficeFile(io.BytesIO(data))
    for password in _PASSWORDS:
        out = io.BytesIO()
        try:
            document.load_key(password=password)
            document.decrypt(out)
        except msoffcrypto.exceptions.InvalidKeyError:
            continue
        return out.getvalue()
    raise AssertionError


def storage(name: str, *children: Node) -> Node:
    node = Node(name, 1)
    node.children += children
    return node


def compound(*children: Node) -> bytes:
    root = Node("Root Entry", 5)
    root.children += children
    return write_compound(root)


def project() -> list[Node]:
    """What a VBA project consists of, without meaning."""
    code = storage("VBA", Node("dir", 2, b"dir" * 50), Node("Module1", 2, b"Sub AutoOpen" * 500))
    return [code, Node("PROJECT", 2, b"ID={0}"), Node("PROJECTwm", 2, b"\0\0")]


def native(name: bytes, content: bytes) -> Node:
    """An embedded file."""
    path = b"C:\\" + name + b"\0"
    body = struct.pack("<H", 2) + name + b"\0" + path + struct.pack("<2HL", 0, 3, len(path)) + path
    body += struct.pack("<L", len(content)) + content
    return Node("\x01Ole10Native", 2, struct.pack("<L", len(body)) + body)


def record(kind: int, data: bytes = b"") -> bytes:
    return struct.pack("<2H", kind, len(data)) + data


def formula(row: int, tokens: bytes) -> bytes:
    return record(0x0006, struct.pack("<3H8sHLH", row, 0, 15, bytes(8), 0, 0, len(tokens)) + tokens)


EXEC = b"\x17\x04\x00calc\x42\x01\x6e\x00"
"""=EXEC("calc") as tokens."""


def macro_workbook(*, name: bytes = b"\x01", flags: int = 0x0020, tokens: bytes = EXEC) -> bytes:
    """A workbook stream with a worksheet and a macro sheet that runs at once."""
    reference = b"\x3a\0\0\0\0\0\0"
    auto = struct.pack("<HBBHHHL", flags, 0, len(name), len(reference), 0, 1, 0) + b"\0" + name + reference
    sheets = [(b"Sheet1", 0), (b"Macro1", 1)]
    bound = [record(0x0085, struct.pack("<LBBBB", 0, 0, kind, len(title), 0) + title) for title, kind in sheets]
    head = record(0x0809, struct.pack("<4HLL", 0x0600, 0x0005, 0x0DBB, 0x07CC, 0, 6)) + record(0x00D3)
    tail = record(0x0018, auto) + record(0x000A)
    places, bodies = [], b""
    for _, kind in sheets:
        places.append(len(head) + sum(map(len, bound)) + len(tail) + len(bodies))
        start = record(0x0809, struct.pack("<4HLL", 0x0600, 0x0040 if kind else 0x0010, 0x0DBB, 0x07CC, 0, 6))
        cells = formula(0, tokens) if kind else record(0x0203, struct.pack("<3Hd", 0, 0, 15, 42.0))
        bodies += start + record(0x0200, struct.pack("<LLHHH", 0, 1, 0, 1, 0)) + cells + record(0x000A)
    named = b"".join(each[:4] + struct.pack("<L", at) + each[8:] for each, at in zip(bound, places, strict=True))
    return head + named + tail + bodies


def package(*parts: tuple[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts:
            method = zipfile.ZIP_STORED if name == "mimetype" else None
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MS_RELATION = "http://schemas.microsoft.com/office/2006/relationships"


def relations(*rows: tuple[str, str] | tuple[str, str, str]) -> str:
    each = "".join(
        f'<Relationship Id="r{number}" Type="{row[0]}" Target="{row[1]}"'
        + (f' TargetMode="{row[2]}"/>' if len(row) == 3 else "/>")
        for number, row in enumerate(rows)
    )
    return f'<?xml version="1.0" encoding="UTF-8"?><Relationships xmlns="{_RELATIONS}">{each}</Relationships>'


def docm(
    body: str = "", *more: tuple[str, str | bytes], vba: bool = True, links: tuple[tuple[str, ...], ...] = ()
) -> bytes:
    """A Word document; with macros, in the form that has them."""
    main = "application/vnd.ms-word.document.macroEnabled.main+xml"
    types = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="bin"
ContentType="application/vnd.ms-office.vbaProject"/><Default Extension="rels"
ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml"
ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType="{main}"/>{
        '<Override PartName="/word/vbaData.xml" ContentType="application/vnd.ms-word.vbaData+xml"/>' if vba else ""
    }</Types>"""
    document = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<w:document xmlns:w="{_WORD}" xmlns:r="{_OFFICE_RELATION}"><w:body><w:p><w:r><w:t>Dear Anna</w:t></w:r></w:p>{body}
</w:body></w:document>"""
    own: list[tuple[str, str | bytes]] = []
    rows: list[tuple[str, ...]] = list(links)
    if vba:
        rows.insert(0, (f"{_MS_RELATION}/vbaProject", "vbaProject.bin"))
        own = [
            ("word/vbaProject.bin", compound(*project())),
            ("word/_rels/vbaProject.bin.rels", relations((f"{_MS_RELATION}/wordVbaData", "vbaData.xml"))),
            ("word/vbaData.xml", "<vbaSuppData/>"),
        ]
    return package(
        ("[Content_Types].xml", types),
        ("_rels/.rels", relations((f"{_OFFICE_RELATION}/officeDocument", "word/document.xml"))),
        ("word/document.xml", document),
        ("word/_rels/document.xml.rels", relations(*rows)),  # type: ignore[arg-type]
        *own,
        *more,
    )


def field(instruction: str, *, pieces: int = 1) -> str:
    """A field in a paragraph, its instruction in so many pieces."""
    size = -(-len(instruction) // pieces)
    runs = "".join(
        f'<w:r><w:instrText xml:space="preserve">{instruction[at : at + size]}</w:instrText></w:r>'
        for at in range(0, len(instruction), size)
    )
    return (
        f'<w:p><w:r><w:fldChar w:fldCharType="begin"/></w:r>{runs}<w:r><w:fldChar w:fldCharType="separate"/></w:r>'
        '<w:r><w:t>shown</w:t></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r></w:p>'
    )


_ODF = "urn:oasis:names:tc:opendocument:xmlns"


def odt(body: str = "", scripts: str = "") -> bytes:
    """A text with Basic macros."""
    spaces = (
        f'xmlns:office="{_ODF}:office:1.0" xmlns:text="{_ODF}:text:1.0" xmlns:script="{_ODF}:script:1.0" '
        'xmlns:xlink="http://www.w3.org/1999/xlink"'
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {spaces} office:version="1.2">'
        f"<office:scripts>{scripts}</office:scripts><office:body><office:text><text:p>Dear Anna</text:p>{body}"
        "</office:text></office:body></office:document-content>"
    )
    library = '<?xml version="1.0" encoding="UTF-8"?><x/>'
    module = '<?xml version="1.0" encoding="UTF-8"?><m>Sub Main\nShell "calc"\nEnd Sub</m>'
    names = ["content.xml", "Basic/script-lc.xml", "Basic/Standard/script-lb.xml", "Basic/Standard/Module1.xml"]
    entries = "".join(f'<m:file-entry m:full-path="{name}" m:media-type="text/xml"/>' for name in names)
    manifest = (
        f'<?xml version="1.0" encoding="UTF-8"?><m:manifest xmlns:m="{_ODF}:manifest:1.0" m:version="1.2"><m:file-entry'
        f' m:full-path="/" m:media-type="application/vnd.oasis.opendocument.text"/>{entries}</m:manifest>'
    )
    return package(
        ("mimetype", "application/vnd.oasis.opendocument.text"),
        ("content.xml", content),
        ("Basic/script-lc.xml", library),
        ("Basic/Standard/script-lb.xml", library),
        ("Basic/Standard/Module1.xml", module),
        ("META-INF/manifest.xml", manifest),
    )
