"""Files in the envelopes of mail, in texts that carry them, and behind line ends that only some readers know."""

import base64
import bz2
import gzip
import io
import lzma
import math
import os
import struct
import tarfile
import zlib

import av_samples
import document_samples
import pytest
from tests.support import envelopes

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.antivirus.openers.disguises import see_through
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.stage import inspect
from gatepost.antivirus.unpack import open_container
from gatepost.model.finding import SEVERITY, ObjectStatus, ScanOptions

ENGINE = BuiltinEngine()
EICAR = av_samples.eicar()
ZIP = av_samples.zip_of(("x.com", EICAR))
LARGE = av_samples.zip_of(("a.bin", bytes(range(256)) * 3), ("x.com", EICAR))
ENTITY = (
    b'Content-Disposition: attachment; filename="a.zip"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    + base64.b64encode(ZIP)
)
OPTIONS = ScanOptions()


def status(content: bytes) -> ObjectStatus:
    """Return the worst status in a mail."""
    analysis = inspect(content, OPTIONS, [ENGINE], math.inf)
    return min((each.status for each in analysis.objects), key=SEVERITY.index)


def members(data: bytes, name: str = "", kind: Kind | None = None) -> list[Member]:
    found = kind or detect_kind(data, name)
    assert found is not None
    return list(open_container(data, found, name, Opening(Budget(OPTIONS, math.inf), OPTIONS)))


FILES = {
    "signed": ("contract.txt.p7m", envelopes.signed(EICAR)),
    "signed-in-pieces": ("contract.txt.p7m", envelopes.signed_in_pieces(EICAR)),
    "signed-as-text": ("contract.txt.p7m", envelopes.pem(envelopes.signed(EICAR))),
    "signed-twice": ("a.p7m.p7m", envelopes.signed(envelopes.signed_in_pieces(EICAR))),
    "compressed": ("a.p7z", envelopes.compressed(EICAR)),
    "entity": ("smime.p7m", envelopes.signed(ENTITY)),
    "compressed-entity": ("smime.p7z", envelopes.compressed(ENTITY)),
    "another-name": ("a.dat", envelopes.signed(EICAR)),
    "pgp-literal": ("a.gpg", envelopes.literal(EICAR)),
    "pgp-pieces": ("a.pgp", envelopes.in_partial_lengths(EICAR)),
    "pgp-armoured": ("a.asc", envelopes.armoured(envelopes.packed(EICAR))),
    "pgp-in-a-text": ("a.txt", b"Here it is.\r\n\r\n" + envelopes.armoured(envelopes.packed(EICAR))),
    **{f"pgp-method-{method}": ("a.gpg", envelopes.packed(EICAR, method)) for method in range(4)},
    "apple-single": ("a", envelopes.apple_single(EICAR)),
    "apple-double": ("a", envelopes.apple_single(EICAR, double=True)),
    "mac-binary": ("a.bin", envelopes.mac_binary(EICAR)),
}


@pytest.mark.parametrize("way", FILES)
def test_files_in_envelopes(way: str) -> None:
    name, data = FILES[way]
    assert status(av_samples.attached(data, name=name)) is ObjectStatus.INFECTED
    assert status(av_samples.attached(av_samples.zip_of((name, data)), name="a.zip")) is ObjectStatus.INFECTED


def test_an_openpgp_message_in_the_text_of_a_mail() -> None:
    text = b"Hello,\r\n\r\n" + envelopes.armoured(envelopes.packed(ZIP)) + b"\r\nBye\r\n"
    assert status(av_samples.message(text)) is ObjectStatus.INFECTED


def test_the_first_version_of_mac_binary_is_told_by_its_type() -> None:
    data = envelopes.mac_binary(EICAR, checked=False)
    assert status(av_samples.attached(data, "application/macbinary")) is ObjectStatus.INFECTED
    assert detect_kind(data) is None


def test_envelopes_without_content_are_clean() -> None:
    assert members(envelopes.detached()) == []
    assert status(av_samples.attached(envelopes.detached(), name="smime.p7s")) is ObjectStatus.CLEAN


CUTTABLE = {
    "signed": (envelopes.signed(LARGE), "a.p7m"),
    "pieces": (envelopes.signed_in_pieces(LARGE), "a.p7m"),
    "compressed": (envelopes.compressed(LARGE), "a.p7m"),
    "packed": (envelopes.packed(LARGE), "a.gpg"),
    "literal": (envelopes.literal(LARGE), "a.gpg"),
    "partial": (envelopes.in_partial_lengths(LARGE), "a.gpg"),
    "apple": (envelopes.apple_single(LARGE), "a"),
}


