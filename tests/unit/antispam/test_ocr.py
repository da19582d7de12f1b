"""Words in pictures: when they are read, what is made of them, and reading itself where the library is installed."""

import io
import os
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from email.message import EmailMessage
from functools import cache
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from gatepost.antispam.checks import build_checks
from gatepost.antispam.content import inspect_content
from gatepost.antispam.extract.parts import TOLD_ELSEWHERE
from gatepost.antispam.knowledge import load_packaged
from gatepost.antispam.ocr import language_data, recogniser, trial
from gatepost.antispam.ocr.language_data import find_data, find_languages
from gatepost.antispam.ocr.recogniser import EDGES_LIMIT, Recogniser, load_recogniser
from gatepost.antispam.ocr.trial import find_damage
from gatepost.antispam.rating import rate
from gatepost.antispam.view import MailView, build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamFacts, SpamOptions

SPAM = """I am the widow of the late Mr Abacha and have the sum of 25,500,000 dollars to transfer to your bank account.
Please send me your full name, telephone number and bank details, and keep this transaction confidential.
You will have thirty percent of the total sum as next of kin."""


def picture_of(text: str, *, ground: str = "white", ink: str = "black") -> bytes:
    lines = [line for row in text.splitlines() for line in textwrap.wrap(row, 70)]
    picture = Image.new("RGB", (460, 14 * len(lines) + 20), ground)
    for number, line in enumerate(lines):
        ImageDraw.Draw(picture).text((8, 8 + 14 * number), line, fill=ink)
    return encode(picture)


def encode(picture: Image.Image, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form)
    return stream.getvalue()


def mail(*pictures: bytes, text: str = "", page: str = "") -> bytes:
    message = EmailMessage()
    message["From"] = "a@sender.example"
    message["Subject"] = "Hello"
    message.set_content(page or text, subtype="html" if page else "plain")
    for data in pictures:
        message.add_attachment(data, "image", "png", disposition="inline")
    return message.as_bytes().replace(b"\n", b"\r\n")


