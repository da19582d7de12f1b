"""Archives of every kind: sound, cut off, behind other data, in several readings, and behind the filter's walls."""

import bz2
import functools
import gzip
import hashlib
import io
import lzma
import math
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import av_samples
import pytest

from gatepost.antivirus.budget import Budget, OverBudget
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.antivirus.openers.samples import CONTENT, PASSWORD, build_samples
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.stage import inspect
from gatepost.antivirus.unpack import ARCHIVES, open_container
from gatepost.model.finding import SEVERITY, ObjectStatus, ScanOptions

SHARED = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).resolve().parents[4] / "shared"))
CORPUS = SHARED / "corpora/av/av-tests.tar.gz"
CLAM = "71e7b604d18aefd839e51a39c88df8383bb4c071dc31f87f00a2b5df580d4495"
"""SHA-256 of the harmless program in the wrapped test files."""
SAMPLES = list(build_samples())
ENGINE = BuiltinEngine()


def members(data: bytes, name: str = "", passwords: tuple[str, ...] = (PASSWORD,)) -> list[Member]:
    options = ScanOptions()
    kind = detect_kind(data)
    assert kind is not None
    return list(open_container(data, kind, name, Opening(Budget(options, math.inf), options, passwords)))


def sample(kind: Kind, index: int = 0) -> bytes:
    return [data for each, data in SAMPLES if each is kind][index]


def tar_of(*names: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data in names:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(("kind", "data"), SAMPLES, ids=lambda each: str(each) if isinstance(each, Kind) else "")
def test_every_kind_is_recognised_and_opened(kind: Kind, data: bytes) -> None:
    assert detect_kind(data) is kind
    found = members(data)
    assert [(each.data, each.trouble, each.protected) for each in found] == [(CONTENT, "", False)]


def test_every_kind_that_can_be_opened_has_a_sample_to_warm_it() -> None:
    opened = {kind for kind, opener in ARCHIVES.items() if opener is not None}
    without_libraries = {Kind.SZDD, Kind.ARJ, Kind.DISK_IMAGE, Kind.UDF}
    same_library = {Kind.LHA, Kind.RPM}  # no more than cab and cpio
    assert opened - without_libraries - same_library == {kind for kind, _ in SAMPLES}


@pytest.mark.parametrize(("kind", "data"), SAMPLES, ids=lambda each: str(each) if isinstance(each, Kind) else "")
def test_what_is_cut_off_or_changed_never_raises_and_is_never_whole(kind: Kind, data: bytes) -> None:
    step = max(1, len(data) // 60)
    for cut in range(12, len(data), step):
        if detect_kind(data[:cut]) is not kind:
            continue
        found = members(data[:cut])
        whole = any(each.data == CONTENT for each in found)
        if kind is not Kind.COMPRESS:  # which has nothing to tell its end by
            assert whole or any(each.trouble or each.protected for each in found), cut
    for at in range(0, len(data), step):
        changed = data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :]
        changed_kind = detect_kind(changed)
        if changed_kind in ARCHIVES:
            members(changed)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_in_every_dialect(form: int) -> None:
    data = tar_of(("a", b"one"), ("long/" * 18 + "\u00e4", b"two" * 1000), form=form)
    assert detect_kind(data) is Kind.TAR
    assert [(each.name[-1], each.data) for each in members(data)] == [("a", b"one"), ("\u00e4", b"two" * 1000)]


def old_tar(name: bytes, data: bytes) -> bytes:
    """An archive from before POSIX: no magic, blanks in front of its numbers."""
    header = bytearray(name.ljust(100, b"\0") + b"   644 \0     0 \0     0 \0" + b"%11o %11o " % (len(data), 0))
    header += b" " * 8
    header += bytes(512 - len(header))
    header[148:156] = b"%6o\0 " % sum(header)
    return bytes(header) + data.ljust(512, b"\0") + bytes(1024)


def test_tar_without_a_mark_is_told_by_its_checksum() -> None:
    data = old_tar(b"x.com", av_samples.eicar())
    assert detect_kind(data) is Kind.TAR
    assert members(data)[0].data == av_samples.eicar()
    assert detect_kind(data[:148] + b"123456\0 " + data[156:]) is not Kind.TAR


def test_links_and_folders_of_a_tar_are_no_members() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("s", tarfile.SYMTYPE), ("f", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        member = tarfile.TarInfo("x")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"one"))
    assert [(each.name, each.data) for each in members(out.getvalue()) if each.data] == [("x", b"one")]


