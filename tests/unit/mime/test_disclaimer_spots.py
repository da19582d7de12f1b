# ruff: noqa: RUF001 - Russian letters are meant
"""Disclaimers: from a message to the places text goes to, and written there, as a mail reader then sees it."""

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.mime.disclaimer import SPOT_LIMIT, find_spots
from gatepost.mime.edit import apply_splices, check_splices, merge
from gatepost.mime.structure import parse
from gatepost.model.finding import TextSpot
from gatepost.notices.disclaimer import write_disclaimer

TEXT = "\r\n--\r\nChecked here.\r\n"
RUSSIAN = "\r\n--\r\nПисьмо проверено.\r\n"
SMTP = email.policy.SMTP


def add(content: bytes, text: str = TEXT) -> bytes:
    """The message with the text at all its spots."""
    characters = "".join(sorted({c for c in text if not c.isascii()}))
    spots = find_spots(parse(content), characters)
    splices = merge([splice for spot in spots for splice in write_disclaimer(spot, text)])
    check_splices(splices, len(content))
    return b"".join(map(bytes, apply_splices(content, splices)))


def read(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(content: bytes, kind: str = "plain") -> str:
    body = read(content).get_body((kind,))
    assert body is not None
    return body.get_content().replace("\r\n", "\n")


def simple(body: str, charset: str = "utf-8", encoding: str = "quoted-printable", subtype: str = "plain") -> bytes:
    mail = EmailMessage()
    mail["Subject"] = "test"
    mail.set_content(body, subtype=subtype, charset=charset, cte=encoding)
    return mail.as_bytes(policy=SMTP)


BODIES = [
    "Hello.\n",
    "no line end",
    "a\n\n\n",
    "x" * 57,
    "y" * 114 + "\n",
    "long " * 300 + "\n",
    "=3D == --\n--x\n",
    "",
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("encoding", ["7bit", "8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize(("charset", "text"), [("us-ascii", TEXT), ("utf-8", RUSSIAN), ("koi8-r", RUSSIAN)])
def test_plain_text_goes_to_the_end_of_the_body(body, encoding, charset, text):
    if encoding == "7bit" and len(body) > 998:
        pytest.skip("such a line has no 7bit form")
    if charset != "us-ascii":
        body = body.replace("H", "Ж")
        if encoding == "7bit" and not body.isascii():
            pytest.skip("no 7bit form")
    content = simple(body, charset, encoding)
    got = text_of(add(content, text))
    told = text.replace("\r\n", "\n").strip("\n")
    before = text_of(content).rstrip("\n")
    assert got.rstrip("\n").endswith(told)
    assert got.startswith(before)
    assert got.replace(told, "").strip("\n") == before.strip("\n")
    # On a line of its own, with the empty line the text begins with.
    assert f"{before}\n" in got or not before


@pytest.mark.parametrize("charset", ["us-ascii", "iso-8859-1"])
@pytest.mark.parametrize("encoding", ["7bit", "quoted-printable", "base64"])
def test_text_beyond_the_charset_makes_it_utf_8(charset, encoding):
    body = "Hello, w\u00f6rld.\n" if charset == "iso-8859-1" and encoding != "7bit" else "Hello, world.\n"
    added = add(simple(body, charset, encoding), RUSSIAN)
    assert text_of(added).startswith(body)
    assert "Письмо проверено." in text_of(added)
    assert read(added).get_content_charset() == "utf-8"
    assert added.isascii()


def test_text_beyond_a_charset_of_a_message_without_mime_fields():
    added = add(b"Subject: x\r\n\r\nhi\r\n", RUSSIAN)
    assert "MIME-Version" in read(added)
    assert text_of(added).split("\n")[0] == "hi"
    assert "Письмо проверено." in text_of(added)


def test_text_in_a_body_whose_bytes_are_not_its_charset_stays_as_it_was():
    content = b"Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xfc\r\n"
    added = add(content, "\r\nПодпись\r\n")
    assert content in added
    assert added.endswith(b"\r\n???????\r\n")


def test_flowed_text_stays_flowed():
    content = b"Content-Type: text/plain; format=flowed; delsp=yes\r\n\r\none \r\ntwo\r\n"
    message = read(add(content, RUSSIAN))
    assert (message.get_param("format"), message.get_param("delsp")) == ("flowed", "yes")


PAGE = "<html><body><p>Hi</p>\n</body></html>\n"


@pytest.mark.parametrize("encoding", ["7bit", "quoted-printable", "base64"])
@pytest.mark.parametrize(
    ("page", "after"),
    [
        (PAGE, "</body></html>\n"),
        ("<p>Hi</p>", ""),
        ("<html>x</html>", "</html>"),
        ("a" * 200 + PAGE, "</body></html>\n"),
    ],
)
def test_html_gets_it_in_front_of_its_end(encoding, page, after):
    added = text_of(add(simple(page, "us-ascii", encoding, "html"), RUSSIAN.replace("--", "a < b & c")), "html")
    kept = page.rstrip("\n").removesuffix(after.rstrip("\n")).rstrip("\n")
    assert added.startswith(kept)
    assert added.rstrip("\n").endswith(after.rstrip("\n"))
    middle = added.rstrip("\n").removeprefix(kept).removesuffix(after.rstrip("\n"))
    assert middle.strip().startswith("<div>")
    assert "a &lt; b &amp; c<br>" in middle
    assert "".join(f"&#{ord(c)};" for c in "Письмо") in middle


def test_html_that_can_hold_the_characters_has_them_as_they_are():
    added = add(simple("<p>Ж</p>", "koi8-r", "base64", "html"), RUSSIAN)
    assert "Письмо проверено." in text_of(added, "html")


def alternative() -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = "both"
    mail.set_content("plain text\n")
    mail.add_alternative("<html><body><p>rich text</p></body></html>\n", subtype="html")
    return mail


def test_both_forms_of_an_alternative_and_nothing_else():
    mail = alternative()
    mail.get_payload(1).add_related(b"\x89PNG", "image", "png", cid="<a@b>")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
    mail.add_attachment("a note\n", filename="note.txt")
    mail.add_attachment(read(simple("quoted mail\n")))
    content = mail.as_bytes(policy=SMTP)
    added = add(content)
    assert text_of(added).startswith("plain text\n")
    assert "Checked here." in text_of(added)
    assert "<div>" in text_of(added, "html")
    assert added.count(b"Checked here.") == 2
    attached = [part.get_payload(decode=True) for part in read(added).iter_attachments()]
    assert attached == [part.get_payload(decode=True) for part in read(content).iter_attachments()]


def test_of_several_texts_the_first():
    mail = EmailMessage()
    mail.set_content("first\n")
    mail.make_mixed()
    for text in ("second\n", "third\n"):
        part = EmailMessage()
        part.set_content(text)
        mail.attach(part)
    added = add(mail.as_bytes(policy=SMTP))
    assert added.count(b"Checked here.") == 1
    assert added.index(b"Checked here.") < added.index(b"second")


def test_an_attachment_in_front_of_the_text_is_passed_over():
    mail = EmailMessage()
    mail.make_mixed()
    mail.add_attachment("a,b\n", subtype="csv", filename="t.csv")
    mail.add_attachment("log\n", filename="log.txt")
    part = EmailMessage()
    part.set_content("the text\n")
    mail.attach(part)
    added = add(mail.as_bytes(policy=SMTP))
    assert added.index(b"Checked here.") > added.index(b"the text")
    assert added.count(b"Checked here.") == 1


def sealed(content_type: str, body: str = "text") -> bytes:
    return (
        f"Content-Type: {content_type}\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{body}\r\n--b\r\n"
        "Content-Type: application/octet-stream\r\n\r\nAAAA\r\n--b--\r\n"
    ).encode()


ARMOUR = "-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nhi"


@pytest.mark.parametrize(
    "content",
    [
        sealed('multipart/signed; protocol="application/pkcs7-signature"; boundary=b'),
        sealed('multipart/signed; protocol="application/pgp-signature"; boundary=b'),
        sealed('multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b'),
        b"Content-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n",
        sealed("multipart/mixed; boundary=b", ARMOUR),
        b"Subject: x\r\n\r\n" + ARMOUR.encode() + b"\r\n",
        sealed("multipart/report; report-type=delivery-status; boundary=b"),
        b"Content-Type: image/png\r\n\r\nAAAA",
        b"Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\n//4=\r\n",
        b"Content-Type: text/plain; charset=no-such\r\n\r\nx\r\n",
        b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx\r\n",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nAA=AAA==A\r\n",
        b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        b"Content-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\ntext\r\n",
    ],
)
def test_what_is_signed_odd_or_no_text_gets_none(content):
    assert find_spots(parse(content)) == ()


def test_a_quoted_signed_message_does_not_keep_the_text_from_it():
    quoted = sealed('multipart/signed; protocol="application/pkcs7-signature"; boundary=b')
    content = (
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\nlook:\r\n--o\r\n"
        b"Content-Type: message/rfc822\r\n\r\n" + quoted + b"\r\n--o--\r\n"
    )
    added = add(content)
    assert quoted in added
    assert added.count(b"Checked here.") == 1


def test_a_text_cannot_end_the_part_it_stands_in():
    content = (
        b'Content-Type: multipart/mixed; boundary="Checked"\r\n\r\n--Checked\r\nContent-Type: text/html\r\n\r\n'
        b"<p>x</p></body>\r\n--Checked--\r\n"
    )
    added = add(content, "--Checked\r\nContent-Type: text/x\r\n\r\n--Checked--\r\n")
    assert len(parse(added).root.children) == 1
    for encoding in ("7bit", "8bit", "quoted-printable"):
        (splice,) = write_disclaimer(TextSpot(0, 0, False, "us-ascii", encoding), "--Checked\r\n-- \r\n")
        assert not splice.data.startswith(b"--C")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Subject: a",
        b"Subject: a\r\n",
        b"Content-Type: text/html\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n--b--\r\n",
    ],
)
def test_a_header_that_breaks_off_has_no_text_behind_it(content):
    assert add(content) == add(content, RUSSIAN) == content


def test_soft_breaks_at_the_end_join_nothing():
    content = b"Content-Transfer-Encoding: quoted-printable\r\n\r\nends softly=\r\n=\r\n"
    assert text_of(add(content)).startswith("ends softly\n")


def test_odd_lines_of_base64_are_written_anew():
    content = b"Content-Transfer-Encoding: base64\r\n\r\naGVs\r\nbG8sIHdv\r\ncmxkLg==\r\n"
    assert text_of(add(content)).startswith("hello, world.\n")


def test_forms_of_one_text_are_counted():
    part = "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    content = f"Content-Type: multipart/alternative; boundary=b\r\n\r\n{part * 40}--b--\r\n".encode()
    assert len(find_spots(parse(content))) == SPOT_LIMIT


FRAGMENTS = st.sampled_from(
    [
        b"Content-Type: multipart/alternative; boundary=b\r\n",
        b"Content-Type: text/html; charset=koi8-r\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"aGVsbG8=\r\n",
        b"=D0=96=\r\n",
        b"=",
        b"</body></html>",
        b"\xd0\x96",
        b"text\n",
    ]
)


@given(st.lists(FRAGMENTS, max_size=25).map(b"".join), st.sampled_from([TEXT, RUSSIAN]))
def test_whatever_comes_spots_lie_in_the_content_and_parts_stay_as_many(content, text):
    added = add(content, text)
    before, after = parse(content), parse(added)
    assert len(list(before.walk())) <= len(list(after.walk())) + 1 or not after.truncated