class Said:
    """A reader that finds these words in every picture."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.asked: list[int] = []

    def read(self, pictures: Sequence[bytes]) -> list[str]:
        self.asked.append(len(pictures))
        return [self.words for _ in pictures]


def view(content: bytes, reader: Said, **options: bool) -> MailView:
    return build_view(parse(content), SpamOptions(**options), reader)


PICTURE = picture_of("words")


class TestWhenPicturesAreRead:
    def test_words_in_pictures_are_body_where_there_is_hardly_any_text(self) -> None:
        seen = view(mail(PICTURE, text="See below"), Said("You have won"))
        assert seen.typed.strip() == "See below"
        assert seen.body.split("\n") == ["See below", "", "You have won"]
        assert "you have won" in seen.folded

    @pytest.mark.parametrize(("length", "asked"), [(TOLD_ELSEWHERE - 1, [1]), (TOLD_ELSEWHERE, [])])
    def test_a_text_is_the_message(self, length: int, asked: list[int]) -> None:
        reader = Said("You have won")
        body = ("honest text " * 40)[: length - 1].rstrip() + "."
        body = body.ljust(length, "x")
        seen = view(mail(PICTURE, page=f"<p>{body}</p>"), reader)
        assert len(seen.html) == length
        assert reader.asked == asked

    def test_quoted_text_counts_as_text(self) -> None:
        reader = Said("x")
        assert view(mail(PICTURE, text="As you see:\n" + "> an older line of mail\n" * 20), reader).pictured == ""
        assert reader.asked == []

    def test_nothing_is_read_without_pictures_or_where_they_are_not_looked_at(self) -> None:
        reader = Said("x")
        assert view(mail(text="Hi"), reader).pictured == ""
        assert view(mail(PICTURE, text="Hi"), reader, images=False).pictured == ""
        assert reader.asked == []

    def test_addresses_in_pictures_are_links_that_nobody_clicks(self) -> None:
        seen = view(mail(PICTURE), Said("go to http://user@10.1.2.3/ or www.shop.example/now"))
        assert [(link.host, link.source) for link in seen.links] == [
            ("10.1.2.3", "picture"),
            ("www.shop.example", "picture"),
        ]
        assert not any(anchor.followed for anchor in seen.anchors)

    def test_words_in_pictures_are_no_form_and_no_charset(self) -> None:
        bare = inspect(mail(PICTURE, page="<img src='cid:1'>"), None)
        read = inspect(mail(PICTURE, page="<img src='cid:1'>"), Said("Nothing of note is told here"))
        assert "html-only" in signs(bare)
        assert signs(read) == signs(bare) | {"picture-text"}


@cache
def checks() -> tuple[object, ...]:
    return build_checks(load_packaged())


def inspect(content: bytes, reader: object) -> SpamFacts:
    facts = inspect_content(parse(content), SpamOptions(now=1_700_000_000.0), checks(), reader)  # type: ignore[arg-type]
    assert not facts.trouble
    return facts


def signs(facts: SpamFacts) -> set[str]:
    return {sign.name for sign in facts.signs if not sign.name.startswith("text-like")}


class TestWhereThereIsNoLibrary:
    def test_without_data_there_is_no_reader(self, tmp_path: Path) -> None:
        assert load_recogniser(str(tmp_path), time.monotonic) is None

    def test_without_the_library_there_is_no_reader(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "eng.traineddata").write_bytes(b"")
        monkeypatch.setattr(language_data, "LIBRARY", "gatepost_has_no_such_library")
        assert load_recogniser(str(tmp_path), time.monotonic) is None

    def test_languages_are_those_of_the_directory_english_first(self, tmp_path: Path) -> None:
        for name in ("deu", "osd", "eng", "ara", "fra", "spa"):
            (tmp_path / f"{name}.traineddata").touch()
        assert find_languages(tmp_path) == ["eng", "ara", "deu", "fra"]
        assert find_data(str(tmp_path)) == tmp_path
        assert find_data(str(tmp_path / "none")) is None


@pytest.fixture(scope="module")
def reader() -> Recogniser:
    """A reader that a busy machine does not make give up."""
    pytest.importorskip("tesserocr", reason="tesserocr is not installed: tools/setup.sh dev")
    if find_data() is None:
        pytest.skip("no language data: make peers, or apt-get install tesseract-ocr-eng")
    found = load_recogniser("", lambda: 0.0, picture_s=60.0)
    assert found is not None
    return found


def words_of(text: str) -> set[str]:
    return {word.strip(".,:").lower() for word in text.split() if len(word) > 3}


class TestTrial:
    def test_sound_data_reads_the_sample(self, reader: Recogniser) -> None:
        del reader  # the library and its data are there
        assert find_damage("") == ""

    def test_data_that_reads_nonsense_is_damaged(self, reader: Recogniser, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader, "read", lambda _: ["441444 2 4"])
        monkeypatch.setattr(trial, "load_recogniser", lambda *_: reader)
        assert "'A few words to be read' in a picture were not read" in find_damage("")
        monkeypatch.setattr(trial, "find_languages", lambda _: ["chi_sim"])
        assert find_damage("") == "", "nobody can say what it makes of other letters"

    def test_data_that_cannot_be_loaded_is_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "eng.traineddata").write_bytes(bytes(1000))
        assert find_damage(str(tmp_path)) == "the library cannot load it"


class TestReading:
    @pytest.mark.parametrize(("ground", "ink"), [("white", "black"), ("#102060", "#f0f0a0")])
    def test_words_of_the_size_of_a_screen_are_read(self, reader: Recogniser, ground: str, ink: str) -> None:
        [text] = reader.read([picture_of(SPAM, ground=ground, ink=ink)])
        wanted = words_of(SPAM)
        assert len(wanted & words_of(text)) >= 0.85 * len(wanted)

    def test_spam_in_a_picture_is_spam(self, reader: Recogniser) -> None:
        content = mail(picture_of(SPAM), page="<img src='cid:1'>")
        unread, read = inspect(content, None), inspect(content, reader)
        assert "terms-advance-fee" in signs(read) - signs(unread)
        assert rate(read.signs) > rate(unread.signs) + 30
        [told] = [sign for sign in read.signs if sign.name == "picture-text"]
        assert "widow" in told.evidence
        assert told.weight == 0

    def test_photographs_say_nothing(self, reader: Recogniser) -> None:
        chance = random.Random(3)
        picture = Image.new("L", (40, 30))
        picture.putdata([chance.randrange(256) for _ in range(1200)])
        assert reader.read([encode(picture.resize((1200, 900), Image.Resampling.BICUBIC), "JPEG")]) == []

    @pytest.mark.parametrize(
        "data",
        [b"", b"GIF89a", PICTURE[:-40], b"\x89PNG\r\n\x1a\n" + bytes(100), encode(Image.new("L", (300, 300)))],
        ids=["empty", "head", "cut", "zeros", "plain"],
    )
    def test_what_is_no_picture_says_nothing_and_the_next_is_read(self, reader: Recogniser, data: bytes) -> None:
        assert reader.read([data]) == []
        assert len(reader.read([data, picture_of(SPAM.splitlines()[0])])) == 1

    def test_three_pictures_are_read_the_largest(self, reader: Recogniser) -> None:
        pictures = [picture_of(f"The number of this picture is {name}. " * count) for count, name in
                    ((1, "one"), (2, "two"), (3, "three"), (4, "four"))]  # fmt: skip
        assert [text.split()[6].strip(".") for text in reader.read(pictures)] == ["four", "three", "two"]

    def test_no_picture_is_begun_after_the_time_of_a_message(self) -> None:
        pytest.importorskip("tesserocr", reason="tesserocr is not installed: tools/setup.sh dev")
        moments = iter([0.0, 0.0, 0.0, 1.0, recogniser.MESSAGE_S, recogniser.MESSAGE_S])
        found = load_recogniser("", lambda: next(moments))
        if found is None:
            pytest.skip("no language data: make peers, or apt-get install tesseract-ocr-eng")
        assert len(found.read([picture_of(SPAM.splitlines()[0])] * 3)) == 1


class TestHostilePictures:
    """Nothing of these is handed to the library: it would take seconds that it does not count."""

    @pytest.mark.parametrize("cell", [1, 2, 4])
    def test_noise_and_fine_patterns_are_not_looked_at(self, cell: int) -> None:
        picture = Image.new("L", (400, 400))
        picture.putdata([255 * ((x // cell + y // cell) % 2) for y in range(400) for x in range(400)])
        assert recogniser._canvas(encode(picture)) is None

    def test_text_is(self) -> None:
        canvas = recogniser._canvas(picture_of(SPAM))
        assert canvas is not None
        assert canvas.width == 2 * 460

    def test_large_pictures_are_made_smaller(self) -> None:
        picture = Image.new("L", (3000, 2500), "white")
        ImageDraw.Draw(picture).rectangle((100, 100, 900, 900), fill="black")
        canvas = recogniser._canvas(encode(picture))
        assert canvas is not None
        assert canvas.width * canvas.height <= recogniser.PIXELS

    def test_icons_are_not_looked_at(self) -> None:
        icon = Image.new("L", (90, 90), "white")
        ImageDraw.Draw(icon).text((10, 10), "OK", fill="black")
        assert recogniser._canvas(encode(icon)) is None

    def test_the_limit_leaves_text_room(self) -> None:
        assert EDGES_LIMIT >= 0.12


_BEHIND_THE_WALLS = """
import os, sys, time
from gatepost.antispam.ocr.recogniser import load_recogniser
from gatepost.filter.sandbox import Sandbox, Walls, enter

data = sys.stdin.buffer.read()
reader = load_recogniser("", time.monotonic)
assert len(os.listdir("/proc/self/task")) == 1
child = os.fork()
if not child:
    enter(Sandbox(Walls(512 * 1024 * 1024, 65534, 65534)), frozenset({1, 2}), os.getppid())
    os.write(1, "|".join(reader.read([data])).encode())
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_pictures_are_read_behind_the_walls(reader: Recogniser) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BEHIND_THE_WALLS], input=picture_of(SPAM), capture_output=True, timeout=60, check=False,
        env={**os.environ, "OMP_THREAD_LIMIT": "8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-1000:]
    assert "widow" in done.stdout.decode()
    assert done.stderr == b""
