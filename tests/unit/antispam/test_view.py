"""The view of a message: which parts are read, what the body is, which addresses it holds."""

import binascii

import pytest
from tests.unit.antispam.test_extract_documents import make_pdf, pack, word_97

from gatepost.antispam.content import inspect_content
from gatepost.antispam.extract import parts
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.terms.check import TermsCheck
from gatepost.antispam.view import TEXT_LIMIT, MailView, build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions


def view(content: str | bytes, **options: bool) -> MailView:
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    return build_view(parse(raw), SpamOptions(**options))


def multipart(kind: str, *parts: tuple[str, str]) -> str:
    body = "".join(f"--b\r\n{head}\r\n\r\n{text}\r\n" for head, text in parts)
    return f"Subject: s\r\nContent-Type: multipart/{kind}; boundary=b\r\n\r\npreamble\r\n{body}--b--\r\nepilogue"


HTML = "Content-Type: text/html; charset=utf-8"
PLAIN = "Content-Type: text/plain; charset=utf-8"


def test_the_body_is_the_html_form_and_what_only_the_plain_form_says() -> None:
    seen = view(
        multipart("alternative", (PLAIN, "Hello dear friend\nwin a prize today"), (HTML, "<p>Hello <b>dear</b> friend"))
    )
    assert seen.body == "Hello dear friend\nwin a prize today"
    assert (seen.html, seen.plain.split("\n")[0]) == ("Hello dear friend", "Hello dear friend")


def test_quoted_lines_are_apart_and_nested_messages_are_read() -> None:
    inner = "Content-Type: message/rfc822"
    seen = view(multipart("mixed", (PLAIN, "> old\nnew"), (inner, "Subject: x\r\n\r\ninside")))
    assert [(text.kind, text.visible.strip(), text.quoted.strip()) for text in seen.texts] == [
        ("plain", "new", "> old"),
        ("plain", "inside", ""),
        ("subject", "x", ""),
    ]


def test_attached_texts_count_when_nearly_nothing_else_is_there() -> None:
    attached = f'{HTML}\r\nContent-Disposition: attachment; filename="a.html"'
    short = view(multipart("mixed", (PLAIN, "see the file"), (attached, "<p>the message")))
    assert short.body.split("\n")[-1] == "the message"
    assert short.texts[1].attached
    long = view(multipart("mixed", (PLAIN, "a letter of some length " * 20), (attached, "<p>the message")))
    assert "the message" not in long.body


def test_preamble_and_epilogue_are_read_only_when_there_is_nothing_else() -> None:
    assert "preamble" not in view(multipart("mixed", (PLAIN, "text"))).body
    assert (
        "preamble" in view("Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\n\r\n--b--\r\n").body
    )


@pytest.mark.parametrize(
    ("charset", "raw"),
    [
        ("koi8-r", "привет".encode("koi8-r")),
        ("unknown-8bit", "привет".encode()),
        ("utf-7", b"+BD8EQAQ4BDIENQRC-"),
        ("idna", b"hi"),
    ],
)
def test_all_charsets_are_read_or_guessed(charset: str, raw: bytes) -> None:
    content = f"Content-Type: text/plain; charset={charset}\r\n\r\n".encode() + raw
    assert view(content).folded in ("привет", "hi")


def test_addresses_of_all_forms_in_order() -> None:
    seen = view(
        multipart(
            "mixed",
            (HTML, "<a href=http://one.example.com/>http://shown.example.net/</a><img src=http://pic.example.org/>"),
            (PLAIN, "> http://quoted.example.com\nwww.two.example.org and three.com"),
        )
    )
    assert [link.host for link in seen.links] == [
        "one.example.com", "shown.example.net", "www.two.example.org", "quoted.example.com", "three.com", "pic.example.org",
    ]  # fmt: skip


def test_words_in_disguise_of_subject_and_body() -> None:
    seen = view("Subject: get v i a g r a\r\n\r\nch3ap c1alis c1alis")
    assert seen.disguised.split("\n")[0] == "viagra"
    assert "cialis" in seen.disguised.split("\n")
    assert view("Subject: hello\r\n\r\nhello").disguised == ""


def test_a_message_without_anything_has_an_empty_view() -> None:
    seen = view(b"")
    assert (seen.subject, seen.body, seen.folded, seen.links, seen.texts[0].visible) == ("", "", "", (), "")


def test_the_body_is_bounded() -> None:
    assert len(view("\r\n" + "x" * (TEXT_LIMIT + 10)).body) == TEXT_LIMIT


SPAM = "Congratulations lottery winner"
DOCUMENT = f"<w:p><w:r><w:t>{SPAM[:7]}</w:t></w:r><w:r><w:t>{SPAM[7:]}</w:t></w:r></w:p>"
FORMATS = [
    ("text/plain", SPAM.encode(), False),
    ("text/html", b"Congr<!-- x -->atula<span></span>tions <b>lottery</b><br>winner", False),
    ("application/rtf", b"{\\rtf1 Congratu{\\b lations} lottery winner}", False),
    ("application/msword", word_97(SPAM, wide=True), True),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        pack(**{"word/document.xml": DOCUMENT}),
        True,
    ),
    ("application/vnd.oasis.opendocument.text", pack(**{"content.xml": f"<text:p>{SPAM}</text:p>"}), True),
    ("application/pdf", make_pdf(f"BT /F1 12 Tf ({SPAM}) Tj ET".encode()), True),
]


@pytest.mark.feature("F-AS-17")
@pytest.mark.parametrize(
    ("kind", "data", "office"), FORMATS, ids=[each[0].rpartition("/")[2][-20:] for each in FORMATS]
)
def test_spam_is_found_in_each_format_and_in_documents_when_wished(kind: str, data: bytes, office: bool) -> None:
    check = TermsCheck(
        Knowledge({"t.terms": b"= spam/test/lottery | a lottery\n2 congratulations\n2 lottery winner\n"})
    )
    content = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode() + binascii.b2a_base64(data)

    def categories(options: SpamOptions) -> tuple[str, ...]:
        return inspect_content(parse(content), options, (check,)).categories

    assert categories(SpamOptions()) == (() if office else ("spam/test/lottery",))
    assert categories(SpamOptions(office=True)) == ("spam/test/lottery",)


def with_pdf(text: str, files: int = 1) -> str:
    data = binascii.b2a_base64(make_pdf(f"BT /F1 12 Tf ({SPAM}) Tj ET".encode())).decode()
    part = f"--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{data}\r\n"
    return f"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{text}\r\n{part * files}--b--\r\n"


def test_where_a_message_says_little_the_links_of_a_pdf_file_are_read_and_not_its_words() -> None:
    seen = view(with_pdf("See the file."))
    assert [(anchor.host, anchor.element, anchor.source) for anchor in seen.anchors] == [
        ("x.example", "pdf", "attachment")
    ]
    assert SPAM not in seen.body
    assert [link.host for link in seen.links] == ["x.example"]
    assert view(with_pdf("See the file, please. " * 20)).anchors == ()


def test_only_few_and_small_pdf_files_are_opened_for_their_links(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len([text for text in view(with_pdf("x", files=9)).texts if text.kind == "pdf"]) == parts.LINKED_LIMIT
    monkeypatch.setattr(parts, "LINKED_BYTES", 100)
    assert view(with_pdf("x")).anchors == ()