def test_several_streams_in_a_row_are_one_file() -> None:
    for pack in (lambda data: lzma.compress(data) + bytes(4), gzip.compress, bz2.compress):
        data = pack(b"first ") + pack(b"second")
        assert [each.data for each in members(data)] == [b"first second"]


@pytest.mark.parametrize(("ending", "inner"), [("x.TGZ", "x.tar"), ("x.com.bz2", "x.com"), ("x", "x")])
def test_the_name_inside_a_stream_tells_what_it_is(ending: str, inner: str) -> None:
    assert members(bz2.compress(b"data"), ending)[0].name == inner


# -- behind other data ------------------------------------------------------------------------------------------------

STUB = (
    b"MZ"
    + b"\x90" * 58
    + struct.pack("<L", 128)
    + bytes(64)
    + b"PE\0\0"
    + b"Rar!\x1a\x07 7z\xbc\xaf\x27\x1c MSCF\0\0\0\0"
    + bytes(400)
)
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(300) + b"IEND\xae\x42\x60\x82"


@pytest.mark.parametrize("stub", [STUB, PICTURE, b"a text in front\0\n"], ids=["program", "picture", "text"])
@pytest.mark.parametrize("kind", [Kind.ZIP, Kind.RAR, Kind.SEVEN_ZIP, Kind.CAB])
def test_archives_behind_other_data_are_opened(stub: bytes, kind: Kind) -> None:
    data = stub + sample(kind)
    assert detect_kind(data) is kind
    assert [each.data for each in members(data)] == [CONTENT]
    assert not any(each.trouble for each in members(data))


def test_marks_in_a_program_are_no_archives() -> None:
    assert detect_kind(STUB) is Kind.EXECUTABLE


@pytest.mark.parametrize("first", [Kind.ZIP, Kind.RAR, Kind.SEVEN_ZIP, Kind.CAB, Kind.TAR, Kind.GZIP])
@pytest.mark.parametrize("second", [Kind.ZIP, Kind.RAR, Kind.SEVEN_ZIP, Kind.CAB])
def test_two_archives_in_a_row_are_both_read(first: Kind, second: Kind) -> None:
    bad = av_samples.zip_of(("x.com", av_samples.eicar())) if second is Kind.ZIP else sample(second)
    data = sample(first) + bad
    contents = [each.data for each in members(data)]
    assert contents.count(CONTENT) == (1 if second is Kind.ZIP and first is not Kind.ZIP else contents.count(CONTENT))
    assert (av_samples.eicar() if second is Kind.ZIP else CONTENT) in contents
    assert first is second or len(contents) >= 2


def test_an_archive_stored_in_another_is_opened_once() -> None:
    data = tar_of(("a.rar", sample(Kind.RAR)), ("b.zip", sample(Kind.ZIP)))
    assert [each.name for each in members(data)] == ["a.rar", "b.zip"]


# -- images of disks ----------------------------------------------------------------------------------------------------


