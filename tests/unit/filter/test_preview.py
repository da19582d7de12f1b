"""What is shown of a kept message: readable, harmless and bounded, whatever the message holds."""

import base64
import io
import re

import pytest
from PIL import Image

from gatepost.filter.hostile import HostileAnswer
from gatepost.filter.preview import HTML_LIMIT, PARTS_LIMIT, PICTURES_LIMIT, SOURCE_LIMIT, preview
from gatepost.filter.preview_bounds import check_preview
from gatepost.mime.structure import parse
from gatepost.model.preview import Preview, PreviewPart


def shown(text: str | bytes) -> Preview:
    raw = text.encode() if isinstance(text, str) else text
    made = preview(parse(raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")))
    check_preview(made)
    return made


def page(html: str, content_type: str = "text/html; charset=utf-8") -> Preview:
    return shown(f"Subject: x\nMIME-Version: 1.0\nContent-Type: {content_type}\n\n{html}\n")


def picture(width: int = 4, height: int = 3, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, kind)
    return out.getvalue()


def related(html: str, *pictures: tuple[str, bytes]) -> Preview:
    parts = "".join(
        f"--b\nContent-Type: image/png; name=p.png\nContent-ID: <{name}>\nContent-Transfer-Encoding: base64\n\n"
        f"{base64.encodebytes(data).decode()}\n"
        for name, data in pictures
    )
    return shown(
        "MIME-Version: 1.0\nContent-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n"
        f"{html}\n{parts}--b--\n"
    )


def test_the_header_is_decoded_and_kept_in_order() -> None:
    made = shown("From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\nX-Odd: a\n b\nSubject: =?utf-8?b?8J+YgA==?=\n\nHi\n")
    assert made.fields == (("From", "Jörg <j@example.org>"), ("X-Odd", "a b"), ("Subject", "\U0001f600"))
    assert made.text.strip() == "Hi"
    assert made.html == ""
    assert made.source.startswith("From: =?utf-8?q?J=C3=B6rg?=")


def test_text_and_page_of_one_message_are_both_there_and_attachments_are_listed() -> None:
    made = shown(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=m\n\n--m\n"
        "Content-Type: multipart/alternative; boundary=a\n\n"
        "--a\nContent-Type: text/plain\n\nplain form\n--a\nContent-Type: text/html\n\n<b>page</b> form\n--a--\n"
        "--m\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=bill.pdf\n\n%PDF-1.4 x\n--m--\n"
    )
    assert made.text.strip() == "plain form"
    assert made.html.strip() == "<b>page</b> form"
    assert [(part.name, part.content_type, part.shown) for part in made.parts] == [
        ("", "text/plain", True),
        ("", "text/html", True),
        ("bill.pdf", "application/pdf", False),
    ]
    assert made.parts[2].found == "pdf"
    assert made.parts[2].size == len(b"%PDF-1.4 x")


def test_what_is_attached_as_text_is_listed_and_not_shown() -> None:
    made = shown("Content-Type: text/html\nContent-Disposition: attachment; filename=a.html\n\n<b>hidden</b>\n")
    assert (made.html, made.text) == ("", "")
    assert made.parts[0].name == "a.html"


@pytest.mark.parametrize("charset", ["utf-7", "iso-2022-jp", "utf-16", "hz", "x-unknown", "unicode-escape"])
def test_no_charset_brings_in_what_the_sanitiser_has_not_seen(charset: str) -> None:
    bad = "<script>alert(1)</script><img src=x onerror=alert(1)>kept"
    codec = charset if charset not in {"x-unknown", "unicode-escape"} else "ascii"
    body = bad.encode(codec) if codec != "utf-7" else b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-kept"
    made = shown(
        f"Content-Type: text/html; charset={charset}\nContent-Transfer-Encoding: base64\n\n".encode()
        + base64.encodebytes(body)
    )
    assert "kept" in made.html
    assert "script" not in made.html
    assert "onerror" not in made.html


def test_the_charset_a_page_declares_itself_counts_when_the_part_declares_none() -> None:
    made = shown(b"Content-Type: text/html\n\n" + '<meta charset="koi8-r"><p>Привет</p>'.encode("koi8-r"))
    assert "Привет" in made.html


def test_pictures_of_the_message_are_drawn_anew_and_those_from_elsewhere_are_not_fetched() -> None:
    made = related(
        '<img src="cid:one" alt="A"><img src="https://example.net/track.png"><img src="cid:nowhere">'
        f'<img src="data:image/png;base64,{base64.b64encode(picture()).decode()}">',
        ("one", picture() + b"hidden behind the picture"),
    )
    found = re.findall(r'src="data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)"', made.html)
    assert len(found) == 1
    drawn = base64.b64decode(found[0][1])
    assert b"hidden" not in drawn
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.size == (4, 3)
    assert "example.net" not in made.html
    assert made.html.count("src=") == 1
    assert made.remote >= 1


def test_pictures_are_made_small_and_bombs_are_not_opened() -> None:
    large = related('<img src="cid:a">', ("a", picture(3000, 10)))
    data = base64.b64decode(re.findall(r"base64,([A-Za-z0-9+/=]+)", large.html)[0])
    with Image.open(io.BytesIO(data)) as image:
        assert max(image.size) <= 1000
    bomb = related('<img src="cid:a">', ("a", picture(3100, 3100)))
    assert "src=" not in bomb.html
    damaged = related('<img src="cid:a">', ("a", picture()[:40]))
    assert "src=" not in damaged.html


def test_pictures_have_a_bound_in_number_and_bytes() -> None:
    many = [(f"p{number}", picture()) for number in range(PICTURES_LIMIT + 5)]
    made = related("".join(f'<img src="cid:{name}">' for name, _ in many), *many)
    assert made.html.count("src=") == PICTURES_LIMIT
    noise = io.BytesIO()
    Image.effect_noise((700, 700), 100).save(noise, "PNG")
    again = related('<img src="cid:a">' * 200, ("a", noise.getvalue()))
    assert len(again.html) < 4 * 1024 * 1024
    assert again.html.count("src=") < 200


def test_links_are_told_and_lead_nowhere() -> None:
    made = page(
        '<a href="https://evil.example/login?a=1&amp;b=&quot;x">My bank</a><a href="javascript:alert(1)">j</a>'
        '<a href="data:text/html,x">d</a><a href=" HTTPS://evil.example/two ">t</a><a href="/relative">r</a>'
    )
    assert "href" not in made.html
    assert 'title="https://evil.example/login?a=1&amp;b=&quot;x"' in made.html
    assert made.links == ('https://evil.example/login?a=1&b="x', "HTTPS://evil.example/two")
    assert "javascript" not in made.html


def test_large_messages_are_cut_and_say_so() -> None:
    made = page("x" * (HTML_LIMIT + 10))
    assert made.cut
    assert len(made.html) == HTML_LIMIT
    assert len(made.source) <= SOURCE_LIMIT
    many = shown(
        "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\nContent-Type: text/plain\n\nx\n" * (PARTS_LIMIT + 1)
    )
    assert many.cut
    assert len(many.parts) == PARTS_LIMIT


def test_an_attached_message_is_told_apart() -> None:
    made = shown(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nouter\n"
        "--b\nContent-Type: message/rfc822\n\nSubject: inner\n\ninner text\n--b--\n"
    )
    assert [part.nested for part in made.parts] == [False, True]
    assert "outer" in made.text
    assert "inner text" in made.text


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0" * 100, b"Content-Type: text/html\n\n" + b"<div>" * 50_000, bytes(range(256)) * 20,
     b"Content-Type: text/html\n\n<" * 2000, b"Content-Type: text/html; charset=utf-16\n\n\xd8\x00\xd8\x00"],
)  # fmt: skip
def test_nothing_a_message_holds_raises(raw: bytes) -> None:
    made = preview(parse(raw))
    check_preview(made)
    for text in (made.html, made.text, made.source):
        assert "\0" not in text
        text.encode()


@pytest.mark.parametrize(
    "lie",
    [
        Preview(html="x" * (12 * 1024 * 1024 + 1)),
        Preview(text="x" * (256 * 1024 + 1)),
        Preview(source="x" * (256 * 1024 + 1)),
        Preview(fields=(("n", "v"),) * 201),
        Preview(fields=(("n" * 201, "v"),)),
        Preview(fields=(("n", "v" * 2001),)),
        Preview(parts=(PreviewPart("n", "t", 1),) * 301),
        Preview(parts=(PreviewPart("n", "t", -1),)),
        Preview(parts=(PreviewPart("n" * 201, "t", 1),)),
        Preview(links=("x" * 2001,)),
        Preview(links=("x",) * 4001),
        Preview(remote=-1),
        Preview(trouble="x" * 2001),
    ],
)
def test_a_filter_that_shows_too_much_lies(lie: Preview) -> None:
    with pytest.raises(HostileAnswer):
        check_preview(lie)
