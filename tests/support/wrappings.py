"""Everything a file can travel in: archives, encodings, documents and mails made at run time around any content.

`FILES` wraps bytes into a file, `MAILS` bytes into a message. Archives come from Python's own modules and from
libarchive's writers; formats that neither can write are put together by hand as their documents say, unpacked content
stored in them.
"""

import base64
import binascii
import ctypes
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pikepdf

from gatepost.antivirus.cure.compound import Node, write_compound
from gatepost.antivirus.libarchive import load_library
from tests.support import envelopes
from tests.support.udf_images import Image

NAME = "x.com"
"""Of the innermost file."""
EMBEDDED = "letter.txt"
"""Of a file inside a document, where a program would be suspicious by its name alone."""
NOTE = ("readme.txt", b"All the others are as they were.\r\n")
"""A second, harmless file: what can be rebuilt must keep it."""

Pack = Callable[[bytes], bytes]


# -- libarchive's writers -------------------------------------------------------------------------------------------------


def written(form: str, *filters: str, options: str = "") -> Pack:
    """An archive of one file in a format, packed by filters, both by libarchive's names."""

    def pack(data: bytes) -> bytes:
        library = load_library()
        pointer, number, text, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
        bind = library.bind

        def call(name: str, *arguments: tuple[type, object]) -> None:
            function = bind(name, number, pointer, *(kind for kind, _ in arguments))
            assert function(handle, *(value for _, value in arguments)) >= -20, library.error(handle)

        handle = bind("write_new", pointer)()
        room = ctypes.create_string_buffer(2 * len(data) + 2 * 1024 * 1024)
        used = size()
        call(f"write_set_format_{form}")
        for each in filters:
            call(f"write_add_filter_{each}")
        if options:
            call("write_set_options", (text, options.encode()))
        call("write_set_bytes_in_last_block", (number, 1))
        call(
            "write_open_memory",
            (pointer, ctypes.addressof(room)),
            (size, len(room)),
            (pointer, ctypes.addressof(used)),
        )
        entry = bind("entry_new", pointer)()
        bind("entry_set_pathname", None, pointer, text)(entry, NAME.encode())
        bind("entry_set_filetype", None, pointer, ctypes.c_uint)(entry, 0o100000)
        bind("entry_set_perm", None, pointer, number)(entry, 0o644)
        bind("entry_set_size", None, pointer, ctypes.c_int64)(entry, len(data))
        call("write_header", (pointer, entry))
        assert bind("write_data", ctypes.c_ssize_t, pointer, pointer, size)(handle, data, len(data)) == len(data)
        bind("entry_free", None, pointer)(entry)
        call("write_close")
        bind("write_free", number, pointer)(handle)
        return room.raw[: used.value]

    return pack


# -- archives by Python ---------------------------------------------------------------------------------------------------


def zip_of(data: bytes, name: str = NAME, method: int = zipfile.ZIP_DEFLATED, note: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, data)
        if note:
            archive.writestr(*NOTE)
    return out.getvalue()


def tar_of(data: bytes, mode: str = "w", note: bool = False) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in ((NAME, data), NOTE) if note else ((NAME, data),):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


# -- archives by hand -----------------------------------------------------------------------------------------------------


def cab(data: bytes) -> bytes:
    """A cabinet that stores one file ([MS-CAB] 2)."""
    blocks = [data[at : at + 32_768] for at in range(0, len(data), 32_768)]
    file = struct.pack("<LLHHHH", len(data), 0, 0, 0x5A21, 0, 0x20) + NAME.encode() + b"\0"
    first = 36 + 8 + len(file)
    body = b"".join(struct.pack("<LHH", 0, len(block), len(block)) + block for block in blocks)
    head = b"MSCF" + struct.pack("<LLLLLBBHHHHH", 0, first + len(body), 0, 44, 0, 3, 1, 1, 1, 0, 0, 0)
    return head + struct.pack("<LHH", first, len(blocks), 0) + file + body


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def rar5(data: bytes) -> bytes:
    """A stored rar 5 archive (RAR 5.0 archive format)."""

    def block(fields: bytes, content: bytes = b"") -> bytes:
        sized = _varint(len(fields)) + fields
        return struct.pack("<L", zlib.crc32(sized)) + sized + content

    file = b"\x02\x02" + _varint(len(data)) + b"\x04" + _varint(len(data)) + _varint(0o644)
    file += struct.pack("<L", zlib.crc32(data)) + b"\0\x01" + _varint(len(NAME)) + NAME.encode()
    return b"Rar!\x1a\x07\x01\0" + block(b"\x01\0\0") + block(file, data) + block(b"\x05\0\0")