def fat_image(name: bytes, content: bytes, *, partition: bool = False) -> bytes:
    """A FAT12 file system with one file in a folder."""
    sector, per_table = 512, 3
    boot = bytearray(sector)
    boot[:3] = b"\xeb\x3c\x90"
    struct.pack_into("<HBHBHHBH", boot, 11, sector, 1, 1, 2, 112, 720, 0xF9, per_table)
    boot[510:] = b"\x55\xaa"
    clusters = -(-len(content) // sector)
    chain = [0xFF9, 0xFFF, 0xFFF] + [3 + i + 1 for i in range(clusters - 1)] + [0xFFF]
    table = bytearray(per_table * sector)
    for index, value in enumerate(chain):
        at = index * 3 // 2
        old = table[at] | table[at + 1] << 8
        new = old & 0x000F | value << 4 if index & 1 else old & 0xF000 | value
        table[at], table[at + 1] = new & 0xFF, new >> 8

    def entry(short: bytes, attributes: int, cluster: int, size: int) -> bytes:
        return short.ljust(11) + bytes((attributes,)) + bytes(14) + struct.pack("<HL", cluster, size)

    root = entry(b"FOLDER", 0x10, 2, 0).ljust(112 * 32, b"\0")
    folder = (entry(b".", 0x10, 2, 0) + entry(name, 0x20, 3, len(content))).ljust(sector, b"\0")
    data = bytes(boot) + bytes(table) * 2 + root + folder + content
    data = data.ljust(720 * sector, b"\0")
    if not partition:
        return data
    first = bytearray(sector)
    first[446:462] = struct.pack("<B3sB3sLL", 0x80, b"", 1, b"", 1, 720)
    first[510:] = b"\x55\xaa"
    return bytes(first) + data


def fixed_vhd(disk: bytes) -> bytes:
    return disk + (b"conectix" + bytes(52) + struct.pack(">L", 2)).ljust(512, b"\0")


def dynamic_vhd(disk: bytes) -> bytes:
    block = 64 * 1024
    footer = (b"conectix" + bytes(8) + struct.pack(">Q", 512) + bytes(36) + struct.pack(">L", 3)).ljust(512, b"\0")
    count = -(-len(disk) // block)
    header = (b"cxsparse" + bytes(8) + struct.pack(">QLLL", 1536, 0, count, block)).ljust(1024, b"\0")
    table = b"".join(struct.pack(">L", 4 + i * (1 + block // 512)) for i in range(count)).ljust(512, b"\xff")
    blocks = b"".join(b"\xff" * 512 + disk[i * block : (i + 1) * block].ljust(block, b"\0") for i in range(count))
    return footer + header + table + blocks + footer


@pytest.mark.parametrize("wrap", [lambda disk: disk, fixed_vhd, dynamic_vhd], ids=["raw", "fixed", "dynamic"])
@pytest.mark.parametrize("partition", [False, True])
def test_files_of_disk_images(wrap, partition: bool) -> None:
    content = av_samples.eicar() * 30
    data = wrap(fat_image(b"X       COM", content, partition=partition))
    assert detect_kind(data) is Kind.DISK_IMAGE
    assert [(each.name, each.data, each.trouble) for each in members(data)] == [("X.COM", content, "")]


def test_disk_images_that_cannot_be_read_are_trouble() -> None:
    for data in (
        b"vhdxfile" + bytes(70_000),
        fixed_vhd(bytes(510) + b"\x55\xaa" + bytes(70_000)),
        b"MSWIM\0\0\0" + bytes(70_000),
    ):
        assert detect_kind(data) is Kind.DISK_IMAGE
        assert [(each.data, bool(each.trouble)) for each in members(data)] == [(None, True)]


# -- the collection of test files -----------------------------------------------------------------------------------------


class ClamFinder:
    """Finds the wrapped test program."""

    name = "clam"

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        return Report(Outcome.INFECTED, "clam.exe") if hashlib.sha256(subject.data).hexdigest() == CLAM else CLEAN

    def version(self) -> str:
        return "1"

    def cure(self, subject: ScanObject) -> bytes | None:
        return None

    def health(self) -> str:
        return ""


@functools.cache
def corpus() -> dict[str, bytes]:
    with tarfile.open(CORPUS, "r:gz") as archive:
        files = ((each, archive.extractfile(each)) for each in archive if each.isfile())
        return {each.name.partition("/")[2]: file.read() for each, file in files if file is not None}


def status_of(data: bytes) -> ObjectStatus:
    analysis = inspect(av_samples.attached(data), ScanOptions(), [ENGINE, ClamFinder()], math.inf)
    return min((each.status for each in analysis.objects), key=SEVERITY.index)


ERROR, INFECTED, PROTECTED = ObjectStatus.ERROR, ObjectStatus.INFECTED, ObjectStatus.PROTECTED
EXPECTED = {
    **dict.fromkeys(
        ("bad-crc.zip", "bzip2-method.zip", "deflate.zip", "double-extension.zip", "eicar.7z", "eicar.arj",
         "eicar.com.bz2", "eicar.com.gz", "eicar.com.xz", "eicar.iso", "eicar.tar", "eicar.tar.bz2", "eicar.tar.gz",
         "eicar.tar.xz", "eicar.zst", "leading-junk.zip", "lzma-method.zip", "nested-2.zip", "nested-5.zip",
         "rtlo-name.zip", "stored.zip"),
        INFECTED,
    ),
    "encrypted-aes.zip": PROTECTED,
    "encrypted-zipcrypto.zip": PROTECTED,
    **dict.fromkeys(
        ("clam.7z", "clam.arj", "clam.bin-be.cpio", "clam.bin-le.cpio", "clam.bz2.zip", "clam.cab", "clam.d64.zip",
         "clam.exe.bz2", "clam.exe.szdd", "clam.impl.zip", "clam.newc.cpio", "clam.odc.cpio", "clam.tar.gz",
         "clam.zip", "clam_cache_emax.tgz"),
        INFECTED,
    ),
    "clam.chm": ERROR,  # LZX of help files: no reader
}  # fmt: skip
"""Archives of the collection, and what is said of a mail with each. Packed programs, installers and documents are not
archives: other tests have them."""


@pytest.mark.skipif(not CORPUS.exists(), reason="the shared corpora are not here")
def test_the_collection_of_archives() -> None:
    files = {path.rpartition("/")[2]: data for path, data in corpus().items() if "oletools" not in path}
    assert {name: status_of(files[name]) for name in EXPECTED} == EXPECTED


@pytest.mark.skipif(not CORPUS.exists(), reason="the shared corpora are not here")
@pytest.mark.parametrize("name", ["encrypted-aes.zip", "encrypted-zipcrypto.zip"])
def test_a_password_opens_the_encrypted_ones(name: str) -> None:
    data = corpus()[f"eicar-variants/archive/{name}"]
    found = members(data, passwords=("wrong", "infected"))
    assert [(each.data, each.secret) for each in found] == [(av_samples.eicar(), True)]


# -- behind the walls -----------------------------------------------------------------------------------------------------

WALLED = """
import math, os, sys
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.budget import Budget
from gatepost.antivirus.loading import warm_up
from gatepost.antivirus.openers.samples import CONTENT, PASSWORD, build_samples
from gatepost.antivirus.opening import Opening
from gatepost.antivirus.unpack import open_container
from gatepost.antivirus.kinds import Kind
from gatepost.filter.sandbox import Sandbox, Walls, enter
from gatepost.model.finding import ScanOptions

warm_up([BuiltinEngine()])
samples = list(build_samples())
blake = bytes.fromhex(sys.stdin.read())
threads = len(os.listdir("/proc/self/task"))
sandbox = Sandbox(Walls(512 * 1024 * 1024, 65534, 65534))
child = os.fork()
if not child:
    missing = enter(sandbox, frozenset({1, 2}), os.getppid()).missing
    options = ScanOptions()
    wrong = []
    for kind, data in [*samples, (Kind.RAR, blake)]:
        opening = Opening(Budget(options, math.inf), options, (PASSWORD,))
        found = list(open_container(data, kind, "", opening))
        if [(each.data, each.trouble) for each in found] != [(CONTENT, "")]:
            wrong.append((str(kind), found))
    os.write(1, repr((threads, wrong)).encode())
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def with_blake(data: bytes) -> bytes:
    """Give the member of the rar sample a BLAKE2 hash: what makes libarchive start threads."""
    start = 8 + 4 + 1 + data[12]
    body = data[start + 5 : start + 5 + data[start + 4]]
    extra = bytes((34, 2, 0)) + bytes(32)
    body = bytes((body[0], body[1] | 1, len(extra))) + body[2:] + extra
    sized = bytes((len(body),)) + body
    rest = data[start + 5 + data[start + 4] :]
    return data[:start] + zlib.crc32(sized).to_bytes(4, "little") + sized + rest


def test_every_kind_is_opened_behind_the_walls_and_starts_no_thread() -> None:
    blake = with_blake(sample(Kind.RAR))
    assert [each.data for each in members(blake)] == [CONTENT]
    done = subprocess.run(
        [sys.executable, "-c", WALLED], input=blake.hex(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "(1, [])"), done.stderr[-2000:]


def test_names_of_members_are_bounded_and_cannot_break_a_line() -> None:
    data = tar_of(("x" * 300 + "\r\n\x1b[31m.com", b"data"))
    name = members(data)[0].name
    assert len(name) <= 255
    assert name.isprintable()


def test_one_member_too_large_is_over_budget() -> None:
    options = ScanOptions(unpacked_bytes=1000)
    for data in (tar_of(("a", bytes(1001))), lzma.compress(bytes(1001))):
        opening = Opening(Budget(options, math.inf), options)
        kind = detect_kind(data)
        assert kind is not None
        with pytest.raises(OverBudget, match="1000 unpacked bytes"):
            list(open_container(data, kind, "", opening))
