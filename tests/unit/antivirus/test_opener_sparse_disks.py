"""Virtual disks whose blocks stand anywhere in the image, packed or not: read, or told that they cannot be."""

import math

import disk_samples
import pytest
from av_samples import attached, eicar
from test_opener_archives import fat_image
from tests.support.sparse_disks import qcow, vdi, vmdk

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.stage import inspect
from gatepost.antivirus.unpack import open_container
from gatepost.model.finding import SEVERITY, ObjectStatus, ScanOptions

CONTENT = bytes(range(256)) * 600
OPTIONS = ScanOptions()
WAYS = {
    "qcow": qcow,
    "qcow-zlib": lambda disk: qcow(disk, packer="zlib"),
    "qcow-zstd": lambda disk: qcow(disk, packer="zstd"),
    "qcow-version-2": lambda disk: qcow(disk, packer="zlib", version=2),
    "vmdk": vmdk,
    "vmdk-packed": lambda disk: vmdk(disk, packed=True),
    "vdi": vdi,
}


def members(data: bytes) -> list[Member]:
    assert detect_kind(data) is Kind.DISK_IMAGE
    opening = Opening(Budget(OPTIONS, math.inf), OPTIONS)
    return list(open_container(data, Kind.DISK_IMAGE, "", opening))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("partition", [False, True])
def test_files_of_virtual_disks(way: str, partition: bool) -> None:
    data = WAYS[way](fat_image(b"X       COM", CONTENT, partition=partition))
    assert [(each.name, each.data, each.trouble) for each in members(data)] == [("X.COM", CONTENT, "")]


@pytest.mark.parametrize("way", WAYS)
def test_holes_are_zeros(way: str) -> None:
    content = bytes(200_000) + b"end"
    data = WAYS[way](fat_image(b"X       BIN", content))
    assert [(each.data, each.trouble) for each in members(data)] == [(content, "")]


@pytest.mark.parametrize("way", WAYS)
def test_malware_on_a_virtual_disk_is_found(way: str) -> None:
    content = attached(WAYS[way](fat_image(b"X       COM", eicar())), name="disk.img")
    analysis = inspect(content, OPTIONS, [BuiltinEngine()], math.inf)
    assert min((each.status for each in analysis.objects), key=SEVERITY.index) is ObjectStatus.INFECTED


DISK = fat_image(b"X       COM", CONTENT)
UNREAD = {
    "backing file": qcow(DISK, backing=512),
    "data elsewhere": qcow(DISK, features=4),
    "wide entries": qcow(DISK, features=16),
    "older version": qcow(DISK, version=1),
    "one table twice": qcow(DISK, twice=True),
    "parent": vmdk(DISK, text=b'parentFileNameHint="a.vmdk"'),
    "another file system": qcow(b"no file system".ljust(100_000, b"\1")),
    "VMware's older form": b"COWD\1\0\0\0".ljust(70_000, b"\0"),
    "QED": b"QED\0".ljust(70_000, b"\0"),
    "ext": (bytes(1024 + 56) + b"\x53\xef\1\0" + bytes(16) + b"\1\0\0\0").ljust(4096, b"\1"),
    "HFS+": (bytes(1024) + b"H+\0\4").ljust(4096, b"\1"),
    "APFS": (bytes(32) + b"NXSB").ljust(4096, b"\1"),
}


@pytest.mark.parametrize("what", UNREAD)
def test_disks_that_cannot_be_read_are_not_clean(what: str) -> None:
    assert any(each.trouble for each in members(UNREAD[what]))


def test_an_image_that_is_two_disks_is_read_as_both() -> None:
    """A plain image may have any program in its boot sector, also the mark of a VDI."""
    plain = bytearray(fat_image(b"X       COM", CONTENT))
    plain[0x40:0x44] = b"\x7f\x10\xda\xbe"
    assert ("X.COM", CONTENT) in [(each.name, each.data) for each in members(bytes(plain))]


@pytest.mark.parametrize("way", WAYS)
def test_damage_is_told(way: str) -> None:
    data = WAYS[way](fat_image(b"X       COM", CONTENT))
    for size in range(1000, len(data) - 66_000, 9_973):
        assert any(each.trouble for each in members(data[:size])), size


def test_partitions_with_a_guid_table() -> None:
    disk = disk_samples.gpt(fat_image(b"X       COM", CONTENT))
    assert [each.data for each in members(qcow(disk, packer="zlib"))] == [CONTENT]