def rar4(data: bytes) -> bytes:
    """A stored rar archive of versions 1.5 to 4."""

    def block(kind: int, flags: int, fields: bytes) -> bytes:
        body = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
        return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body

    file = struct.pack(
        "<LLBLLBBHL", len(data), len(data), 2, zlib.crc32(data), 0x5A210000, 20, 0x30, len(NAME), 0o100644
    )
    return (
        b"Rar!\x1a\x07\0"
        + block(0x73, 0, bytes(6))
        + block(0x74, 0x8000, file + NAME.encode())
        + data
        + block(0x7B, 0x4000, b"")
    )


def lha(data: bytes) -> bytes:
    """A stored lha archive with a header of level 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    fields = b"-lh0-" + struct.pack("<LLLBBB", len(data), len(data), 0x5A210000, 0x20, 0, len(NAME))
    fields += NAME.encode() + struct.pack("<H", crc)
    return bytes((len(fields), sum(fields) & 0xFF)) + fields + data + b"\0"


def arj(data: bytes) -> bytes:
    """A stored arj archive (ARJ technical information)."""

    def header(file_type: int, size: int, crc: int, name: str) -> bytes:
        basic = struct.pack("<8BL2LLHHH", 30, 11, 1, 0, 0, 0, file_type, 0, 0x5A210000, size, size, crc, 0, 0o644, 0)
        basic += name.encode() + b"\0\0"
        return b"\x60\xea" + struct.pack("<H", len(basic)) + basic + struct.pack("<L", zlib.crc32(basic)) + b"\0\0"

    return header(2, 0, 0, "x.arj") + header(0, len(data), zlib.crc32(data), NAME) + data + b"\x60\xea\0\0"


def szdd(data: bytes) -> bytes:
    """What COMPRESS.EXE makes, with literals only."""
    packed = b"".join(b"\xff" + data[at : at + 8] for at in range(0, len(data), 8))
    return b"SZDD\x88\xf0\x27\x33A\0" + struct.pack("<L", len(data)) + packed


def rpm(data: bytes) -> bytes:
    """A package: lead, two empty headers, a packed cpio archive."""
    lead = (b"\xed\xab\xee\xdb\x03\0" + struct.pack(">HH66sHH16x", 0, 1, b"x-1", 1, 5)).ljust(96, b"\0")
    header = b"\x8e\xad\xe8\x01" + bytes(12)
    return lead + header * 2 + written("cpio_newc", "gzip")(data)


def fat(data: bytes) -> bytes:
    """An image of a disk with a FAT12 file system and one file in its root."""
    sector, per_cluster, per_table = 512, 4, 12
    clusters = max(1, -(-len(data) // (sector * per_cluster)))
    total = 1 + 2 * per_table + 7 + (clusters + 2) * per_cluster
    boot = bytearray(sector)
    boot[:3] = b"\xeb\x3c\x90"
    struct.pack_into("<HBHBHHBH", boot, 11, sector, per_cluster, 1, 2, 112, total, 0xF8, per_table)
    boot[510:] = b"\x55\xaa"
    table = bytearray(per_table * sector)
    for index, value in enumerate([0xFF8, 0xFFF, *range(3, clusters + 2), 0xFFF]):
        at = index * 3 // 2
        pair = table[at] | table[at + 1] << 8
        pair = pair & 0x000F | value << 4 if index & 1 else pair & 0xF000 | value
        table[at], table[at + 1] = pair & 0xFF, pair >> 8
    root = b"X       COM\x20" + bytes(14) + struct.pack("<HL", 2, len(data))
    image = bytes(boot) + bytes(table) * 2 + root.ljust(112 * 32, b"\0") + data
    return image.ljust(max(total * sector, 72 * 1024), b"\0")


# -- encodings older than MIME --------------------------------------------------------------------------------------------


def uuencoded(data: bytes) -> bytes:
    lines = [binascii.b2a_uu(data[at : at + 45]).rstrip(b"\n") for at in range(0, len(data), 45)]
    return b"\r\n".join([b"begin 644 " + NAME.encode(), *lines, b"`", b"end", b""])


def uuencoded_base64(data: bytes) -> bytes:
    return (
        b"begin-base64 644 " + NAME.encode() + b"\r\n" + base64.encodebytes(data).replace(b"\n", b"\r\n") + b"====\r\n"
    )


def yenc(data: bytes) -> bytes:
    out = bytearray()
    for byte in data:
        value = (byte + 42) % 256
        out += bytes((61, (value + 64) % 256)) if value in b"\0\n\r=.\t " else bytes((value,))
    lines: list[bytes] = []
    at = 0
    while at < len(out):
        end = at + 128 + (out[at + 127 : at + 128] == b"=")
        lines.append(bytes(out[at:end]))
        at = end
    head = f"=ybegin line=128 size={len(data)} name={NAME}\r\n".encode()
    return head + b"".join(line + b"\r\n" for line in lines) + f"=yend size={len(data)}\r\n".encode()


def binhex(data: bytes) -> bytes:
    """BinHex 4.0 (RFC 1741), without runs."""
    head = bytes((len(NAME),)) + NAME.encode() + b"\0TEXTttxt" + struct.pack(">HLL", 0, len(data), 0)
    stream = b""
    for part in (head, data, b""):
        stream += part + struct.pack(">H", binascii.crc_hqx(part, 0))
    alphabet = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    stream = stream.replace(b"\x90", b"\x90\0")
    text = base64.b64encode(stream).rstrip(b"=").translate(bytes.maketrans(plain, alphabet))
    text = b":" + text + b":"
    lines = b"\r\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return b"(This file must be converted with BinHex 4.0)\r\n\r\n" + lines + b"\r\n"


def tnef(data: bytes) -> bytes:
    """winmail.dat with a body and one attachment ([MS-OXTNEF] 2.1.3)."""

    def attribute(level: int, number: int, value: bytes) -> bytes:
        return struct.pack("<BLL", level, number, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)

    return (
        b"\x78\x9f\x3e\x22\x01\x00"
        + attribute(1, 0x00089006, struct.pack("<L", 0x00010000))
        + attribute(1, 0x0002800C, b"see attachment\0")
        + attribute(2, 0x00069002, bytes(14))
        + attribute(2, 0x00018010, NAME.encode() + b"\0")
        + attribute(2, 0x0006800F, data)
    )


# -- documents ------------------------------------------------------------------------------------------------------------


def _package(data: bytes) -> bytes:
    """The stream Ole10Native of a file that was dropped into a document."""
    label = EMBEDDED.encode() + b"\0"
    path = b"C:\\temp\\" + label
    inner = b"\2\0" + label + path + struct.pack("<LL", 0x00030000, len(path)) + path
    inner += struct.pack("<L", len(data)) + data
    return struct.pack("<L", len(inner)) + inner


def _storage(name: str, *children: Node) -> Node:
    node = Node(name, 1)
    node.children += children
    return node


def _compound(*children: Node, clsid: bytes = bytes(16)) -> bytes:
    root = Node("Root Entry", 5)
    root.clsid = clsid
    root.children += children
    return write_compound(root)


def doc(data: bytes) -> bytes:
    pool = _storage("ObjectPool", _storage("_1234", Node("\1Ole10Native", 2, _package(data))))
    return _compound(Node("WordDocument", 2, b"\xec\xa5\xc1\0" + bytes(4200)), pool)


def msg(data: bytes) -> bytes:
    """An Outlook message with an attachment ([MS-OXMSG] 2.2.2)."""
    attachment = _storage(
        "__attach_version1.0_#00000000",
        Node("__substg1.0_37010102", 2, data),
        Node("__substg1.0_3707001F", 2, NAME.encode("utf-16-le")),
    )
    body = Node("__substg1.0_1000001F", 2, "see attachment".encode("utf-16-le"))
    return _compound(body, attachment, clsid=bytes.fromhex("0b0d020000000000c000000000000046"))


_TYPES = (
    b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    b'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    b'<Default Extension="bin" ContentType="application/vnd.openxmlformats-officedocument.oleObject"/>'
    b'<Override PartName="/word/document.xml" ContentType='
    b'"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
_RELS = (
    b'<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    b'<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/%b" '
    b'Target="%b"/></Relationships>'
)


def docx(data: bytes) -> bytes:
    """A document with a file dropped into it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr("_rels/.rels", _RELS % (b"officeDocument", b"word/document.xml"))
        archive.writestr("word/document.xml", b"<w:document><w:body/></w:document>")
        archive.writestr("word/_rels/document.xml.rels", _RELS % (b"oleObject", b"embeddings/oleObject1.bin"))
        archive.writestr("word/embeddings/oleObject1.bin", _compound(Node("\1Ole10Native", 2, _package(data))))
    return out.getvalue()


