"""NTFS on plain and virtual disks: files, alternate streams, and everything that cannot be read is told."""

import contextlib
import math
import random

import av_samples
import pytest
from disk_samples import (
    A_LOG,
    CLUSTER,
    NO_LOG,
    crc32c,
    data_inside,
    data_outside,
    gpt,
    mbr,
    name_of,
    ntfs,
    record,
    run,
    vhdx,
    vhdx_header,
)
from test_opener_archives import dynamic_vhd, fixed_vhd

from gatepost.antivirus.budget import Budget, OverBudget
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.antivirus.openers.disk import open_disk_image
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.stage import inspect
from gatepost.model.finding import ObjectStatus, ScanOptions

DEFAULT = ScanOptions()
LONG = random.Random("ntfs").randbytes(5 * CLUSTER - 100)
PIECES = run(2, 200) + run(1, None) + run(2, -20)


def opened(data: bytes, options: ScanOptions = DEFAULT) -> list[Member]:
    return list(open_disk_image(data, "", Opening(Budget(options, math.inf), options)))


def contents(data: bytes) -> dict[str, bytes | None]:
    found = opened(data)
    assert not any(member.trouble or member.protected for member in found), found
    return {member.name: member.data for member in found}


SMALL = ntfs({20: record(name_of("a.txt"), data_inside(b"a text"), data_inside(b"behind it", "hidden"))}, {})


@pytest.mark.parametrize("wrap", [bytes, mbr, gpt, fixed_vhd, dynamic_vhd, vhdx, lambda disk: vhdx(gpt(disk))])
def test_files_and_alternate_streams_on_every_kind_of_disk(wrap) -> None:
    data = wrap(SMALL)
    assert detect_kind(data) is Kind.DISK_IMAGE
    assert contents(data) == {"a.txt": b"a text", "a.txt:hidden": b"behind it"}


def test_content_in_pieces_with_a_hole_and_an_end_that_was_never_written() -> None:
    clusters = {200: LONG[: 2 * CLUSTER], 180: LONG[3 * CLUSTER :]}
    whole = LONG[: 2 * CLUSTER] + bytes(CLUSTER) + LONG[3 * CLUSTER :]
    file = record(name_of("LONG~1.BIN", 2), name_of("a long name.bin"), data_outside(PIECES, len(LONG)))
    assert contents(ntfs({16: file}, clusters)) == {"a long name.bin": whole}
    file = record(name_of("a"), data_outside(PIECES, len(LONG), valid=100))
    assert contents(ntfs({16: file}, clusters)) == {"a": LONG[:100].ljust(len(LONG), b"\0")}


def test_a_file_that_goes_on_in_another_record() -> None:
    clusters = {200: LONG[: 2 * CLUSTER], 300: LONG[2 * CLUSTER :]}
    file = record(name_of("a.bin"), data_outside(run(2, 200), len(LONG)))
    more = record(data_outside(run(3, 300), 0, first=2), base=16)
    assert contents(ntfs({16: file, 17: more}, clusters)) == {"a.bin": LONG}
    assert contents(ntfs({17: file, 16: record(data_outside(run(3, 300), 0, first=2), base=17)}, clusters)) == {
        "a.bin": LONG
    }
    (cut,) = opened(ntfs({16: file}, clusters))
    assert cut.trouble


def test_deleted_files_and_the_systems_own_tables_are_no_members() -> None:
    gone = record(name_of("gone.exe"), data_inside(b"deleted"), flags=0)
    own = record(name_of("$Secure"), data_inside(b"a table of its own"))
    assert contents(ntfs({9: own, 30: gone}, {})) == {}


def test_what_cannot_be_read_is_told() -> None:
    (packed,) = opened(ntfs({16: record(name_of("a"), data_outside(run(2, 200), 900, flags=1))}, {}))
    (locked,) = opened(ntfs({16: record(name_of("a"), data_outside(run(2, 200), 900, flags=0x4000))}, {}))
    assert packed.trouble
    assert locked.protected
    for data in (
        SMALL[: 4 * CLUSTER],
        SMALL.replace(b"FILE", b"BAAD"),
        vhdx(SMALL, flags=2),
        vhdx(SMALL)[: 2**20],
        gpt(bytes(9000)),
        mbr(bytes(9000)),
    ):
        assert any(member.trouble for member in opened(data)), data[:16]


def test_a_virtual_disk_that_was_not_closed_is_told() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    log = bytes(range(16))
    for headers in (
        (vhdx_header(9, log), NO_LOG),
        (NO_LOG, vhdx_header(9, log)),
        (vhdx_header(8, log), NO_LOG),
        (A_LOG, vhdx_header(8, damage=1)),  # the newer one counts for nobody
        (vhdx_header(7, damage=1), vhdx_header(8, damage=1)),
        (b"", b""),
    ):
        (member,) = opened(vhdx(SMALL, headers=headers))
        assert member.data is None
        assert "not closed" in member.trouble
    for headers in ((NO_LOG, A_LOG), (NO_LOG, NO_LOG), (vhdx_header(9, log, damage=1), NO_LOG), (b"", NO_LOG)):
        assert contents(vhdx(SMALL, headers=headers))


def test_a_virtual_disk_that_says_twice_where_its_parts_are_says_the_same() -> None:
    data = bytearray(vhdx(SMALL))
    data[256 * 1024 + 64] ^= 1
    (member,) = opened(bytes(data))
    assert member.trouble
    data[256 * 1024 : 256 * 1024 + 4] = bytes(4)  # one alone is enough
    assert contents(bytes(data))


def test_sizes_that_lie_are_over_budget_and_no_damage_raises() -> None:
    with pytest.raises(OverBudget):
        opened(ntfs({16: record(name_of("a"), data_outside(run(99, None), 1 << 40))}, {}))
    with pytest.raises(OverBudget):
        opened(ntfs({16 + n: record(name_of("a")) for n in range(20)}, {}), ScanOptions(archive_members=10))
    dice = random.Random("damage")
    file = record(name_of("a"), data_outside(PIECES, len(LONG)))
    data = mbr(ntfs({16: file}, {200: LONG}))
    places = [8 * 512, 12 * 512, 44 * 512]
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(dice.randrange(1, 4)):
            damaged[dice.choice(places) + dice.randrange(512)] = dice.randrange(256)
        with contextlib.suppress(OverBudget):
            opened(bytes(damaged))


def test_a_disk_may_end_anywhere() -> None:
    for end in range(0, 24 * CLUSTER, 7):
        assert any(member.trouble for member in opened(SMALL[:end])), end


def test_malware_and_programs_on_a_virtual_disk_are_found() -> None:
    for content, name, status in (
        (av_samples.eicar(), "x.com", ObjectStatus.INFECTED),
        (b"WScript.Echo(1)", "bill.js", ObjectStatus.SUSPICIOUS),
        (b"harmless", "a.txt", ObjectStatus.CLEAN),
    ):
        disk = dynamic_vhd(mbr(ntfs({24: record(name_of(name), data_inside(content))}, {})))
        analysis = inspect(av_samples.attached(disk, name="a.vhd"), DEFAULT, [BuiltinEngine()], math.inf)
        assert analysis.objects[2].status is status