@pytest.mark.parametrize("way", CUTTABLE)
def test_what_is_cut_off_is_never_whole(way: str) -> None:
    data, name = CUTTABLE[way]
    kind = detect_kind(data, name)
    assert kind is not None
    for size in range(len(data) // 4, len(data) * 9 // 10, 37):
        assert any(each.trouble for each in members(data[:size], name, kind)), size


def test_elements_in_each_other_are_bounded() -> None:
    for data in (b"\x30\x80" * 100_000, b"\x24\x80" * 100_000):
        content = envelopes.signed(b"")[:20] + data
        start = b"\x30\x80" + bytes.fromhex("06092a864886f70d010702") + b"\xa0\x80\x30\x80\2\1\1\x31\0\x30\x80"
        assert members(start + b"\6\1\1\xa0\x80" + data, kind=Kind.CMS)[0].trouble
        assert members(content, kind=Kind.CMS)[0].trouble


def json_text(value: str) -> str:
    return f'{{"a": "{value}"}}'


DIGITS = base64.b64encode(LARGE).decode()
LINES = [DIGITS[at : at + 70] for at in range(0, len(DIGITS), 70)]
TEXTS = {
    "a.json": f'{{"a": "{DIGITS}"}}',
    "escaped.json": json_text(DIGITS.replace("/", "\\/")),
    "lines.json": json_text("\\r\\n".join(LINES)),
    "a.ldif": "dn: cn=a\nphoto:: " + "\n ".join(LINES),
    "a.yaml": "a: !!binary |\n  " + "\n  ".join(LINES),
    "a.pem": "-----BEGIN CERTIFICATE-----\n" + "\n".join(LINES) + "\n-----END CERTIFICATE-----\n",
    "a.b64": "\n".join(LINES),
    "a.csv": f"a,b\n1,{DIGITS}\n",
    "a.md": f"[a](data:application/zip;base64,{DIGITS})",
    "a.plist": f"<?xml version='1.0'?><plist><dict><data>{base64.b64encode(ZIP).decode()}</data></dict></plist>",
    "a.au3": f'$a = "{DIGITS}"',
    "heredoc.sh": "#!/bin/sh\nbase64 -d > a <<EOF\n" + "\n".join(LINES) + "\nEOF\n",
    "here.ps1": "$a = @'\n" + "\n".join(LINES) + "\n'@",
    "split.vbs": 'a = Split("' + " ".join(map(str, LARGE)) + '", " ")',
    "octal.js": "a = '" + "".join(f"\\{byte:03o}" for byte in LARGE) + "'",
    "script-in-script.js": "eval(atob('" + base64.b64encode(f"a = '{DIGITS}'".encode()).decode() + "'))",
}


@pytest.mark.parametrize("name", TEXTS)
def test_files_in_texts(name: str) -> None:
    assert status(av_samples.attached(TEXTS[name].encode(), name=name)) is ObjectStatus.INFECTED


def test_texts_that_hold_keys_and_pictures_are_as_they_were() -> None:
    key = base64.b64encode(bytes((value * 167 + 13) % 256 for value in range(900))).decode()
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(600)).decode()
    for text in (f'{{"key": "{key}"}}', f'{{"photo": "{picture}"}}', "word " * 500, "a/b/c/d" * 50):
        data = text.encode()
        assert status(av_samples.attached(data, name="a.json")) is ObjectStatus.CLEAN
        assert detect_kind(data, "a.json") is not Kind.ENCODED_TEXT or members(data, "a.json") == []


@pytest.mark.parametrize("tail", ["gzip", "bzip2", "xz"])
def test_scripts_that_unpack_themselves(tail: str) -> None:
    pack = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}[tail]
    data = b"#!/bin/sh\ntail -n +4 $0 | tar x\nexit\n" + pack(EICAR)
    assert status(av_samples.attached(data, name="a.run")) is ObjectStatus.INFECTED


PROGRAM = (
    (b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0\xb8\0\0\0\0\0\0\0\x40").ljust(60, b"\0")
    + struct.pack("<I", 128)
    + bytes(64)
    + b"PE\0\0\x64\x86".ljust(900, b"\1")
)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 8, 13, 16])
def test_a_program_masked_by_a_key(length: int) -> None:
    key = os.urandom(length - 1) + b"\x5a" if length > 1 else b"\x5a"
    masked = bytes(byte ^ key[place % length] for place, byte in enumerate(PROGRAM))
    assert PROGRAM in see_through(masked, Budget(OPTIONS, math.inf))