def odt(data: bytes) -> bytes:
    manifest = (
        b'<?xml version="1.0"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        b'<manifest:file-entry manifest:full-path="/" manifest:media-type="application/vnd.oasis.opendocument.text"/>'
        b'<manifest:file-entry manifest:full-path="Object 1" manifest:media-type="application/octet-stream"/>'
        b"</manifest:manifest>"
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", b"application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", b"<office:document-content/>")
        archive.writestr("Object 1", data)
        archive.writestr("META-INF/manifest.xml", manifest)
    return out.getvalue()


def pdf(data: bytes) -> bytes:
    """A page with an attached file."""
    with pikepdf.new() as document:
        document.add_blank_page()
        document.attachments[EMBEDDED] = data
        out = io.BytesIO()
        document.save(out)
    return out.getvalue()


def rtf(data: bytes) -> bytes:
    name = b"Package\0"
    native = _package(data)[4:]
    embedded = struct.pack("<LLL", 0x501, 2, len(name)) + name + bytes(8) + struct.pack("<L", len(native)) + native
    return rb"{\rtf1 see below {\object\objemb{\*\objdata " + binascii.hexlify(embedded) + b"}}}"


def html_address(data: bytes) -> bytes:
    """A page that offers a file in a data address."""
    address = b"data:application/octet-stream;base64," + base64.b64encode(data)
    return b'<html><body><a download="letter.txt" href="' + address + b'">here</a></body></html>'


def html_script(data: bytes) -> bytes:
    """A page whose script puts a file together."""
    script = b'var b = atob("' + base64.b64encode(data) + b'"); save(new Blob([b]));'
    return b"<html><body><script>" + script + b"</script></body></html>"


def svg(data: bytes) -> bytes:
    address = b"data:application/octet-stream;base64," + base64.b64encode(data)
    return b'<svg xmlns="http://www.w3.org/2000/svg"><a href="' + address + b'"><text>here</text></a></svg>'


def flat_xml(data: bytes) -> bytes:
    """Word in one XML file, with an embedded object."""
    return (
        b'<?xml version="1.0"?><?mso-application progid="Word.Document"?>'
        b'<w:wordDocument xmlns:w="http://schemas.microsoft.com/office/word/2003/wordml">'
        b'<w:binData w:name="oledata.mso">' + base64.b64encode(data) + b"</w:binData></w:wordDocument>"
    )


def active_mime(data: bytes) -> bytes:
    return b"ActiveMime\0\0" + bytes(38) + zlib.compress(data)


def onenote(data: bytes) -> bytes:
    start = bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3") + bytes(100)
    mark = bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac")
    return start + mark + struct.pack("<QLQ", len(data), 0, 0) + data + bytes(16)


def lnk(data: bytes) -> bytes:
    """A shortcut with something behind its end."""
    head = struct.pack("<L16sL", 0x4C, bytes.fromhex("0114020000000000c000000000000046"), 0x08 | 0x80)
    text = "readme.txt"
    return head.ljust(0x4C, b"\0") + struct.pack("<H", len(text)) + text.encode("utf-16-le") + bytes(4) + data


# -- mail in files --------------------------------------------------------------------------------------------------------


def eml(data: bytes) -> bytes:
    return mixed(TEXT, part(data, "x.bin"), boundary="e1")


def mbox(data: bytes) -> bytes:
    first = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: one\r\n\r\nhello\r\n\r\n"
    line = b"From a@example.org Mon Jan  2 15:04:05 2006\r\n"
    return line + first + line + eml(data) + b"\r\n"


# -- messages -------------------------------------------------------------------------------------------------------------


def message(body: bytes, *fields: bytes, subject: str = "sample") -> bytes:
    standing = [b"From: sender@example.net", b"To: user@example.org", b"Subject: " + subject.encode()]
    standing += [b"Date: Mon, 02 Jan 2006 15:04:05 +0000", b"Message-ID: <sample@example.net>", b"MIME-Version: 1.0"]
    return b"\r\n".join([*standing, *fields, b"", body])


def mixed(*parts: bytes, subject: str = "sample", kind: str = "mixed", boundary: str = "b1") -> bytes:
    """A multipart of whole parts, header and all."""
    mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"
    return message(body, f'Content-Type: multipart/{kind}; boundary="{boundary}"'.encode(), subject=subject)


TEXT = b"Content-Type: text/plain\r\n\r\nHello, see the file."


def _quoted(data: bytes) -> bytes:
    """Quoted-printable that keeps every byte: line ends of the content are encoded, too."""
    text = binascii.b2a_qp(data, quotetabs=True, istext=False).replace(b"\r\n", b"\n")
    return text.replace(b"\n", b"\r\n")


def part(data: bytes, name: str = NAME, kind: str = "application/octet-stream", encoding: str = "base64") -> bytes:
    encoders: dict[str, Pack] = {
        "base64": lambda raw: base64.encodebytes(raw).replace(b"\n", b"\r\n"),
        "quoted-printable": _quoted,
        "7bit": lambda raw: raw,
        "binary": lambda raw: raw,
        "x-uuencode": uuencoded,
    }
    fields = f'Content-Type: {kind}; name="{name}"\r\nContent-Transfer-Encoding: {encoding}\r\n'
    return f'{fields}Content-Disposition: attachment; filename="{name}"\r\n\r\n'.encode() + encoders[encoding](data)


def attached(data: bytes, name: str = NAME, subject: str = "sample") -> bytes:
    """A text and, second, a file."""
    return mixed(TEXT, part(data, name), subject=subject)


def forwarded(inner: bytes, encoding: str = "7bit") -> bytes:
    body = base64.encodebytes(inner).replace(b"\n", b"\r\n") if encoding == "base64" else inner
    head = f"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    return mixed(TEXT, head + body, boundary="f1")


def deeper(inner: bytes, levels: int) -> bytes:
    """A message in a message in a message; every level has a boundary of its own."""
    for level in range(levels):
        head = b"Content-Type: message/rfc822\r\n\r\n"
        inner = mixed(TEXT, head + inner, boundary=f"level{level}")
    return inner


# -- the tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrapping:
    """One way to wrap a file."""

    name: str
    """Of the wrapped file; its beginning is the wrapping's own name."""
    pack: Pack
    repacks: bool = False
    """The product writes this format: a curable member is cured where it is."""
    disarms: bool = False
    """The product takes embedded files out of this format, whatever is in them."""
    others: bool = False
    """It holds another file beside: taken out, the bad one leaves something."""
    archive: bool = True
    """It is an archive, opened by option."""
    mail_base: bool = False
    """It is mail in a file, opened by option."""


def _zips() -> Iterator[Wrapping]:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield Wrapping(
            f"zip-method-{method}.zip", lambda data, method=method: zip_of(data, method=method), repacks=True
        )  # type: ignore[misc]
    yield Wrapping("zip-of-two.zip", lambda data: zip_of(data, note=True), repacks=True, others=True)
    yield Wrapping("zip-by-libarchive.zip", written("zip"), repacks=True)
    yield Wrapping("zip-behind-text.zip", lambda data: b"a line in front\0\n" + zip_of(data))


def _tars() -> Iterator[Wrapping]:
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        yield Wrapping(f"tar-{mode[2:] or 'plain'}.tar", lambda data, mode=mode: tar_of(data, mode), repacks=True)  # type: ignore[misc]
    yield Wrapping("tar-of-two.tar", lambda data: tar_of(data, note=True), repacks=True, others=True)
    for form in ("gnutar", "ustar", "v7tar", "pax"):
        yield Wrapping(f"{form}.tar", written(form), repacks=True)
    yield Wrapping("tar.tar.zst", written("ustar", "zstd"))
    yield Wrapping("tar.tar.lzma", written("ustar", "lzma"))
    yield Wrapping("tar.tar.Z", written("ustar", "compress"))


def _streams() -> Iterator[Wrapping]:
    yield Wrapping("gzip.com.gz", gzip.compress, repacks=True)
    yield Wrapping("bzip2.com.bz2", written("raw", "bzip2"), repacks=True)
    yield Wrapping("xz.com.xz", lzma.compress, repacks=True)
    for filter_, ending in (("lzma", "lzma"), ("lzip", "lz"), ("compress", "Z"), ("lz4", "lz4"), ("zstd", "zst")):
        yield Wrapping(f"{filter_}.com.{ending}", written("raw", filter_))
    yield Wrapping("szdd.co_", szdd)


def _others() -> Iterator[Wrapping]:
    for form in ("cpio_newc", "cpio_odc", "cpio_bin", "cpio_pwb"):
        yield Wrapping(f"{form}.cpio", written(form))
    yield Wrapping("ar_bsd.a", written("ar_bsd"))
    yield Wrapping("ar_svr4.a", written("ar_svr4"))
    yield Wrapping("xar.xar", written("xar"))
    for compression in ("store", "deflate", "bzip2", "lzma1", "lzma2", "ppmd"):
        yield Wrapping(f"7z-{compression}.7z", written("7zip", options=f"compression={compression}"))
    yield Wrapping("iso.iso", written("iso9660"))
    yield Wrapping("iso-without-joliet.iso", written("iso9660", options="!joliet,!rockridge"))
    for name, pack in (
        ("cab.cab", cab), ("rar5.rar", rar5), ("rar4.rar", rar4), ("lha.lzh", lha), ("arj.arj", arj), ("rpm.rpm", rpm),
        ("fat.img", fat), ("udf.img", lambda data: Image({"x.com": data}, 0).build()),
    ):  # fmt: skip
        yield Wrapping(name, pack)


ARCHIVES = tuple(each for make in (_zips, _tars, _streams, _others) for each in make())
"""Every archive that is opened."""
ENCODINGS = tuple(
    Wrapping(name, pack, archive=False)
    for name, pack in (
        ("uuencode.uue", uuencoded), ("base64.b64", uuencoded_base64), ("yenc.ync", yenc), ("binhex.hqx", binhex),
    )
)  # fmt: skip
"""Encodings as files."""


def script(data: bytes) -> bytes:
    """In pieces of base64."""
    digits = base64.b64encode(data).decode("ascii")
    pieces = "' + '".join(digits[start : start + 30] for start in range(0, len(digits), 30))
    return f"var file = '{pieces}';\n".encode()


def calendar(data: bytes) -> bytes:
    digits = base64.b64encode(data).decode("ascii")
    folded = "\r\n ".join(digits[start : start + 60] for start in range(0, len(digits), 60))
    attached = f"ATTACH;VALUE=BINARY;ENCODING=BASE64;X-FILENAME=x.com:{folded}"
    return f"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n{attached}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n".encode()


CARRIERS = (
    Wrapping("tnef.dat", tnef, archive=False),
    Wrapping("doc.doc", doc, disarms=True, archive=False),
    Wrapping("docx.docx", docx, disarms=True, archive=False),
    Wrapping("odt.odt", odt, archive=False),
    Wrapping("pdf.pdf", pdf, disarms=True, archive=False),
    Wrapping("rtf.rtf", rtf, archive=False),
    Wrapping("page.html", html_address, disarms=True, archive=False),
    Wrapping("script.html", html_script, disarms=True, archive=False),
    Wrapping("picture.svg", svg, disarms=True, archive=False),
    Wrapping("dropper.js", script, archive=False),
    Wrapping("event.ics", calendar, archive=False),
    Wrapping("flat.xml", flat_xml, archive=False),
    Wrapping("active.mso", active_mime, archive=False),
    Wrapping("notes.one", onenote, archive=False),
    Wrapping("shortcut.lnk", lnk, archive=False),
    Wrapping("signed.p7m", envelopes.signed, archive=False),
    Wrapping("signed.gpg", envelopes.packed, archive=False),
    Wrapping("letter.as", envelopes.apple_single, archive=False),
    Wrapping("letter.bin", envelopes.mac_binary, archive=False),
    Wrapping("data.json", lambda data: envelopes.json_of(rtf(data)), archive=False),
)
"""Documents that carry files."""
MAIL_BASES = (
    Wrapping("letter.eml", eml, archive=False, mail_base=True),
    Wrapping("folder.mbox", mbox, archive=False, mail_base=True),
    Wrapping("outlook.msg", msg, archive=False, mail_base=True),
)
"""Mail as files."""
FILES = {each.name: each for each in (*ARCHIVES, *ENCODINGS, *CARRIERS, *MAIL_BASES)}


@dataclass(frozen=True)
class Way:
    """One way to put bytes into a message."""

    make: Pack
    ranged: bool = True
    """They have a place of their own in the received content, and can be edited there."""
    binary: bool = True
    """Any bytes survive it."""


MAILS = {
    "body": Way(lambda data: message(data + b"\r\n", b"Content-Type: text/plain"), binary=False),
    "7bit": Way(lambda data: mixed(TEXT, part(data, encoding="7bit")), binary=False),
    "binary": Way(lambda data: mixed(TEXT, part(data, encoding="binary"))),
    "base64": Way(lambda data: mixed(TEXT, part(data))),
    "quoted-printable": Way(lambda data: mixed(TEXT, part(data, encoding="quoted-printable"))),
    "x-uuencode": Way(lambda data: mixed(TEXT, part(data, encoding="x-uuencode"))),
    "second-attachment": Way(lambda data: mixed(TEXT, part(NOTE[1], NOTE[0]), part(data))),
    "picture": Way(lambda data: mixed(TEXT, part(data, "x.png", "image/png"), kind="related")),
    "one-of-two": Way(lambda data: mixed(TEXT, part(data), kind="alternative")),
    "uuencode-in-text": Way(lambda data: message(b"Here:\r\n\r\n" + uuencoded(data) + b"\r\nbye\r\n")),
    "base64-in-text": Way(lambda data: message(b"Here:\r\n\r\n" + uuencoded_base64(data) + b"\r\nbye\r\n")),
    "yenc-in-text": Way(lambda data: message(b"Here:\r\n\r\n" + yenc(data) + b"\r\nbye\r\n")),
    "binhex-in-text": Way(lambda data: message(b"Here:\r\n\r\n" + binhex(data) + b"\r\nbye\r\n")),
    "uuencode-in-base64": Way(lambda data: mixed(TEXT, part(b"Here:\r\n" + uuencoded(data), "x.txt")), ranged=False),
    "winmail": Way(lambda data: mixed(TEXT, part(tnef(data), "winmail.dat", "application/ms-tnef")), ranged=False),
    "message": Way(lambda data: forwarded(attached(data))),
    "message-in-base64": Way(lambda data: forwarded(attached(data), "base64"), ranged=False),
    "three-messages": Way(lambda data: deeper(attached(data), 3)),
    "digest": Way(lambda data: mixed(b"\r\n" + attached(data), kind="digest", boundary="d1")),
    "preamble": Way(
        lambda data: mixed(TEXT, boundary="p").replace(b"\r\n\r\n--p", b"\r\n\r\n" + data + b"\r\n--p", 1), binary=False
    ),
    "epilogue": Way(lambda data: mixed(TEXT) + data + b"\r\n", binary=False),
}
"""Ways into a message; the ranged ones are where a cured form is written back."""
