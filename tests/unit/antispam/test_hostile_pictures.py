"""Pictures that ask for more work or memory than any honest one: they are not decoded, whoever would look at them."""

import io
import struct
import time

import pytest
from PIL import Image

from gatepost.antispam.extract.opening import PIXELS_LIMIT, SCANS_LIMIT, may_decode
from gatepost.antispam.extract.qr import read_codes
from gatepost.antispam.images import looks
from gatepost.antispam.images.looks import PLAIN_WINDOWS, build_looks

SIDE = 3200
CPU_S = 1.0
"""Of one picture; what the guards stop takes many times that."""


def _segment(mark: int, data: bytes) -> bytes:
    return b"\xff" + bytes([mark]) + struct.pack(">H", len(data) + 2) + data


def _pack(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


def progressive(side: int, scans: int) -> bytes:
    """Return a grey progressive JPEG file with this many scans of no change, some dozens of bytes each."""
    blocks = ((side + 7) // 8) ** 2
    head = _segment(0xDB, b"\0" + b"\1" * 64) + _segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    tables = _segment(0xC4, b"\x00\1" + bytes(15) + b"\x00") + _segment(0xC4, b"\x10\1" + bytes(15) + b"\xe0")
    first = _segment(0xDA, b"\1\1\0\0\0\0") + _pack("0" * blocks)
    runs = _pack(("0" + "1" * 14) * -(-blocks // 32767))
    return b"\xff\xd8" + head + tables + first + (_segment(0xDA, b"\1\1\0\1\x3f\0") + runs) * scans + b"\xff\xd9"


def save(picture: Image.Image, form: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form)
    return stream.getvalue()


def growing_gif() -> bytes:
    """Return an animation of 64 pixels whose second frame is 20,000 pixels wide and 4,000 high."""
    small = save(Image.linear_gradient("L").resize((64, 64)).convert("P"), "GIF")
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 20_000, 4_000, 0) + b"\x08\x01\x00\x00"
    return small.removesuffix(b"\x3b") + frame + b"\x3b"


def test_a_file_of_nothing_but_scans_is_not_decoded() -> None:
    data = progressive(SIDE, 5_000)
    assert len(data) < 1024 * 1024
    started = time.process_time()
    assert read_codes(data) == []
    assert build_looks(data, PLAIN_WINDOWS) == []
    assert time.process_time() - started < CPU_S


@pytest.mark.parametrize(("scans", "taken"), [(9, True), (SCANS_LIMIT - 1, True), (SCANS_LIMIT, False)])
def test_scans_that_a_file_may_have(scans: int, taken: bool) -> None:
    data = progressive(64, scans)
    with Image.open(io.BytesIO(data)) as picture:
        assert may_decode(picture, data, PIXELS_LIMIT) is taken
        picture.load()  # the file is sound


@pytest.mark.parametrize(("form", "side", "taken"), [("PNG", 2999, True), ("PNG", 3001, False), ("JPEG", 3001, True)])
def test_only_what_can_be_decoded_small_may_be_large(form: str, side: int, taken: bool) -> None:
    data = save(Image.new("L", (side, side)), form)
    with Image.open(io.BytesIO(data)) as picture:
        assert may_decode(picture, data, 25_000_000) is taken
        assert not may_decode(picture, data, 1_000_000)


def test_a_later_frame_may_not_be_larger_than_the_first_could(monkeypatch: pytest.MonkeyPatch) -> None:
    data = growing_gif()
    with Image.open(io.BytesIO(data)) as picture:
        picture.seek(1)
        assert picture.size == (20_000, 4_000)
    decoded: list[tuple[int, int]] = []
    make_grey = looks._make_grey

    def note(frame: Image.Image) -> Image.Image:
        decoded.append(frame.size)
        return make_grey(frame)

    monkeypatch.setattr(looks, "_make_grey", note)
    build_looks(data, PLAIN_WINDOWS)
    assert decoded == [(64, 64)]
