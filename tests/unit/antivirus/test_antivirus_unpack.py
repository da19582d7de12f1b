import functools
import gzip
import io
import math
import resource
import struct
import time
import zipfile
import zlib

import av_samples
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.antivirus.budget import MEMBER_BYTES, RATIO_FREE_BYTES, Budget, OverBudget
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.stage import inspect
from gatepost.antivirus.unpack import open_container
from gatepost.model.finding import SEVERITY, ObjectStatus, ScanOptions

ENGINE = BuiltinEngine()


def members(data: bytes, name: str = "", **options: object) -> list[Member]:
    chosen = ScanOptions(**options)
    kind = detect_kind(data)
    assert kind is not None
    return list(open_container(data, kind, name, Opening(Budget(chosen, math.inf), chosen)))


def status_of(data: bytes, **options: object) -> tuple[ObjectStatus, str]:
    analysis = inspect(av_samples.attached(data), ScanOptions(**options), [ENGINE], math.inf)
    part = analysis.objects[2]
    assert part.status is min((r.status for r in analysis.objects), key=SEVERITY.index)
    return part.status, part.evidence


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_of_every_method(method: int) -> None:
    data = av_samples.zip_of(("a.txt", b"alpha" * 100), ("d/\u00e9.txt", b"beta"), ("empty", b""), method=method)
    assert members(data) == [
        Member("a.txt", b"alpha" * 100),
        Member("d/\u00e9.txt", b"beta"),
        Member("empty", b""),
    ]


@given(st.lists(st.tuples(st.text("abc/\u00e9", min_size=1, max_size=5), st.binary(max_size=300)), max_size=5))
@settings(max_examples=50, deadline=None)
def test_whatever_the_standard_library_writes_is_read_back(written: list[tuple[str, bytes]]) -> None:
    written = [(f"{index}{name}", data) for index, (name, data) in enumerate(written)]
    written = [(name, data) for name, data in written if data or not name.endswith("/")]
    data = av_samples.zip_of(*written)
    assert detect_kind(data) == "zip"
    assert [(m.name, m.data) for m in members(data) if not m.trouble] == written


@given(st.binary(max_size=200), st.integers(0, 200), st.binary(max_size=4))
@settings(max_examples=300, deadline=None)
def test_damaged_archives_never_raise(noise: bytes, where: int, change: bytes) -> None:
    for whole in (av_samples.zip_of(("a", b"x" * 50), ("b", noise)), gzip.compress(noise, mtime=0)):
        where %= len(whole)
        broken = whole[:where] + change + whole[where + len(change) :]
        kind = detect_kind(broken)
        if kind:
            try:
                list(open_container(broken, kind, "", Opening(Budget(ScanOptions(), math.inf), ScanOptions())))
            except OverBudget:
                continue


def test_a_streamed_zip_with_data_descriptors() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"one" * 50)
        archive.writestr("b", b"two")
    assert members(pipe.data) == [Member("a", b"one" * 50), Member("b", b"two")]


def test_a_self_extractor_and_text_that_is_none() -> None:
    data = b"MZ" + b"\x90" * 510 + av_samples.zip_of(("a", b"alpha"))
    assert detect_kind(data) == "zip"
    assert members(data) == [Member("a", b"alpha")]
    assert detect_kind(b"a text that mentions PK\x05\x06 and goes on for a while, at some length") is None


def encrypted_zip() -> bytes:
    """Mark the member of an archive as encrypted in both headers: nothing can be read without the password."""
    data = bytearray(av_samples.zip_of(("secret.txt", b"some text here"), method=zipfile.ZIP_STORED))
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


