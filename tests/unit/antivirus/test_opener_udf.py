"""UDF images: what Windows shows of them is found, in every form, and what cannot be followed is never clean."""

import contextlib
import math
import random

import av_samples
import pytest
from tests.support.udf_images import SECTOR, START, Image

from gatepost.antivirus.budget import Budget, OverBudget
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.antivirus.openers.udf import open_udf
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.stage import inspect
from gatepost.model.finding import ObjectStatus, ScanOptions

LONG = random.Random("udf").randbytes(5 * SECTOR + 7)
FILES = {"a.txt": b"a text", "лист.exe": LONG, "empty": b""}


OPTIONS = ScanOptions()


def opened(data: bytes, options: ScanOptions = OPTIONS) -> list[Member]:
    return list(open_udf(data, "", Opening(Budget(options, math.inf), options)))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("partition", ["plain", "metadata"])
@pytest.mark.parametrize("form", [0, 1, "more"])
def test_files_of_every_form(form: int | str, partition: str, *, wide: bool) -> None:
    if (form, partition) == ("more", "metadata"):
        form = 1
    data = Image(FILES, form, partition, wide=wide).build()
    assert detect_kind(data) is Kind.UDF
    assert {member.name: member.data for member in opened(data)} == FILES
    assert not any(member.trouble for member in opened(data))


def test_a_small_file_inside_its_entry() -> None:
    (member,) = opened(Image({"a.txt": b"a text"}, 3).build())
    assert (member.name, member.data, member.trouble) == ("a.txt", b"a text", "")


def test_what_cannot_be_followed_is_trouble() -> None:
    whole = Image(FILES, 0).build()
    for data in (
        Image(FILES, 0, "virtual").build(),
        whole[: 200 * SECTOR],
        whole.replace(b"\2\0\2\0", bytes(4)),
        whole[: START * SECTOR],
        whole.replace(b"\5\1\2\0", bytes(4)),
    ):
        assert any(member.trouble for member in opened(data))


def moved(descriptor: bytes, sector: int, *, place: int | None = None) -> bytes:
    """Return a descriptor as it is right at another sector, and what it leads to."""
    raw = bytearray(descriptor)
    raw[12:16] = sector.to_bytes(4, "little")
    if place is not None:
        raw[20:24] = place.to_bytes(4, "little")
    raw[4] = 0
    raw[4] = sum(raw[:16]) & 0xFF
    return bytes(raw)


def with_sector(data: bytes, number: int, sector: bytes) -> bytes:
    return data[: number * SECTOR] + sector + data[(number + 1) * SECTOR :]


def test_a_volume_that_is_described_in_two_ways_is_trouble() -> None:
    """Systems differ about which of two descriptions they take, and turn to a copy when the first is damaged."""
    whole = Image(FILES, 0).build()
    sector = {number: whole[number * SECTOR : (number + 1) * SECTOR] for number in (32, 33, 34, 256)}
    last = len(whole) // SECTOR
    spoilt = bytearray(sector[33])
    spoilt[4] ^= 1
    other = bytearray(sector[33])
    other[248] ^= 1
    elsewhere = (3).to_bytes(2, "little") + moved(sector[33], 34)[2:]
    for data in (
        whole + moved(sector[256], last, place=40),
        with_sector(whole, 33, bytes(spoilt)),
        with_sector(whole, 34, moved(bytes(other), 34)),
        with_sector(whole, 34, moved(sector[32][:188] + b"\1" + sector[32][189:], 34)),
        with_sector(whole, 34, elsewhere),
    ):
        (member,) = opened(data)
        assert member.data is None
        assert member.trouble
    for data in (
        whole + moved(sector[256], last),
        whole + moved(sector[256], last, place=40)[:4] + b"\0" + moved(sector[256], last, place=40)[5:],
        with_sector(with_sector(whole, 34, moved(sector[33], 34)), 35, moved(sector[32], 35)),
    ):
        assert {member.name: member.data for member in opened(data)} == FILES


def test_metadata_whose_description_is_damaged_is_trouble() -> None:
    """Systems turn to the copy of it, which may say something else."""
    data = Image(FILES, 0, "metadata").build()
    at = data.rindex(b"\x05\x01\x02\0")
    assert data[at + 27] == 250
    (member,) = opened(data[: at + 4] + bytes((data[at + 4] ^ 1,)) + data[at + 5 :])
    assert member.data is None
    assert "metadata" in member.trouble


def test_a_file_that_is_cut_off_is_given_as_far_as_it_goes() -> None:
    data = Image({"a.bin": LONG}, 0).build()
    cut = data[: data.index(LONG[-500:])]
    (member,) = opened(cut)
    assert member.data is not None
    assert LONG.startswith(member.data)
    assert member.trouble


def test_no_damage_raises() -> None:
    data = Image(FILES, "more").build()
    dice = random.Random("damage")
    places = [32 * SECTOR, 33 * SECTOR, 256 * SECTOR, *range(START * SECTOR, len(data), SECTOR)]
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(dice.randrange(1, 4)):
            damaged[dice.choice(places) + dice.randrange(512)] = dice.randrange(256)
        with contextlib.suppress(OverBudget):
            opened(bytes(damaged))


def test_an_image_may_end_anywhere() -> None:
    data = Image(FILES, "more").build()
    for end in (
        *range((START + 1) * SECTOR, (START + 1) * SECTOR + 230),
        *range(START * SECTOR, len(data) - 3 * SECTOR, 99),
    ):
        assert any(member.trouble for member in opened(data[:end])), end


def test_its_members_count_and_so_do_its_bytes() -> None:
    data = Image({f"{number}.txt": b"x" for number in range(20)}, 3).build()
    with pytest.raises(OverBudget):
        opened(data, ScanOptions(archive_members=10))
    with pytest.raises(OverBudget):
        opened(Image({"a.bin": LONG}, 0).build(), ScanOptions(unpacked_bytes=100))


@pytest.mark.parametrize("name", ["a.img", "a.iso"])
def test_malware_and_programs_in_it_are_found(name: str) -> None:
    for content, inner, status in (
        (av_samples.eicar(), "x.com", ObjectStatus.INFECTED),
        (b"WScript.Echo(1)", "bill.js", ObjectStatus.SUSPICIOUS),
        (b"harmless", "a.txt", ObjectStatus.CLEAN),
    ):
        mail = av_samples.attached(Image({inner: content}, 0).build(), name=name)
        analysis = inspect(mail, ScanOptions(), [BuiltinEngine()], math.inf)
        assert analysis.objects[2].status is status