def test_what_is_no_masked_program_stays_as_it_is() -> None:
    for data in (bytes(1000), b"ab" * 500, os.urandom(1000), b"MZ"):
        assert PROGRAM not in see_through(data, Budget(OPTIONS, math.inf))


# -- line ends ------------------------------------------------------------------------------------------------------------


def test_a_mail_whose_lines_end_with_a_carriage_return() -> None:
    content = av_samples.attached(ZIP, name="a.zip")
    received = b"Received: from a by b; Mon, 1 Jan 2026 00:00:00 +0000\r\n"
    assert status(content.replace(b"\r\n", b"\r")) is ObjectStatus.INFECTED
    assert status(received + content.replace(b"\r\n", b"\r")) is ObjectStatus.INFECTED
    head, _, body = content.partition(b"\r\n\r\n")
    assert status(head + b"\r\n\r\n" + body.replace(b"\r\n", b"\r")) is ObjectStatus.INFECTED
    clean = av_samples.attached(b"nothing", name="a.txt").replace(b"\r\n", b"\r")
    assert status(clean) is ObjectStatus.CLEAN


@pytest.mark.parametrize("front", [b"", b"From a@example.org Thu Jan  1 00:00:00 1970\r\n"], ids=["mail", "folder"])
def test_a_mail_file_whose_lines_end_with_a_carriage_return(front: bytes) -> None:
    data = (front + av_samples.attached(ZIP, name="a.zip")).replace(b"\r\n", b"\r")
    assert status(av_samples.attached(data, name="a.mbox" if front else "a.eml")) is ObjectStatus.INFECTED


# -- elsewhere ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ('access-type=URL; URL="https://example.net/a/setup.exe?x=1"', ObjectStatus.SUSPICIOUS),
        ('access-type=anon-ftp; site="example.net"; name="a.zip"', ObjectStatus.SUSPICIOUS),
        ('access-type=anon-ftp; site="ftp.example.net"; name="draft-example-00.txt"', ObjectStatus.CLEAN),
        ("access-type=mail-server; server=list@example.net", ObjectStatus.CLEAN),
    ],
)
def test_content_that_the_reader_is_to_fetch(parameters: str, expected: ObjectStatus) -> None:
    part = (
        f"--b\r\nContent-Type: message/external-body; {parameters}\r\n\r\nContent-Type: text/plain\r\n\r\n\r\n--b--\r\n"
    )
    content = av_samples.message(part.encode(), b"MIME-Version: 1.0", b"Content-Type: multipart/mixed; boundary=b")
    assert status(content) is expected


def test_a_tar_archive_behind_a_text_is_not_clean() -> None:
    """GNU tar looks for the first header that is one."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("x.com")
        info.size = len(EICAR)
        archive.addfile(info, io.BytesIO(EICAR))
    assert status(av_samples.attached(b"text" * 128 + out.getvalue(), name="a.tar")) is not ObjectStatus.CLEAN


# -- Hancom's documents -----------------------------------------------------------------------------------------------------


def hancom(path: tuple[str, ...], content: bytes, *, locked: bool = False) -> bytes:
    """Return a document of the word processor in Korea: compound, its streams packed."""
    header = b"HWP Document File".ljust(32, b"\0") + struct.pack("<II", 0x05000000, 3 if locked else 1)
    return document_samples.compound({("FileHeader",): header.ljust(256, b"\0"), path: content})


def packed(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-zlib.MAX_WBITS)


def test_files_and_scripts_in_documents_of_hancom() -> None:
    inner = document_samples.compound({("\1Ole10Native",): document_samples.package(EICAR)})
    for path, content in (
        (("BinData", "BIN0001.ps"), packed(EICAR)),
        (("BinData", "BIN0001.OLE"), packed(struct.pack("<I", len(inner)) + inner)),
        (("BinData", "BIN0001.com"), EICAR),
        (("Scripts", "DefaultJScript"), packed(EICAR)),
    ):
        assert status(av_samples.attached(hancom(path, content), name="a.hwp")) is ObjectStatus.INFECTED


def test_documents_of_hancom_that_are_locked_or_damaged_are_not_clean() -> None:
    path = ("BinData", "BIN0001.bin")
    data = packed(os.urandom(5000))
    assert status(av_samples.attached(hancom(path, data), name="a.hwp")) is ObjectStatus.CLEAN
    assert status(av_samples.attached(hancom(path, data[:-900]), name="a.hwp")) is ObjectStatus.ERROR
    assert status(av_samples.attached(hancom(path, data, locked=True), name="a.hwp")) is ObjectStatus.PROTECTED