@pytest.mark.feature("F-AV-06")
def test_encrypted_is_protected_and_truncated_is_error() -> None:
    status, evidence = status_of(encrypted_zip())
    assert (status, "password" in evidence) == (ObjectStatus.PROTECTED, True)
    whole = av_samples.zip_of(("a.txt", bytes(range(256)) * 40))
    for cut in (len(whole) - 1, len(whole) - 30, len(whole) // 2, 40):
        assert status_of(whole[:cut])[0] is ObjectStatus.ERROR, cut


def test_what_a_cut_archive_still_holds_is_scanned() -> None:
    whole = av_samples.zip_of(("x.com", av_samples.eicar()), ("rest", bytes(range(256)) * 40))
    assert status_of(whole[: len(whole) // 4 + 100])[0] is ObjectStatus.INFECTED
    packed = gzip.compress(av_samples.eicar() + bytes(range(256)) * 4)
    assert status_of(packed[:-4])[0] is ObjectStatus.INFECTED


def test_a_member_hidden_from_the_directory_is_found() -> None:
    hidden = av_samples.zip_of(("hidden.com", av_samples.eicar()))
    hidden = hidden[: hidden.find(b"PK\x01\x02")]
    shown = av_samples.zip_of(("shown.txt", b"harmless"))
    assert status_of(hidden + shown)[0] is ObjectStatus.INFECTED
    harmless = av_samples.zip_of(("h", b"harmless too"))
    status, evidence = status_of(harmless[: harmless.find(b"PK\x01\x02")] + shown)
    assert (status, "directory" in evidence) == (ObjectStatus.ERROR, True)


@pytest.mark.parametrize(
    ("what", "offset", "form", "value"),
    [
        ("checksum", 16, "<L", 1),
        ("method", 10, "<H", 0),
        ("unknown method", 10, "<H", 77),
        ("packed size too large", 20, "<L", 1 << 30),
        ("packed size too small", 20, "<L", 3),
        ("header elsewhere", 42, "<L", 7),
        ("header far away", 42, "<L", 1 << 31),
    ],
)
def test_lies_in_the_directory_are_errors(what: str, offset: int, form: str, value: int) -> None:
    data = bytearray(av_samples.zip_of(("a.txt", b"alpha beta gamma " * 20)))
    struct.pack_into(form, data, data.find(b"PK\x01\x02") + offset, value)
    assert status_of(bytes(data))[0] is ObjectStatus.ERROR, what


def test_members_that_overlap_are_an_error_and_unpacked_once() -> None:
    data = av_samples.zip_of(("a", b"x" * 1000), ("b", b"y"))
    directory = data.find(b"PK\x01\x02")
    second = data.find(b"PK\x01\x02", directory + 4)
    forged = bytearray(data)
    struct.pack_into("<L", forged, second + 42, 0)  # both names now stand for the first member's bytes
    found = members(bytes(forged))
    assert [m.data for m in found if m.data is not None] == [b"x" * 1000, b"y"]
    assert any("overlap" in m.trouble for m in found)


def test_zip64_sizes() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("big", "w", force_zip64=True) as file:
        file.write(b"small after all")
    assert members(out.getvalue()) == [Member("big", b"small after all")]


def test_gzip_streams_in_a_row_are_one_file() -> None:
    data = gzip.compress(av_samples.eicar()[:30]) + gzip.compress(av_samples.eicar()[30:]) + b"\0" * 20
    assert members(data, "x.com.gz") == [Member("x.com", av_samples.eicar())]
    assert status_of(data)[0] is ObjectStatus.INFECTED


@pytest.mark.parametrize(
    "data",
    [
        b"Rar!\x1a\x07\x01\x00" + b"x" * 20,
        b"7z\xbc\xaf\x27\x1c" + b"x" * 30,
        b"\xfd7zXZ\x00" + b"x" * 30,
        b"MSCF\0\0\0\0" + b"x" * 40,
        b"\x28\xb5\x2f\xfd" + b"x" * 10,
        b"name".ljust(257, b"\0") + b"ustar\x0000" + b"\0" * 248,
        b"x" * 7 + b"**ACE**" + b"x" * 30,
    ],
)
def test_archives_that_cannot_be_opened_are_never_clean(data: bytes) -> None:
    assert status_of(data)[0] is ObjectStatus.ERROR
    assert status_of(data, archives=False)[0] is ObjectStatus.CLEAN


def nested_zip(levels: int) -> bytes:
    data = av_samples.eicar()
    for level in range(levels):
        data = av_samples.zip_of((f"{level}.zip", data))
    return data


@pytest.mark.parametrize(
    ("levels", "status"), [(3, ObjectStatus.INFECTED), (4, ObjectStatus.ERROR), (40, ObjectStatus.ERROR)]
)
def test_depth_at_the_limit_and_over(levels: int, status: ObjectStatus) -> None:
    assert status_of(nested_zip(levels), archive_depth=3)[0] is status


@pytest.mark.parametrize(
    ("count", "status"), [(20, ObjectStatus.CLEAN), (21, ObjectStatus.ERROR), (500, ObjectStatus.ERROR)]
)
def test_members_at_the_limit_and_over(count: int, status: ObjectStatus) -> None:
    data = av_samples.zip_of(*((str(i), b"x") for i in range(count)))
    assert status_of(data, archive_members=20)[0] is status


@pytest.mark.parametrize(("size", "status"), [(1000, ObjectStatus.CLEAN), (1001, ObjectStatus.ERROR)])
@pytest.mark.parametrize("pack", [gzip.compress, lambda data: av_samples.zip_of(("x", data))])
def test_unpacked_bytes_at_the_limit_and_over(pack, size: int, status: ObjectStatus) -> None:
    assert status_of(pack(b"a" * size), unpacked_bytes=1000)[0] is status


@functools.cache
def gzip_of_zeros(size: int) -> bytes:
    """Pack one block and repeat it: after a full flush each stands alone, and packing a gibibyte takes seconds."""
    block = bytes(1 << 20)
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    count = size >> 20
    check = functools.reduce(lambda crc, _: zlib.crc32(block, crc), range(count), 0)
    header = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return header + packed * count + b"\x03\x00" + struct.pack("<II", check, size)


def test_the_bomb_is_a_sound_one() -> None:
    assert gzip.decompress(gzip_of_zeros(3 << 20)) == bytes(3 << 20)


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: av_samples.zip_of(("z.gz", d), method=zipfile.ZIP_STORED)])
def test_a_gibibyte_of_zeros_costs_little(wrap) -> None:
    bomb = wrap(gzip_of_zeros(1 << 30))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    status, evidence = status_of(bomb)
    assert (status, f"over {MEMBER_BYTES} bytes" in evidence) == (ObjectStatus.ERROR, True)
    assert time.process_time() - started < 5  # CPU time: a hundredfold margin, whatever else the machine does
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 2 * MEMBER_BYTES


def test_a_smaller_bomb_is_known_by_its_ratio() -> None:
    status, evidence = status_of(gzip_of_zeros(2 * RATIO_FREE_BYTES))
    assert (status, "-fold" in evidence) == (ObjectStatus.ERROR, True)


def test_many_bombs_side_by_side_share_one_budget() -> None:
    inner = zlib.compress(bytes(RATIO_FREE_BYTES - 1))
    assert len(inner) < 20_000
    data = av_samples.zip_of(*((str(i), bytes(RATIO_FREE_BYTES - 1)) for i in range(8)))
    status, evidence = status_of(data, unpacked_bytes=2 * RATIO_FREE_BYTES)
    assert (status, "unpacked bytes in one message" in evidence) == (ObjectStatus.ERROR, True)


def test_the_allowance_is_the_smallest_of_its_limits() -> None:
    budget = Budget(ScanOptions(unpacked_bytes=1 << 40), math.inf)
    assert budget.allowance(1) == RATIO_FREE_BYTES
    assert budget.allowance(1 << 30) == MEMBER_BYTES


def test_time_is_looked_at_between_members() -> None:
    budget = Budget(ScanOptions(), time.monotonic() - 1)
    with pytest.raises(OverBudget, match="in time"):
        list(open_container(av_samples.zip_of(("a", b"x")), Kind.ZIP, "", Opening(budget, ScanOptions())))
