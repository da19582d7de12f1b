"""`gatepost spam sample` and `image` without a running gateway: what is kept, what is refused, what is compiled."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from tests.support.gateway import run_here

from gatepost.antispam.images.base import parse_images
from gatepost.antispam.samples.base import parse_samples
from gatepost.config.default import build_default_config
from gatepost.feeds.own import pin_own

TEXT = (
    "Our company sells garden houses of spruce wood in five sizes, with a floor and a door that can be locked. We bring "
    "them to your garden and two of our carpenters put them up within a day. The price includes the roof."
)
MAIL = (
    "Received: from x\r\nFrom: a@example.org\r\nSubject: houses\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n"
    f"<html><body><p>{TEXT}</p><script>no text</script></body></html>\r\n"
)


@pytest.fixture
def config(tmp_path: Path) -> str:
    state = tmp_path / "state"
    state.mkdir()
    text = build_default_config(
        state_path=str(state),
        hostname="gw.example.org",
        listen="127.0.0.1:2525",
        next_hop="[127.0.0.1:2526]",
        protected_domains=("example.org",),
        log_filename=str(state / "log"),
    )
    (tmp_path / "gatepost.toml").write_text(text)
    return str(tmp_path / "gatepost.toml")


def spam(config: str, *arguments: str) -> tuple[int, str]:
    done = run_here("spam", *arguments, "-c", config)
    return done.returncode, done.stdout + done.stderr


def picture() -> bytes:
    image = Image.new("RGB", (300, 200), "white")
    pen = ImageDraw.Draw(image)
    for number in range(12):
        pen.ellipse(
            (number * 25, (number * 53) % 150, number * 25 + 40, (number * 53) % 150 + 45), (number * 20, 9, 90)
        )
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_samples_are_kept_listed_compiled_and_removed(config: str, tmp_path: Path) -> None:
    (tmp_path / "houses.eml").write_bytes(MAIL.encode())
    (tmp_path / "plain text.txt").write_text(
        TEXT + " And some more words that make it another one, for two is company."
    )
    assert spam(config, "sample", "add", str(tmp_path / "houses.eml"), "--category", "spam/goods")[0] == 0
    assert spam(config, "sample", "add", str(tmp_path / "plain text.txt"))[0] == 0
    own = tmp_path / "state" / "own-spam"
    assert (own / "samples" / "houses").read_text() == f"= spam/goods\n{TEXT}\n"
    assert pin_own(own) == ()
    code, out = spam(config, "sample", "list", "--json")
    assert [(each["name"], each["category"]) for each in json.loads(out)] == [
        ("houses", "spam/goods"),
        ("plain-text", "spam/own"),
    ]
    code, out = spam(config, "sample", "compile")
    assert code == 0
    assert "2 sample(s), 0 image(s) compiled" in out
    assert "in force when it starts" in out
    (pinned,) = pin_own(own)
    assert [name for name, *_ in parse_samples("own.samples", Path(pinned.path).read_bytes())] == [
        "houses",
        "plain-text",
    ]
    asked, out = spam(config, "sample", "remove", "houses")
    assert (asked, "nothing done; --yes does not ask" in out) == (1, True)
    assert spam(config, "sample", "remove", "houses", "--yes")[0] == 0
    assert spam(config, "sample", "remove", "houses")[0] == 1
    assert spam(config, "sample", "remove", "plain-text", "-y")[0] == 0
    assert spam(config, "sample", "compile")[0] == 0
    assert pin_own(own) == ()


def test_images_are_kept_and_compiled(config: str, tmp_path: Path) -> None:
    (tmp_path / "pills.png").write_bytes(picture())
    assert spam(config, "image", "add", str(tmp_path / "pills.png"))[0] == 0
    assert "pills  spam/image" in spam(config, "image", "list")[1]
    assert "1 image(s)" in spam(config, "image", "compile")[1]
    (pinned,) = pin_own(tmp_path / "state" / "own-spam")
    (known,) = parse_images("own.pictures", Path(pinned.path).read_bytes())
    assert (known.name, known.category) == ("pills", "spam/image")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("sample", "add", "{short}"), 3, "too short for a sample"),
        (("sample", "add", "{text}", "--category", "No Category"), 3, "is no category"),
        (("sample", "add", "{text}", "--name", "../evil"), 3, "is no name"),
        (("sample", "add", "{text}", "--name", "there"), 3, "--replace"),
        (("sample", "add", "{text}", "--name", "there", "--replace"), 0, "is kept"),
        (("sample", "add", "/nowhere"), 2, "No such file"),
        (("image", "add", "{text}"), 3, "no picture that can be known again"),
        (("image", "remove", "nothing"), 1, "there is no nothing"),
    ],
)
def test_what_is_refused(config: str, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    (tmp_path / "short").write_text("buy now")
    (tmp_path / "text").write_text(TEXT)
    places = {"text": str(tmp_path / "text"), "short": str(tmp_path / "short")}
    assert spam(config, "sample", "add", places["text"], "--name", "there")[0] == 0
    done, out = spam(config, *(each.format(**places) for each in arguments))
    assert done == code
    assert words in out
    if code:
        assert "there" in spam(config, "sample", "list")[1]
        assert len(list((tmp_path / "state" / "own-spam").rglob("*"))) == 2


def test_what_is_damaged_leaves_the_compiled_ones_in_force(config: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(TEXT)
    spam(config, "sample", "add", str(tmp_path / "text"))
    spam(config, "sample", "compile")
    own = tmp_path / "state" / "own-spam"
    before = pin_own(own)
    (own / "samples" / "damaged").write_text("no category")
    code, out = spam(config, "sample", "compile")
    assert code == 3
    assert "nothing changed" in out
    assert "damaged" in out
    assert pin_own(own) == before != ()
