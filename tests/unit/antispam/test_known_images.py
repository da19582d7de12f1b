"""Known images: found again with noise, scaled, cropped and in other formats; bounds on what is decoded."""

import io
import random
import struct
import zlib

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from gatepost.antispam.check import Notes
from gatepost.antispam.images.base import ImageBase, compile_images, parse_images, read_image
from gatepost.antispam.images.check import ImagesCheck
from gatepost.antispam.images.looks import PLAIN_WINDOWS, build_looks
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions


def draw(seed: int, size: tuple[int, int] = (480, 320)) -> Image.Image:
    """An advertisement: blocks, circles and lines of text."""
    chance = random.Random(seed)
    image = Image.new("RGB", size, (250, 248, 240))
    pen = ImageDraw.Draw(image)
    for _ in range(9):
        x, y = chance.randrange(size[0]), chance.randrange(size[1])
        wide, high = chance.randrange(40, 160), chance.randrange(30, 120)
        shape = pen.rectangle if chance.random() < 0.5 else pen.ellipse
        shape((x - wide // 2, y - high // 2, x + wide // 2, y + high // 2), tuple(chance.randrange(256) for _ in "rgb"))
    for line in range(8):
        pen.text((20, 15 + line * 38), f"Cheap pills number {seed * 7 + line}, order them now!", (10, 10, 10))
    return image


def encode(image: Image.Image, form: str = "PNG", **how: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **how)
    return stream.getvalue()


def crop(image: Image.Image, left: float, top: float, right: float, below: float) -> Image.Image:
    width, height = image.size
    return image.crop((int(width * left), int(height * top), int(width * (1 - right)), int(height * (1 - below))))


def add_noise(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(3).integers(-24, 25, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image, np.int16) + noise).clip(0, 255).astype(np.uint8))


COPIES = {
    "same": encode,
    "jpeg": lambda image: encode(image, "JPEG", quality=35),
    "gif of few colours": lambda image: encode(image.quantize(16), "GIF"),
    "webp": lambda image: encode(image, "WEBP", quality=40),
    "noise": lambda image: encode(add_noise(image)),
    "half the size": lambda image: encode(image.resize((240, 160))),
    "twice the size": lambda image: encode(image.resize((960, 640))),
    "other proportions": lambda image: encode(image.resize((480, 250))),
    "brighter": lambda image: encode(image.point(lambda value: min(255, int(value * 0.8 + 40)))),
    "blurred": lambda image: encode(image.filter(ImageFilter.GaussianBlur(2))),
    "cropped all round": lambda image: encode(crop(image, 0.05, 0.05, 0.05, 0.05)),
    "cropped more": lambda image: encode(crop(image, 0.1, 0.1, 0.1, 0.1)),
    "cropped at the left": lambda image: encode(crop(image, 0.07, 0, 0, 0)),
    "cropped below": lambda image: encode(crop(image, 0, 0, 0, 0.12)),
    "scratched": lambda image: encode(scratch(image)),
}


def scratch(image: Image.Image) -> Image.Image:
    image = image.copy()
    pen = ImageDraw.Draw(image)
    chance = random.Random(9)
    for _ in range(12):
        pen.line([(chance.randrange(480), chance.randrange(320)) for _ in "ab"], (200, 30, 30), 1)
    return image


@pytest.fixture(scope="module")
def base() -> ImageBase:
    return ImageBase(read_image(f"advertisement {seed}", "spam/image", encode(draw(seed))) for seed in range(30))


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_known(base: ImageBase, name: str) -> None:
    for seed in (0, 11, 29):
        found = base.find(build_looks(COPIES[name](draw(seed)), PLAIN_WINDOWS))
        assert found is not None
        assert found.name == f"advertisement {seed}"


def test_other_pictures_are_not_known(base: ImageBase) -> None:
    for seed in range(100, 125):
        assert base.find(build_looks(encode(draw(seed)), PLAIN_WINDOWS)) is None
    noise = np.random.default_rng(1).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    assert base.find(build_looks(encode(Image.fromarray(noise)), PLAIN_WINDOWS)) is None


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (400, 300), "white"),
        Image.linear_gradient("L").rotate(180).resize((400, 300)),
        draw(1, (40, 300)),
    ],
    ids=["plain", "gradient", "small"],
)
def test_pictures_that_say_nothing_are_refused(image: Image.Image) -> None:
    with pytest.raises(ValueError, match="logo: no picture that can be known again"):
        read_image("logo", "spam", encode(image))


def mail_with(*pictures: bytes) -> bytes:
    parts = [
        b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n" + each + b"\r\n"
        for each in pictures
    ]
    head = b"From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    return head + b"".join(parts) + b"--b--\r\n"


def inspect(check: ImagesCheck, mail: bytes, *, images: bool = True) -> Notes:
    notes = Notes()
    check.inspect(build_view(parse(mail), SpamOptions(images=images)), notes)
    return notes


@pytest.mark.feature("F-AS-18")
def test_a_known_image_gives_gsg_once() -> None:
    known = compile_images([read_image("pills", "spam/image", encode(draw(4)))])
    check = ImagesCheck(Knowledge({"own:own.pictures": known}))
    copy = COPIES["jpeg"](draw(4))
    notes = inspect(check, mail_with(encode(draw(5)), copy, copy))
    (sign,) = notes.signs
    assert sign.method.value == "GSG"
    assert sign.weight > 5.2
    assert "“pills”" in sign.evidence
    assert list(notes.categories) == ["spam/image"]
    assert not inspect(check, mail_with(encode(draw(5)))).signs
    assert not inspect(check, mail_with(copy), images=False).signs


def test_animations_are_looked_at_in_their_first_frames(base: ImageBase) -> None:
    blank = Image.new("RGB", (480, 320), "white")
    early = encode(blank, "GIF", save_all=True, append_images=[draw(3), blank], duration=10)
    assert base.find(build_looks(early, PLAIN_WINDOWS)) is not None


def test_transparent_pictures_stand_on_white(base: ImageBase) -> None:
    image = draw(2).convert("RGBA")
    image.putalpha(image.convert("L").point(lambda value: 0 if value > 245 else 255))
    assert base.find(build_looks(encode(image), PLAIN_WINDOWS)) is not None


def lying_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
        lying_png(65_000, 65_000),
        lying_png(300, 300),
        encode(draw(1))[:2000],
    ],
    ids=["nothing", "gif head", "postscript", "huge", "lying", "cut"],
)
def test_what_cannot_be_read_has_no_looks(data: bytes) -> None:
    assert build_looks(data, PLAIN_WINDOWS) == []


def test_a_picture_of_too_many_pixels_has_no_looks() -> None:
    assert build_looks(encode(draw(1).resize((5000, 4000)).quantize(4), "GIF"), PLAIN_WINDOWS) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        msgspec.msgpack.encode({"format": 2, "rows": []}),
        msgspec.msgpack.encode({"format": 1, "rows": [["a", "b", b"123"]]}),
        msgspec.msgpack.encode({"format": 1, "rows": [["a", "b", b""]]}),
    ],
)
def test_faulty_compiled_files(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"own\.pictures"):
        parse_images("own.pictures", data)
