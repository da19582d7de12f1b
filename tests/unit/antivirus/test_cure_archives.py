"""Infected members out of archives: what goes, what stays byte for byte, and when there is no cure."""

import bz2
import gzip
import hashlib
import io
import lzma
import math
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable

import pytest

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.cure import BadMember, Cured, plan_cure
from gatepost.antivirus.cure.archive import NOTE_NAME, repack
from gatepost.antivirus.cure.zips import ZipPart, read_zip, write_zip
from gatepost.antivirus.engine import ScanObject
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.model.finding import ScanOptions

BAD = b"the worm " * 40
GOOD = b"the letter " * 400
OPTIONS = ScanOptions()


def budget(options: ScanOptions = OPTIONS) -> Budget:
    return Budget(options, math.inf)


def bad(content: bytes = BAD, name: str = "worm.exe", cured: bytes | None = None) -> BadMember:
    return BadMember(name, hashlib.sha256(content).digest(), cured)


def zip_of(*members: tuple[str, bytes], comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = comment
        for name, data in members:
            info = zipfile.ZipInfo(name, (2019, 5, 4, 3, 2, 2))
            info.external_attr = 0o640 << 16
            info.comment = b"of " + name.encode()
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()


def tar_of(*members: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode, info.uname = len(data), 1_500_000_000, 0o640, "anna"
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def cure(data: bytes, *members: BadMember, note: str = "", itself: bool = False) -> Cured | None:
    return plan_cure(ScanObject(data, kind=detect_kind(data)), members, budget(), note=note, itself=itself)


def zip_contents(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def tar_contents(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive if info.isreg()}


def test_a_zip_loses_its_bad_member_and_nothing_else() -> None:
    data = zip_of(("a.txt", GOOD), ("worm.exe", BAD), ("b/ä.png", b"picture"), comment=b"made by anna")
    cured = cure(data, bad())
    assert cured is not None
    assert cured.removed == ("worm.exe",)
    assert zip_contents(cured.data) == {"a.txt": GOOD, "b/ä.png": b"picture"}
    before, after = read_zip(data), read_zip(cured.data)
    assert after.comment == before.comment == b"made by anna"
    assert after.parts == (before.parts[0], before.parts[2])


def test_a_member_is_known_by_its_content_whatever_it_is_called() -> None:
    data = zip_of(("worm.exe", GOOD), ("letter.txt", BAD), ("copy.txt", BAD))
    cured = cure(data, bad(name="worm.exe"))
    assert cured is not None
    assert zip_contents(cured.data) == {"worm.exe": GOOD}


def test_a_cured_member_takes_the_place_of_the_bad_one() -> None:
    data = zip_of(("a.txt", GOOD), ("x.doc", BAD), ("x.png", BAD))
    cured = cure(data, bad(cured=b"CURED"))
    assert cured is not None
    assert zip_contents(cured.data) == {"a.txt": GOOD, "x.doc": b"CURED", "x.png": b"CURED"}
    assert cured.removed == ("content of x.doc cured", "content of x.png cured")
    assert [part.method for part in read_zip(cured.data).parts] == [8, 8, 0]
    assert [part.date for part in read_zip(cured.data).parts] == [part.date for part in read_zip(data).parts]


def test_a_note_says_what_is_missing() -> None:
    for data, contents in (
        (zip_of(("a", GOOD), ("w", BAD)), zip_contents),
        (tar_of(("a", GOOD), ("w", BAD)), tar_contents),
    ):
        cured = cure(data, bad(), note="w was töken out")
        assert cured is not None
        assert contents(cured.data) == {"a": GOOD, NOTE_NAME: "w was töken out".encode()}


def test_nothing_left_is_no_cure() -> None:
    assert cure(zip_of(("w", BAD)), bad(), note="gone") is None
    assert cure(tar_of(("w", BAD)), bad()) is None
    assert cure(gzip.compress(BAD), bad()) is None
    assert cure(zip_of(("folder/", b""), ("folder/w", BAD)), bad()) is None


def test_a_bad_member_that_is_not_met_is_no_cure() -> None:
    for data in (zip_of(("a", GOOD), ("w", BAD)), tar_of(("a", GOOD), ("w", BAD)), gzip.compress(GOOD)):
        assert cure(data, bad(), bad(b"somewhere else", "hidden")) is None


def test_an_archive_bad_in_itself_is_not_cured() -> None:
    data = zip_of(("a", GOOD), ("w", BAD))
    assert cure(data, bad(), itself=True) is None
    assert cure(data) is None


def test_a_zip_with_data_around_it_is_not_cured() -> None:
    data = zip_of(("a", GOOD), ("w", BAD))
    assert repack(data, Kind.ZIP, [bad()], budget()) is not None
    assert repack(b"MZ stub" + data, Kind.ZIP, [bad()], budget()) is None
    assert repack(data + b"more", Kind.ZIP, [bad()], budget()) is None


def test_zip_archives_with_more_than_one_reading_are_not_cured() -> None:
    data = zip_of(("a", GOOD), ("w", BAD))
    directory = data.index(b"PK\x01\x02")
    stub = b"MZ stub "
    # A self-extractor whose offsets count from its own start.
    shifted = bytearray(stub + data)
    for place in (
        directory + len(stub) + 42,
        shifted.index(b"PK\x01\x02", directory + len(stub) + 4) + 42,
        len(shifted) - 6,
    ):
        value = int.from_bytes(shifted[place : place + 4], "little") + len(stub)
        shifted[place : place + 4] = value.to_bytes(4, "little")
    with zipfile.ZipFile(io.BytesIO(shifted)) as archive:
        assert archive.read("w") == BAD
    assert repack(bytes(shifted), Kind.ZIP, [bad()], budget()) is None
    # Two entries that share one member's bytes.
    end = len(data) - 22
    first = data[directory : data.index(b"PK\x01\x02", directory + 4)]
    size = end - directory + len(first)
    shared = data[:end] + first + data[end : end + 8] + struct.pack("<2HLL", 3, 3, size, directory) + b"\0\0"
    with zipfile.ZipFile(io.BytesIO(shared)) as archive:
        assert archive.namelist() == ["a", "w", "a"]
    assert repack(shared, Kind.ZIP, [bad()], budget()) is None


def encrypted_zip(*members: tuple[str, bytes]) -> bytes:
    """Members marked as encrypted, with sizes behind the data: what they hold is noise."""
    parts = [ZipPart(name.encode(), raw, flags=0x9, crc=7, size=len(raw) - 12) for name, raw in members]
    return write_zip(parts)


def test_encrypted_members_go_by_name_and_stay_as_they_are() -> None:
    data = encrypted_zip(("a.doc", b"noise" * 9), ("w.exe", b"other noise" * 9))
    cured = cure(data, bad(name="w.exe"))
    assert cured is not None
    assert read_zip(cured.data).parts == read_zip(data).parts[:1]
    assert cure(data, bad(name="w.exe", cured=b"CURED")) is None


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_tar_loses_its_bad_member_and_nothing_else(form: int) -> None:
    long = "d/" * 40 + "n" * 60 if form != tarfile.USTAR_FORMAT else "n"
    data = tar_of((f"{long}1", GOOD), (f"{long}w", BAD), (f"{long}2", b"x" * 512), form=form)
    cured = cure(data, bad())
    assert cured is not None
    assert tar_contents(cured.data) == {f"{long}1": GOOD, f"{long}2": b"x" * 512}
    with tarfile.open(fileobj=io.BytesIO(cured.data)) as archive:
        assert {(each.mtime, each.mode, each.uname) for each in archive} == {(1_500_000_000, 0o640, "anna")}
    replaced = cure(data, bad(cured=b"CURED" * 300))
    assert replaced is not None
    assert tar_contents(replaced.data) == {f"{long}1": GOOD, f"{long}w": b"CURED" * 300, f"{long}2": b"x" * 512}


def test_links_to_what_is_taken_out_of_a_tar_go_with_it() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in (("a", GOOD), ("w", BAD)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (("to-a", "a"), ("to-w", "w")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, target
            archive.addfile(info)
    cured = cure(out.getvalue(), bad())
    assert cured is not None
    with tarfile.open(fileobj=io.BytesIO(cured.data)) as archive:
        assert archive.getnames() == ["a", "to-a"]


PACKERS: list[tuple[Kind, Callable[[bytes], bytes], Callable[[bytes], bytes]]] = [
    (Kind.GZIP, gzip.compress, gzip.decompress),
    (Kind.BZIP2, bz2.compress, bz2.decompress),
    (Kind.XZ, lzma.compress, lzma.decompress),
]


@pytest.mark.parametrize(("kind", "pack", "unpack"), PACKERS, ids=[each[0] for each in PACKERS])
def test_a_compressed_tar_is_repacked_inside(
    kind: Kind, pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes]
) -> None:
    inner = tar_of(("a", GOOD), ("w", BAD))
    # Whether the stage sees the tar as the one member, cured, or its members: the same comes out.
    whole = repack(inner, Kind.TAR, [bad()], budget())
    assert whole is not None
    first = repack(pack(inner), kind, [bad()], budget())
    second = repack(pack(inner), kind, [bad(inner, "x.tar", whole.data)], budget())
    assert first is not None
    assert second is not None
    assert tar_contents(unpack(first.data)) == tar_contents(unpack(second.data)) == {"a": GOOD}
    assert repack(pack(BAD)[:-4], kind, [bad(cured=b"CURED")], budget()) is None


def test_a_gzip_file_keeps_its_name_and_time() -> None:
    out = io.BytesIO()
    with gzip.GzipFile("letter.doc", "wb", fileobj=out, mtime=1_500_000_000) as packed:
        packed.write(BAD)
    cured = cure(out.getvalue(), bad(cured=b"CURED"))
    assert cured is not None
    assert gzip.decompress(cured.data) == b"CURED"
    assert cured.data[:20] == out.getvalue()[:20]
    assert b"letter.doc\0" in cured.data


def test_the_budget_holds_for_cures() -> None:
    data = zip_of(("zeros", bytes(40_000_000)), ("w", BAD))
    assert cure(data, bad()) is None
    small = ScanOptions(archive_members=1)
    two = zip_of(("a", GOOD), ("w", BAD))
    assert plan_cure(ScanObject(two, kind=Kind.ZIP), [bad()], Budget(small, math.inf)) is None
    assert cure(gzip.compress(bytes(40_000_000)), bad()) is None


def test_ruined_archives_are_no_cure_and_no_trouble() -> None:
    dice = random.Random(7)
    samples = {
        Kind.ZIP: zip_of(("a", GOOD), ("w", BAD), comment=b"x"),
        Kind.TAR: tar_of(("a" * 120, GOOD), ("w", BAD)),
        Kind.GZIP: gzip.compress(BAD),
        Kind.BZIP2: bz2.compress(BAD),
        Kind.XZ: lzma.compress(BAD),
    }
    for kind, data in samples.items():
        for _ in range(300):
            ruined = bytearray(data[: dice.randrange(len(data))] if dice.random() < 0.3 else data)
            for _ in range(dice.randrange(1, 6)):
                if ruined:
                    ruined[dice.randrange(len(ruined))] = dice.randrange(256)
            cured = repack(bytes(ruined), kind, [bad(cured=b"CURED")], budget())
            assert cured is None or BAD not in cured.data
